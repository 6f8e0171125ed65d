//! Owns reading JSON text: into the tree that keeps order, duplicates and places, with Go's error texts.
//! Never knows a type: `decode` does. serde_json is not used here because it forgets duplicates and words its
//! errors otherwise; clients and tests match on upstream's words.
//!
//! Parity: the scanner of Go's `encoding/json`, which checks the whole text before anything is decoded.

use super::go_text::quote_byte;
use super::tree::{Entry, Mark, Node, Tree};

/// How deep arrays and objects may nest. Differs: upstream allows 10,000; no manifest comes near either, and every
/// level costs stack.
const MAX_DEPTH: usize = 500;

/// What is wrong with a JSON text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Go's words: `invalid character '}' looking for beginning of value`.
    pub message: String,
    /// The place of the first byte that cannot be there.
    pub at: Mark,
}

/// Reads a text that is one JSON value.
pub fn parse(text: &str) -> Result<Node, JsonError> {
    let mut reader = Reader::new(text);
    let node = reader.value(0)?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(node),
        Some(byte) => Err(reader.unexpected(byte, "after top-level value")),
    }
}

/// Reads JSON values that follow each other, with or without white space between them.
pub fn parse_stream(text: &str) -> Result<Vec<Node>, JsonError> {
    let mut reader = Reader::new(text);
    let mut values = Vec::new();
    loop {
        reader.skip_space();
        if reader.peek().is_none() {
            return Ok(values);
        }
        values.push(reader.value(0)?);
    }
}

struct Reader<'a> {
    text: &'a str,
    next: usize,
    /// Where `counted` is, kept up to date as `mark` is asked, so that places cost one pass over the text.
    counted: usize,
    at: Mark,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, next: 0, counted: 0, at: Mark { line: 1, column: 1 } }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.next).copied()
    }

    fn mark(&mut self) -> Mark {
        let end = (self.counted..=self.next).rev().find(|&end| self.text.is_char_boundary(end)).unwrap_or(self.counted);
        for character in self.text[self.counted..end].chars() {
            self.at = match character {
                '\n' => Mark { line: self.at.line + 1, column: 1 },
                _ => Mark { line: self.at.line, column: self.at.column + 1 },
            };
        }
        self.counted = end;
        self.at
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.next += 1;
        }
    }

    fn unexpected(&mut self, byte: u8, context: &str) -> JsonError {
        JsonError { message: format!("invalid character {} {context}", quote_byte(byte)), at: self.mark() }
    }

    fn fail<T>(&mut self, context: &str) -> Result<T, JsonError> {
        match self.peek() {
            Some(byte) => Err(self.unexpected(byte, context)),
            None => Err(JsonError { message: "unexpected end of JSON input".to_owned(), at: self.mark() }),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, JsonError> {
        self.skip_space();
        let at = self.mark();
        if depth > MAX_DEPTH {
            return Err(JsonError { message: "exceeded max depth".to_owned(), at });
        }
        let tree = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Tree::Text(self.string()?),
            Some(b't') => self.literal("true", Tree::Bool(true))?,
            Some(b'f') => self.literal("false", Tree::Bool(false))?,
            Some(b'n') => self.literal("null", Tree::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return self.fail("looking for beginning of value"),
        };
        Ok(Node { at, tree })
    }

    fn object(&mut self, depth: usize) -> Result<Tree, JsonError> {
        self.next += 1;
        let mut entries = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.next += 1;
            return Ok(Tree::Map(entries));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return self.fail("looking for beginning of object key string");
            }
            let at = self.mark();
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return self.fail("after object key");
            }
            self.next += 1;
            let value = self.value(depth + 1)?;
            entries.push(Entry { key, at, value });
            self.skip_space();
            match self.peek() {
                Some(b',') => self.next += 1,
                Some(b'}') => break,
                _ => return self.fail("after object key:value pair"),
            }
        }
        self.next += 1;
        Ok(Tree::Map(entries))
    }

    fn array(&mut self, depth: usize) -> Result<Tree, JsonError> {
        self.next += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.next += 1;
            return Ok(Tree::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.next += 1,
                Some(b']') => break,
                _ => return self.fail("after array element"),
            }
        }
        self.next += 1;
        Ok(Tree::List(items))
    }

    fn literal(&mut self, word: &str, tree: Tree) -> Result<Tree, JsonError> {
        for expected in word.bytes() {
            if self.peek() != Some(expected) {
                return self.fail(&format!("in literal {word} (expecting {})", quote_byte(expected)));
            }
            self.next += 1;
        }
        Ok(tree)
    }

    fn number(&mut self) -> Result<Tree, JsonError> {
        let start = self.next;
        if self.peek() == Some(b'-') {
            self.next += 1;
        }
        match self.peek() {
            Some(b'0') => self.next += 1,
            Some(b'1'..=b'9') => self.digits("")?,
            _ => return self.fail("in numeric literal"),
        }
        if self.peek() == Some(b'.') {
            self.next += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.next += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.next += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(Tree::Number(self.text[start..self.next].to_owned()))
    }

    fn digits(&mut self, context: &str) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.fail(context);
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.next += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.next += 1;
        let mut out = String::new();
        let mut copied = self.next;
        loop {
            match self.peek() {
                Some(b'"') => {
                    out.push_str(&self.text[copied..self.next]);
                    self.next += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[copied..self.next]);
                    self.next += 1;
                    out.push(self.escape()?);
                    copied = self.next;
                }
                Some(0..=0x1f) | None => return self.fail("in string literal"),
                Some(_) => self.next += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let simple = match self.peek() {
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'u') => {
                self.next += 1;
                return self.unicode();
            }
            _ => return self.fail("in string escape code"),
        };
        self.next += 1;
        Ok(simple)
    }

    /// The character of `\uXXXX`, two of them where they are a surrogate pair; a lone surrogate is U+FFFD, as in Go.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let high = self.hex4()?;
        if !(0xd800..0xdc00).contains(&high) || !self.text[self.next..].starts_with("\\u") {
            return Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let before = self.next;
        self.next += 2;
        let low = self.hex4()?;
        if (0xdc00..0xe000).contains(&low) {
            let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        self.next = before;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return self.fail("in \\u hexadecimal character escape") };
            code = code * 16 + digit;
            self.next += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn fails(text: &str, message: &str, line: usize, column: usize) {
        let at = Mark { line, column };
        assert_eq!(parse(text), Err(JsonError { message: message.to_owned(), at }));
    }

    #[test]
    fn errors_are_worded_and_placed_as_go_words_them() {
        fails("", "unexpected end of JSON input", 1, 1);
        fails("{", "unexpected end of JSON input", 1, 2);
        fails("{\"a\":1,}", "invalid character '}' looking for beginning of object key string", 1, 8);
        fails("{\"a\" 1}", "invalid character '1' after object key", 1, 6);
        fails("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair", 1, 8);
        fails("[1 2]", "invalid character '2' after array element", 1, 4);
        fails("[1,]", "invalid character ']' looking for beginning of value", 1, 4);
        fails("{}\n{}", "invalid character '{' after top-level value", 2, 1);
        fails("tru", "unexpected end of JSON input", 1, 4);
        fails("trux", "invalid character 'x' in literal true (expecting 'e')", 1, 4);
        fails("01", "invalid character '1' after top-level value", 1, 2);
        fails("-a", "invalid character 'a' in numeric literal", 1, 2);
        fails("1.e", "invalid character 'e' after decimal point in numeric literal", 1, 3);
        fails("1ex", "invalid character 'x' in exponent of numeric literal", 1, 3);
        fails("\"\n\"", "invalid character '\\n' in string literal", 1, 2);
        fails(r#""\x""#, "invalid character 'x' in string escape code", 1, 3);
        fails(r#""\u00g0""#, "invalid character 'g' in \\u hexadecimal character escape", 1, 6);
        fails("'a'", r"invalid character '\'' looking for beginning of value", 1, 1);
    }

    #[test]
    fn strings_escape_as_in_go() {
        let text = |json: &str| match parse(json).expect("the JSON is right").tree {
            Tree::Text(text) => text,
            other => panic!("not a string: {other:?}"),
        };
        assert_eq!(text(r#""a\n\u00e9\ud83d\ude00\ud800\"""#), "a\né😀\u{fffd}\"");
    }

    #[test]
    fn duplicates_and_places_are_kept() {
        let node = parse("{\n \"a\": 1,\n \"a\": {\"b\": [true]}\n}").expect("the JSON is right");
        let Tree::Map(entries) = &node.tree else { panic!("not an object") };
        assert_eq!(entries.len(), 2);
        assert_eq!(node.mark_of("a.b[0]"), Mark { line: 3, column: 14 });
        assert_eq!(node.mark_of("a.b[7].x"), Mark { line: 3, column: 8 });
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(MAX_DEPTH + 2);
        assert_eq!(parse(&deep).expect_err("too deep").message, "exceeded max depth");
    }

    #[test]
    fn a_stream_is_read_value_by_value() {
        assert_eq!(parse_stream("{} []\n3").expect("the JSON is right").len(), 3);
    }
}
