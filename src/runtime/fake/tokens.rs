//! PURE. Owns the splitting of shell text into tokens: words with their quotes and variables, operators,
//! redirections. Never knows what a command means; `shell` does.

/// What shell text is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// Anything else.
    Word(Word),
    /// `;` (newlines too), `&&`, `||`, `|`, `&`, `(`, `)`.
    Operator(&'static str),
    /// `>`, `>>`, `<` with its file descriptor; the target is the next word, or `&2` is part of it.
    Redirect { from: u8, to: Target },
}

/// Where a redirection goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    /// A file, named by the next word.
    File,
    /// Another descriptor.
    Descriptor(u8),
}

/// Parts that are joined to one word.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Word {
    /// In order.
    pub parts: Vec<Part>,
    /// Quotes keep an empty word, and a keyword from being one.
    pub quoted: bool,
}

/// A part of a word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// As it is.
    Text(String),
    /// Replaced by its value, or by the default where it has none.
    Variable { name: String, default: String },
}

/// Splits a text into tokens.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut reader = Reader { rest: text.chars().collect::<Vec<char>>(), at: 0 };
    let mut tokens = Vec::new();
    while let Some(c) = reader.peek() {
        match c {
            ' ' | '\t' | '\r' => reader.at += 1,
            '#' => {
                while reader.peek().is_some_and(|c| c != '\n') {
                    reader.at += 1
                }
            }
            '\\' if reader.peek_at(1) == Some('\n') => reader.at += 2,
            _ => tokens.push(reader.token(c)),
        }
    }
    tokens
}

struct Reader {
    rest: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn operator(&mut self, operator: &'static str, length: usize) -> Token {
        self.at += length;
        Token::Operator(operator)
    }

    fn token(&mut self, c: char) -> Token {
        let next = self.peek_at(1);
        match (c, next) {
            ('&', Some('&')) => self.operator("&&", 2),
            ('|', Some('|')) => self.operator("||", 2),
            ('&', _) => self.operator("&", 1),
            ('|', _) => self.operator("|", 1),
            ('(', _) => self.operator("(", 1),
            (')', _) => self.operator(")", 1),
            (';' | '\n', _) => self.operator(";", 1),
            ('>' | '<', _) => self.redirect(u8::from(c == '>')),
            ('1' | '2', Some('>')) => {
                self.at += 1;
                self.redirect(if c == '2' { 2 } else { 1 })
            }
            _ => Token::Word(self.word()),
        }
    }

    fn redirect(&mut self, from: u8) -> Token {
        while self.peek().is_some_and(|c| c == '>' || c == '<') {
            self.at += 1;
        }
        match (self.peek(), self.peek_at(1).and_then(|c| c.to_digit(10))) {
            (Some('&'), Some(to)) => {
                self.at += 2;
                Token::Redirect { from, to: Target::Descriptor(u8::try_from(to).unwrap_or(1)) }
            }
            _ => Token::Redirect { from, to: Target::File },
        }
    }

    fn word(&mut self) -> Word {
        let mut word = Word::default();
        let mut text = String::new();
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    word.quoted = true;
                    self.at += 1;
                    while let Some(c) = self.peek().filter(|c| *c != '\'') {
                        text.push(c);
                        self.at += 1;
                    }
                    self.at += 1;
                }
                '"' => {
                    word.quoted = true;
                    self.double_quoted(&mut word, &mut text);
                }
                '\\' => {
                    text.extend(self.peek_at(1));
                    self.at += 2;
                }
                '$' => self.variable(&mut word, &mut text),
                other => {
                    text.push(other);
                    self.at += 1;
                }
            }
        }
        word.parts.push(Part::Text(text));
        word
    }

    fn double_quoted(&mut self, word: &mut Word, text: &mut String) {
        self.at += 1;
        while let Some(c) = self.peek().filter(|c| *c != '"') {
            match (c, self.peek_at(1)) {
                ('\\', Some(next @ ('"' | '\\' | '$' | '`'))) => {
                    text.push(next);
                    self.at += 2;
                }
                ('$', _) => self.variable(word, text),
                _ => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
    }

    /// `$NAME`, `${NAME}`, `${NAME:-default}`, `$?`, `$$`; a `$(…)` is nothing.
    fn variable(&mut self, word: &mut Word, text: &mut String) {
        self.at += 1;
        let name = match self.peek() {
            Some('{') => self.until('}'),
            Some('(') => {
                self.skip_substitution();
                return;
            }
            Some(c @ ('?' | '$' | '#' | '@' | '*' | '!' | '0'..='9')) => {
                self.at += 1;
                c.to_string()
            }
            _ => {
                let begin = self.at;
                while self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
                    self.at += 1;
                }
                self.rest[begin..self.at].iter().collect()
            }
        };
        if name.is_empty() {
            text.push('$');
            return;
        }
        let (name, default) = name.split_once(":-").or_else(|| name.split_once('-')).unwrap_or((&name, ""));
        word.parts.push(Part::Text(std::mem::take(text)));
        word.parts.push(Part::Variable { name: name.to_owned(), default: default.to_owned() });
    }

    fn until(&mut self, end: char) -> String {
        self.at += 1;
        let begin = self.at;
        while self.peek().is_some_and(|c| c != end) {
            self.at += 1;
        }
        let text = self.rest[begin..self.at].iter().collect();
        self.at += 1;
        text
    }

    fn skip_substitution(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                '(' => depth += 1,
                ')' if depth <= 1 => return,
                ')' => depth -= 1,
                _ => {}
            }
        }
    }
}
