//! PURE. Owns the reading of the shell text of sample manifests: enough of `sh` that a fake container prints, sleeps
//! and ends as the real one would.
//! Never runs anything, and never fails: what it does not know succeeds at once and prints nothing.
//!
//! Known: `;`, newline, `&&`, `||`, `|`, `&`, `( )`, `{ }`, `if … then … elif … else … fi`, quotes, `$NAME`,
//! `${NAME}`, `${NAME:-default}`, `$?`, `$$`, assignments, `>` and `>&2`; `echo`, `printf`, `sleep`, `exit`, `exec`,
//! `true`, `false`, `:`, `hostname`, `test`, `[ ]`, `set -e`, `export`, `kill`, `trap … TERM`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::script::Line;
use super::tokens::{Part, Target, Token, Word, tokens};

/// Depth of groups and conditions; a deeper text is not a sample manifest's, and recursion needs a bound.
const DEPTH_MAX: usize = 50;

/// What a text does.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Its output.
    pub lines: Vec<Line>,
    /// How long it takes.
    pub elapsed: Duration,
    /// Its exit code.
    pub code: i32,
    /// It ended by `exit` rather than at its end.
    pub exited: bool,
    /// It never ends by itself.
    pub for_ever: bool,
    /// The text that it runs at SIGTERM.
    pub trap: Option<String>,
}

/// Reads `sh -c TEXT`; with `errexit` as `sh -ec TEXT`.
pub(super) fn run_text(text: &str, env: &BTreeMap<String, String>, errexit: bool) -> Run {
    let mut tokens = Tokens { tokens: tokens(text), at: 0 };
    let list = list(&mut tokens, 0);
    let mut shell = Shell { env: env.clone(), errexit, run: Run::default(), silent: false };
    shell.list(&list, true);
    shell.run
}

/// Reads a command line that is split already.
pub(super) fn run_words(argv: &[String], env: &BTreeMap<String, String>) -> Run {
    let mut shell = Shell { env: env.clone(), errexit: false, run: Run::default(), silent: false };
    let code = shell.command(argv, false);
    if !shell.run.exited {
        shell.run.code = code;
    }
    shell.run
}

/// Commands with what joins each to the one before: `;`, `&&`, `||`, `|`.
type List = Vec<(&'static str, Command)>;

#[derive(Debug)]
enum Command {
    Simple { words: Vec<Word>, redirects: Vec<(u8, Target)> },
    Group(List),
    If { arms: Vec<(List, List)>, otherwise: List },
}

struct Tokens {
    tokens: Vec<Token>,
    at: usize,
}

impl Tokens {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// The keyword here, if it is one: an unquoted word without variables.
    fn keyword(&self) -> Option<&str> {
        match self.peek()? {
            Token::Word(Word { parts, quoted: false }) => match parts.as_slice() {
                [Part::Text(text)] => Some(text),
                _ => None,
            },
            Token::Word(_) | Token::Operator(_) | Token::Redirect { .. } => None,
        }
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let here = self.keyword() == Some(keyword);
        self.at += usize::from(here);
        here
    }
}

/// Reads commands up to the end, a `)`, or a keyword that ends a list.
fn list(tokens: &mut Tokens, depth: usize) -> List {
    let mut list = List::new();
    let mut joint = ";";
    while let Some(token) = tokens.peek() {
        match token {
            Token::Operator(")") => break,
            Token::Operator(operator @ ("&&" | "||" | "|" | ";")) => {
                // A line's end after `&&` continues the command.
                joint = if *operator == ";" && joint != ";" { joint } else { operator };
                tokens.at += 1;
            }
            Token::Operator("&") => {
                joint = ";";
                tokens.at += 1;
            }
            Token::Operator(_) | Token::Word(_) | Token::Redirect { .. } => {
                if matches!(tokens.keyword(), Some("then" | "elif" | "else" | "fi" | "}")) || depth > DEPTH_MAX {
                    break;
                }
                let command = command(tokens, depth);
                list.push((joint, command));
                joint = ";";
            }
        }
    }
    list
}

fn command(tokens: &mut Tokens, depth: usize) -> Command {
    if matches!(tokens.peek(), Some(Token::Operator("("))) {
        tokens.at += 1;
        let inner = list(tokens, depth + 1);
        tokens.at += 1;
        return Command::Group(inner);
    }
    if tokens.take_keyword("{") {
        let inner = list(tokens, depth + 1);
        tokens.take_keyword("}");
        return Command::Group(inner);
    }
    if tokens.take_keyword("if") {
        return condition(tokens, depth + 1);
    }
    let (mut words, mut redirects) = (Vec::new(), Vec::new());
    loop {
        match tokens.peek() {
            Some(Token::Word(word)) => words.push(word.clone()),
            Some(Token::Redirect { from, to }) => {
                redirects.push((*from, to.clone()));
                // The file's name, which nobody needs.
                tokens.at += usize::from(*to == Target::File);
            }
            Some(Token::Operator(_)) | None => return Command::Simple { words, redirects },
        }
        tokens.at += 1;
    }
}

fn condition(tokens: &mut Tokens, depth: usize) -> Command {
    let mut arms = Vec::new();
    loop {
        let test = list(tokens, depth);
        tokens.take_keyword("then");
        arms.push((test, list(tokens, depth)));
        if !tokens.take_keyword("elif") {
            break;
        }
    }
    let otherwise = if tokens.take_keyword("else") { list(tokens, depth) } else { List::new() };
    tokens.take_keyword("fi");
    Command::If { arms, otherwise }
}

struct Shell {
    env: BTreeMap<String, String>,
    errexit: bool,
    run: Run,
    /// Output goes into a file, or into the next command.
    silent: bool,
}

impl Shell {
    fn over(&self) -> bool {
        self.run.exited || self.run.for_ever
    }

    /// Runs a list; `strict` where a failure ends the shell under `set -e`.
    fn list(&mut self, list: &List, strict: bool) {
        for (at, (joint, command)) in list.iter().enumerate() {
            let wanted = match *joint {
                "&&" => self.run.code == 0,
                "||" => self.run.code != 0,
                _ => true,
            };
            if self.over() || !wanted {
                continue;
            }
            let next = list.get(at + 1).map(|(joint, _)| *joint);
            let was_silent = self.silent;
            self.silent |= next == Some("|");
            self.one(command);
            self.silent = was_silent;
            let tested = matches!(next, Some("&&" | "||" | "|"));
            if self.errexit && strict && !tested && self.run.code != 0 && !self.over() {
                self.run.exited = true;
            }
        }
    }

    fn one(&mut self, command: &Command) {
        match command {
            Command::Group(inner) => self.list(inner, true),
            Command::If { arms, otherwise } => {
                for (test, body) in arms {
                    self.list(test, false);
                    if self.over() {
                        return;
                    }
                    if self.run.code == 0 {
                        return self.list(body, true);
                    }
                }
                self.run.code = 0;
                self.list(otherwise, true);
            }
            Command::Simple { words, redirects } => {
                let words: Vec<String> = words.iter().filter_map(|word| self.expand(word)).collect();
                let to_stderr = redirects.contains(&(1, Target::Descriptor(2)));
                let to_file = redirects.contains(&(1, Target::File));
                let was_silent = self.silent;
                self.silent |= to_file;
                let code = self.command(&words, to_stderr);
                self.silent = was_silent;
                if !self.run.exited {
                    self.run.code = code;
                }
            }
        }
    }

    /// One word; none where it is empty and unquoted.
    fn expand(&self, word: &Word) -> Option<String> {
        let text: String = word.parts.iter().map(|part| self.part(part)).collect();
        (word.quoted || !text.is_empty()).then_some(text)
    }

    fn part(&self, part: &Part) -> String {
        match part {
            Part::Text(text) => text.clone(),
            Part::Variable { name, default } => match name.as_str() {
                "?" => self.run.code.to_string(),
                "$" => "1".to_owned(),
                name => self.env.get(name).filter(|value| !value.is_empty()).unwrap_or(default).clone(),
            },
        }
    }

    /// Runs a command and returns its code.
    fn command(&mut self, words: &[String], stderr: bool) -> i32 {
        let Some((program, rest)) = words.split_first() else { return 0 };
        match program.rsplit('/').next().unwrap_or(program) {
            "exit" => self.exit(rest.first().and_then(|code| code.parse().ok()).unwrap_or(self.run.code)),
            "false" => 1,
            "!" => i32::from(self.command(rest, stderr) == 0),
            "echo" => {
                let open = rest.first().is_some_and(|word| word == "-n");
                self.print(&rest[usize::from(open)..].join(" "), stderr, open)
            }
            "printf" => {
                let text = printf(rest);
                let open = !text.is_empty() && !text.ends_with('\n');
                if text.is_empty() { 0 } else { self.print(text.trim_end_matches('\n'), stderr, open) }
            }
            "hostname" => self.print(&self.env.get("HOSTNAME").cloned().unwrap_or_default(), stderr, false),
            "sleep" => self.sleep(rest.first().map(String::as_str).unwrap_or_default()),
            "test" => test(rest),
            "[" => test(rest.strip_suffix(&["]".to_owned()]).unwrap_or(rest)),
            "exec" => {
                let code = self.command(rest, stderr);
                if rest.is_empty() || self.over() { code } else { self.exit(code) }
            }
            "set" => self.set(rest),
            "export" => rest.iter().map(|word| self.assign(word)).last().map_or(0, |_| 0),
            "trap" => self.trap(rest),
            "kill" => self.kill(rest),
            _ if self.assign(program) => self.command(rest, stderr),
            name if name.contains("missing") => {
                self.print(&format!("sh: {program}: not found"), true, false);
                127
            }
            _ => 0,
        }
    }

    fn exit(&mut self, code: i32) -> i32 {
        self.run.exited = true;
        self.run.code = code & 0xff;
        self.run.code
    }

    fn print(&mut self, text: &str, stderr: bool, partial: bool) -> i32 {
        let after = self.run.elapsed;
        if !self.silent {
            for (at, line) in text.split('\n').enumerate() {
                let last = at == text.matches('\n').count();
                self.run.lines.push(Line { after, stderr, text: line.to_owned(), partial: partial && last });
            }
        }
        0
    }

    fn sleep(&mut self, text: &str) -> i32 {
        let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
            Some(number) => (number, text.chars().last().unwrap_or('s')),
            None => (text, 's'),
        };
        let factor = match unit {
            'm' => 60.0,
            'h' => 3_600.0,
            'd' => 86_400.0,
            _ => 1.0,
        };
        match number.parse::<f64>().map(|seconds| Duration::try_from_secs_f64(seconds * factor)) {
            Ok(Ok(time)) => self.run.elapsed = self.run.elapsed.saturating_add(time),
            // "infinity", and numbers that mean it.
            Ok(Err(_)) => self.run.for_ever = number != "-1",
            Err(_) => return 1,
        }
        0
    }

    fn set(&mut self, flags: &[String]) -> i32 {
        if let Some(flags) = flags.first() {
            match flags.chars().next() {
                Some('-') if flags.contains('e') => self.errexit = true,
                Some('+') if flags.contains('e') => self.errexit = false,
                _ => {}
            }
        }
        0
    }

    /// `NAME=value`; false where the word is none.
    fn assign(&mut self, word: &str) -> bool {
        match word.split_once('=') {
            Some((name, value)) if is_name(name) => {
                self.env.insert(name.to_owned(), value.to_owned());
                true
            }
            _ => false,
        }
    }

    fn trap(&mut self, words: &[String]) -> i32 {
        if let [action, signals @ ..] = words
            && signals.iter().any(|signal| signal.ends_with("TERM") || signal == "15")
        {
            self.run.trap = Some(action.clone());
        }
        0
    }

    /// `kill -9 $$` and its like end the shell itself; other processes there are none.
    fn kill(&mut self, words: &[String]) -> i32 {
        let signal = match words.first().map(String::as_str) {
            Some("-9" | "-KILL" | "-SIGKILL") => 9,
            Some("-11" | "-SEGV" | "-SIGSEGV") => 11,
            Some("-2" | "-INT" | "-SIGINT") => 2,
            _ => 15,
        };
        if words.last().is_some_and(|pid| pid == "1") { self.exit(128 + signal) } else { 0 }
    }
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `%s` and `%d` take the words in order; `\n` and `\t` are what they say.
fn printf(words: &[String]) -> String {
    let Some((format, values)) = words.split_first() else { return String::new() };
    let mut values = values.iter();
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match (c, c == '%' || c == '\\') {
            (_, false) => text.push(c),
            (_, true) => match (c, chars.next()) {
                ('\\', Some('n')) => text.push('\n'),
                ('\\', Some('t')) => text.push('\t'),
                ('%', Some('s' | 'd' | 'i')) => text.push_str(values.next().map_or("", String::as_str)),
                (_, Some(other)) => text.push(other),
                (_, None) => text.push(c),
            },
        }
    }
    text
}

/// `test` without its name and bracket. There are no files here.
fn test(words: &[String]) -> i32 {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.trim().parse::<i64>().ok();
    let compare =
        |a: &str, b: &str, fits: fn(&i64, &i64) -> bool| number(a).zip(number(b)).is_some_and(|(a, b)| fits(&a, &b));
    let truth = match words.as_slice() {
        ["!", rest @ ..] => {
            let rest: Vec<String> = rest.iter().map(|word| (*word).to_owned()).collect();
            return i32::from(test(&rest) == 0);
        }
        ["-z", text] => text.is_empty(),
        ["-n", text] => !text.is_empty(),
        ["-z"] => true,
        [text] => !text.is_empty() && *text != "-n",
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [a, "-eq", b] => compare(a, b, |a, b| a == b),
        [a, "-ne", b] => compare(a, b, |a, b| a != b),
        [a, "-lt", b] => compare(a, b, |a, b| a < b),
        [a, "-le", b] => compare(a, b, |a, b| a <= b),
        [a, "-gt", b] => compare(a, b, |a, b| a > b),
        [a, "-ge", b] => compare(a, b, |a, b| a >= b),
        _ => false,
    };
    i32::from(!truth)
}
