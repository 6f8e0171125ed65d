//! Owns the words of YAML syntax errors: granit-parser's errors, said as go-yaml says them.
//! Never finds an error itself.
//!
//! Parity: go-yaml v2's `parser.fail`. Its line numbers differ by the sort of error: the scanner's count from 1, the
//! parser's are the zero-based line as it is, and a problem on the first line names none. People see the true line in
//! [`SyntaxError::at`]; clients see upstream's.

use granit_parser::{ErrorKind, ScanError};

use super::super::tree::Mark;
use super::SyntaxError;

/// Which half of go-yaml finds the error, for its way of counting lines.
#[derive(Clone, Copy)]
enum By {
    Scanner,
    Parser,
}

/// What is open where the error is found, innermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// Nothing, or a block collection.
    Block,
    /// `[`
    FlowList,
    /// `{`
    FlowMap,
}

/// The error as go-yaml would word it.
pub fn translate(text: &str, error: &ScanError, inside: Inside) -> SyntaxError {
    let marker = error.marker();
    let at = Mark { line: marker.line(), column: marker.col() + 1 };
    let (by, words) = in_context(text, error.kind(), at, inside);
    let at = place(text, error.kind(), at);
    worded(text, by, words, at)
}

/// An alias or an anchor whose name upstream's scanner would not take (`*.txt`, `*/5`, `&/data`).
pub fn bad_name(text: &str, at: Mark) -> SyntaxError {
    worded(text, By::Scanner, "did not find expected alphabetic or numeric character", at)
}

fn worded(text: &str, by: By, words: &str, at: Mark) -> SyntaxError {
    let message = match (by, at.line.saturating_sub(1)) {
        (_, 0) => words.to_owned(),
        (By::Scanner, line) => format!("line {}: {words}", line + 1),
        (By::Parser, line) => format!("line {line}: {words}"),
    };
    SyntaxError::new(text, message, at)
}

/// What the same mistake is called depends on what stands around it.
fn in_context(text: &str, kind: &ErrorKind, at: Mark, inside: Inside) -> (By, &'static str) {
    use ErrorKind as K;
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or("");
    let first_on_line = line.chars().take(at.column - 1).all(char::is_whitespace);
    let separator = match inside.or(open_bracket(line, at.column)) {
        Inside::Block => None,
        Inside::FlowList => Some("did not find expected ',' or ']'"),
        Inside::FlowMap => Some("did not find expected ',' or '}'"),
    };
    let (by, plain) = words(kind);
    let node_content = "did not find expected node content";
    match (kind, separator) {
        (K::MisplacedFlowCollectionEnd, None) if first_on_line && at.line > 1 => (By::Parser, EXPECTED_KEY),
        _ if matches!(by, By::Parser) && at_comma(text, at) => (By::Parser, node_content),
        (
            K::UnclosedFlowCollection { .. }
            | K::UnexpectedEofFlowMapping
            | K::UnexpectedEofFlowSequence
            | K::UnexpectedEofImplicitFlowMapping,
            _,
        ) if text.trim_end().ends_with(['{', '[', ',', ':']) => (By::Parser, node_content),
        (
            K::MappingValueNotAllowed
            | K::InvalidColonPlacement
            | K::InvalidSimpleKey
            | K::SimpleKeyExpected
            | K::InvalidTrailingSingleQuotedScalar
            | K::InvalidTrailingDoubleQuotedScalar
            | K::ExpectedFlowMappingSeparator
            | K::ExpectedFlowSequenceSeparator
            | K::UnexpectedEofFlowMapping
            | K::UnexpectedEofImplicitFlowMapping,
            Some(separator),
        ) => (By::Parser, separator),
        (_, None) if plain == EXPECTED_KEY && tab_indented(line) => {
            (By::Scanner, "found a tab character where an indentation space is expected")
        }
        _ => (by, plain),
    }
}

impl Inside {
    /// The scanner runs ahead of the events that tell what is open: on the same line, look at the text itself.
    fn or(self, on_line: Self) -> Self {
        if self == Self::Block { on_line } else { self }
    }
}

/// The bracket that is open at a column of a line.
fn open_bracket(line: &str, column: usize) -> Inside {
    let (mut open, mut quoted) = (Vec::new(), None);
    for character in line.chars().take(column - 1) {
        match (character, quoted) {
            ('"' | '\'', None) => quoted = Some(character),
            (character, Some(quote)) if character == quote => quoted = None,
            ('[', None) => open.push(Inside::FlowList),
            ('{', None) => open.push(Inside::FlowMap),
            (']' | '}', None) => {
                open.pop();
            }
            _ => {}
        }
    }
    open.pop().unwrap_or(Inside::Block)
}

/// Whether a line has a key with its colon.
fn has_colon(line: &str) -> bool {
    line.contains(": ") || line.trim_end().ends_with(':')
}

fn at_comma(text: &str, at: Mark) -> bool {
    text.lines().nth(at.line.saturating_sub(1)).and_then(|line| line.chars().nth(at.column - 1)) == Some(',')
}

const EXPECTED_KEY: &str = "did not find expected key";

fn tab_indented(line: &str) -> bool {
    line.chars().take_while(|character| character.is_whitespace()).any(|character| character == '\t')
}

/// Where go-yaml sees the problem, where that is not where granit-parser does.
fn place(text: &str, kind: &ErrorKind, at: Mark) -> Mark {
    use ErrorKind as K;
    let after = |line: usize| text.lines().enumerate().skip(line).map(|(index, content)| (index + 1, content));
    match kind {
        _ if at_comma(text, at) => at,
        // go-yaml notices at the end of the text that a quote or bracket is open, granit-parser names the opening one.
        K::UnclosedQuotedScalar => end_of(text, false),
        K::UnclosedFlowCollection { .. }
        | K::UnexpectedEofFlowMapping
        | K::UnexpectedEofFlowSequence
        | K::UnexpectedEofImplicitFlowMapping => end_of(text, true),
        // It notices that a key has no colon when it comes to what follows. The key runs on into deeper lines below it,
        // up to the colon of another.
        K::SimpleKeyExpected | K::InvalidSimpleKey => after(at.line)
            .find(|(_, content)| {
                let indent = content.len() - content.trim_start().len();
                let shown = content.trim_start();
                !shown.is_empty() && !shown.starts_with('#') && (indent < at.column || has_colon(shown))
            })
            .map_or_else(|| end_of(text, true), |(line, _)| Mark { line, column: 1 }),
        K::TabInPlainScalar | K::TabAtBlockScalarStart => after(at.line)
            .find(|(_, content)| tab_indented(content))
            .map_or(at, |(line, content)| Mark { line, column: content.find('\t').unwrap_or(0) + 1 }),
        _ => at,
    }
}

/// The end of a text; go-yaml's stream ends on a line of its own.
fn end_of(text: &str, own_line: bool) -> Mark {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    if own_line && column > 1 { Mark { line: line + 1, column: 1 } } else { Mark { line, column } }
}

/// One row for each sort of error, hence the length.
fn words(kind: &ErrorKind) -> (By, &'static str) {
    use ErrorKind as K;
    let parser = |words| (By::Parser, words);
    let scanner = |words| (By::Scanner, words);
    match kind {
        K::ExpectedDocumentStart | K::InvalidDocumentEnd | K::MissingDocumentEndBeforeDirective => {
            parser("did not find expected <document start>")
        }
        K::ExpectedNodeContent => parser("did not find expected node content"),
        K::ExpectedBlockMappingKey
        | K::UnexpectedEofBlockMapping
        | K::InvalidIndentation
        | K::InvalidTrailingSingleQuotedScalar
        | K::InvalidTrailingDoubleQuotedScalar
        | K::InvalidQuotedScalarIndent => parser(EXPECTED_KEY),
        K::ExpectedBlockSequenceEntry | K::UnexpectedEofBlockSequence => parser("did not find expected '-' indicator"),
        K::ExpectedFlowMappingSeparator
        | K::UnexpectedEofFlowMapping
        | K::UnexpectedEofImplicitFlowMapping
        | K::UnclosedFlowCollection { open: '{' }
        | K::MismatchedFlowCollectionEnd { open: '{', .. } => parser("did not find expected ',' or '}'"),
        K::ExpectedFlowSequenceSeparator
        | K::UnexpectedEofFlowSequence
        | K::UnclosedFlowCollection { .. }
        | K::MismatchedFlowCollectionEnd { .. } => parser("did not find expected ',' or ']'"),
        K::MisplacedFlowCollectionEnd | K::BlockEntryInFlowCollection | K::UnexpectedEof => {
            parser("did not find expected node content")
        }
        K::UndeclaredTagHandle => parser("found undefined tag handle"),
        K::DuplicateVersionDirective => parser("found duplicate %YAML directive"),
        K::UnsupportedYamlMajorVersion => parser("found incompatible YAML document"),
        K::DuplicateTagDirective => parser("found duplicate %TAG directive"),
        K::SimpleKeyExpected | K::InvalidSimpleKey => scanner("could not find expected ':'"),
        K::BlockSequenceEntryNotAllowed => scanner("block sequence entries are not allowed in this context"),
        K::MappingKeyNotAllowed => scanner("mapping keys are not allowed in this context"),
        K::MappingValueNotAllowed | K::InvalidColonPlacement => {
            scanner("mapping values are not allowed in this context")
        }
        K::UnclosedQuotedScalar => scanner("found unexpected end of stream"),
        K::DocumentIndicatorInQuotedScalar => scanner("found unexpected document indicator"),
        K::UnknownQuotedScalarEscape => scanner("found unknown escape character"),
        K::InvalidQuotedScalarHexEscape | K::InvalidLowSurrogateHexEscape => {
            scanner("did not find expected hexdecimal number")
        }
        K::InvalidUnicodeEscape | K::InvalidLowSurrogate | K::MissingLowSurrogate | K::UnpairedLowSurrogate => {
            scanner("found invalid Unicode character escape code")
        }
        K::ZeroBlockScalarIndent => scanner("found an indentation indicator equal to 0"),
        K::InvalidBlockScalarHeader | K::InvalidDirectiveTerminator | K::CommentNotSeparated => {
            scanner("did not find expected comment or line break")
        }
        K::TabAtBlockScalarStart => scanner("found a tab character where an indentation space is expected"),
        K::TabInPlainScalar => scanner("found a tab character that violates indentation"),
        K::MissingAnchorOrAliasName => scanner("did not find expected alphabetic or numeric character"),
        K::InvalidTagTerminator => scanner("did not find expected whitespace or line break"),
        K::UnclosedVerbatimTag => scanner("did not find the expected '>'"),
        K::RecursionLimitExceeded => scanner("exceeded max depth of 10000"),
        _ => scanner("found character that cannot start any token"),
    }
}
