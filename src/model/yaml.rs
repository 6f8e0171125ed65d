//! Owns reading YAML (and streams of YAML or JSON documents) into trees that know their places.
//! Never knows a type and never reads a file.
//!
//! The scanner is granit-parser, on which serde-saphyr stands. serde-saphyr itself is too far from the text for this:
//! a server that answers as upstream's must read on after a duplicate key, know every place, and merge as go-yaml.

mod compose;
mod scalar;
mod wording;

use std::fmt;

use self::compose::Composer;
use super::go_text;
use super::json;
use super::tree::{Mark, Node, Tree};

/// One document of a stream.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its content.
    pub node: Node,
    /// Keys that stand twice in one YAML mapping, in the order in which they are found.
    pub duplicates: Vec<Duplicate>,
    /// The line on which it starts, from 1.
    pub start_line: usize,
}

impl Document {
    /// Where a field stands, or the nearest thing above it that is there.
    pub fn line_of(&self, path: &str) -> Mark {
        self.node.mark_of(path)
    }

    /// The objects in it: the items of a `List` (of any kind that ends in it), else itself.
    pub fn objects(self) -> Vec<Document> {
        let is_list = self.node.text("kind").is_some_and(|kind| kind.ends_with("List"));
        match self.node.get("items").map(|items| &items.tree) {
            Some(Tree::List(items)) if is_list => items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    let prefix = format!("items[{index}].");
                    let mine = self.duplicates.iter().filter_map(|duplicate| {
                        let path = duplicate.path.strip_prefix(&prefix)?.to_owned();
                        Some(Duplicate { path, ..duplicate.clone() })
                    });
                    Document { node: item.clone(), duplicates: mine.collect(), start_line: item.at.line }
                })
                .collect(),
            _ => vec![self],
        }
    }
}

/// A key that a mapping has set already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// go-yaml's words: `line 5: key "a" already set in map`.
    pub message: String,
    /// The path of the key.
    pub path: String,
    /// Where the later key stands.
    pub at: Mark,
}

/// A text that is no YAML (or JSON). Displayed with its line and a caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Upstream's words, as its API answers them: `yaml: line 3: mapping values are not allowed in this context`.
    pub message: String,
    /// The true place.
    pub at: Mark,
    /// The line of the text at that place.
    pub source: String,
}

impl SyntaxError {
    /// An error of go-yaml's at a place of a text.
    fn new(text: &str, message: String, at: Mark) -> Self {
        Self::of(text, format!("yaml: {message}"), at)
    }

    fn of(text: &str, message: String, at: Mark) -> Self {
        let source = text.lines().nth(at.line.saturating_sub(1)).unwrap_or("").to_owned();
        Self { message, at, source }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.at.line.to_string();
        let column = self.at.column.max(1);
        // A tab before the caret must be as wide as the one above it.
        let space: String =
            self.source.chars().take(column - 1).map(|shown| if shown == '\t' { '\t' } else { ' ' }).collect();
        writeln!(out, "{} (line {number}, column {column})", self.message)?;
        writeln!(out, " {number} | {}", self.source)?;
        write!(out, " {} | {space}^", " ".repeat(number.len()))
    }
}

impl std::error::Error for SyntaxError {}

/// The first document of a request's body, as upstream reads it; what follows it is not looked at. An empty text is
/// `null`.
pub fn first(text: &[u8]) -> Result<Document, SyntaxError> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let bad = text[error.valid_up_to()];
        let words = match (error.error_len(), bad) {
            (None, _) => "incomplete UTF-8 octet sequence",
            (Some(1), 0x80..=0xbf | 0xf8..) => "invalid leading UTF-8 octet",
            _ => "invalid trailing UTF-8 octet",
        };
        let good = String::from_utf8_lossy(&text[..error.valid_up_to()]);
        SyntaxError::new("", words.to_owned(), end(&good))
    })?;
    readable(text)?;
    let empty = Node { at: Mark { line: 1, column: 1 }, tree: Tree::Null };
    let document = Composer::new(text).next_document()?;
    Ok(document.unwrap_or(Document { node: empty, duplicates: Vec::new(), start_line: 1 }))
}

/// All documents of a manifest file: YAML documents with `---` between them, or JSON values one after the other.
/// Documents without content are left out.
pub fn documents(text: &str) -> Result<Vec<Document>, SyntaxError> {
    if text.trim_start().starts_with('{') {
        let nodes = json::parse_stream(text).map_err(|error| SyntaxError::of(text, error.message, error.at))?;
        let document = |node: Node| Document { start_line: node.at.line, duplicates: Vec::new(), node };
        return Ok(nodes.into_iter().map(document).collect());
    }
    readable(text)?;
    let mut composer = Composer::new(text);
    let mut documents = Vec::new();
    while let Some(document) = composer.next_document()? {
        if document.node.tree != Tree::Null {
            documents.push(document);
        }
    }
    Ok(documents)
}

/// Refuses the characters that YAML does not allow anywhere.
fn readable(text: &str) -> Result<(), SyntaxError> {
    let allowed = |character: char| matches!(character, '\t' | '\n' | '\r' | '\u{85}' | '\u{feff}' | ' '..='~' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    match text.char_indices().find(|(_, character)| !allowed(*character)) {
        None => Ok(()),
        Some((offset, _)) => {
            Err(SyntaxError::new(text, "control characters are not allowed".to_owned(), end(&text[..offset])))
        }
    }
}

fn end(text: &str) -> Mark {
    let column = text.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Mark { line: text.matches('\n').count() + 1, column }
}

/// The error that go-yaml's strict reading gives for these duplicates, if there are any.
pub fn strict_error(duplicates: &[Duplicate]) -> Option<String> {
    let lines: Vec<&str> = duplicates.iter().map(|duplicate| duplicate.message.as_str()).collect();
    (!lines.is_empty()).then(|| format!("yaml: unmarshal errors:\n  {}", lines.join("\n  ")))
}

/// What clients are warned of where such an error is none: each duplicate alone. A `Warning` header has one line.
/// Parity: the API server's `parseYAMLWarnings`.
pub fn apart(error: &str) -> Vec<String> {
    let lines = error.strip_prefix("error converting YAML to JSON: ").unwrap_or(error);
    match lines.strip_prefix("yaml: unmarshal errors:\n") {
        Some(lines) => lines.split('\n').map(|line| line.trim().to_owned()).collect(),
        None => vec![error.to_owned()],
    }
}

/// Quotes for a message what a document holds at a path, shortened.
pub fn shown(node: &Node) -> String {
    /// As much of a value as one line of an error list should show.
    const LONGEST: usize = 60;
    let text = match &node.tree {
        Tree::Text(text) => go_text::quote(text),
        _ => node.to_value().to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
