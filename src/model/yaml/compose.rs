//! Owns how parser events become a tree: anchors, aliases, merge keys, duplicate keys, as go-yaml composes them.
//! Never scans text (granit-parser does) and never words a syntax error (`wording` does).
//!
//! ```text
//!  events --> raw nodes in an arena, aliases as references --> tree, aliases expanded, keys sorted, duplicates noted
//! ```
//!
//! Parity: go-yaml v2's `decode.go`. Later keys win, merged keys count where `<<` stands, strict reading reports a
//! key that is set twice with the line of the second value.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, StructureStyle, Tag};

use super::super::go_text::quote;
use super::super::tree::{Entry, Mark, Node, Tree};
use super::scalar::{Scalar, resolve};
use super::wording::{self, Inside};
use super::{Document, Duplicate, SyntaxError};

/// Where aliases make up nearly all of a document this large, it is an attack. Facts of go-yaml v2.
const ALIASES_FREE: usize = 100;
const DECODES_FREE: usize = 1000;
const RATIO_RANGE: (f64, f64) = (400_000.0, 4_000_000.0);

/// A node as parsed; children are indices into the arena.
struct Raw {
    at: Mark,
    kind: RawKind,
}

enum RawKind {
    Scalar { text: String, plain: bool, tag: Option<String> },
    List(Vec<usize>),
    Map(Vec<(usize, usize)>),
    Alias { name: String, target: usize },
}

/// Reads the documents of a text one by one.
pub struct Composer<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    arena: Vec<Raw>,
    anchors: HashMap<usize, (String, usize)>,
    /// The collections that are open, outermost first.
    open: Vec<Inside>,
}

impl<'a> Composer<'a> {
    pub fn new(text: &'a str) -> Self {
        // As libyaml reads: what upstream accepts must be accepted.
        let options = granit_parser::options! {
            bom_inside_document_as_content: true,
            block_scalar_eof_without_line_feed: true,
            emit_unresolved_aliases: true,
            emit_anchor_events: true,
            emit_comments: false,
        };
        let parser = Parser::new_from_str_with_options(text, options);
        Self { text, parser, arena: Vec::new(), anchors: HashMap::new(), open: Vec::new() }
    }

    /// The next document, or none at the end of the text.
    pub fn next_document(&mut self) -> Result<Option<Document>, SyntaxError> {
        loop {
            match self.event()? {
                (Event::StreamEnd, _) => return Ok(None),
                (Event::DocumentStart(..), span) => {
                    self.arena.clear();
                    self.anchors.clear();
                    self.open.clear();
                    let first = self.event()?;
                    let root = self.node(first)?;
                    self.inner_event()?;
                    let mut expander = Expander::new(&self.arena);
                    let node = expander.value(root).map_err(|message| self.plain_error(message, root))?;
                    let duplicates = expander.duplicates;
                    return Ok(Some(Document { node, duplicates, start_line: span.start.line() }));
                }
                _ => {}
            }
        }
    }

    fn event(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        let next = match self.parser.next_event() {
            Some(Ok(event)) => event,
            Some(Err(error)) => {
                let inside = self.open.last().copied().unwrap_or(Inside::Block);
                return Err(wording::translate(self.text, &error, inside));
            }
            None => (Event::StreamEnd, Span::default()),
        };
        match &next {
            (Event::SequenceStart(StructureStyle::Flow, ..), _) => self.open.push(Inside::FlowList),
            (Event::MappingStart(StructureStyle::Flow, ..), span) => self.open.push(self.flow_map(span)),
            (Event::SequenceStart(..) | Event::MappingStart(..), _) => self.open.push(Inside::Block),
            (Event::SequenceEnd | Event::MappingEnd, _) => {
                self.open.pop();
            }
            _ => {}
        }
        Ok(next)
    }

    /// A pair in a list (`[a: b]`) is a mapping without braces: what it lacks, the list lacks.
    fn flow_map(&self, span: &Span) -> Inside {
        let braced = span.byte_range().is_none_or(|range| self.text[range.start..].starts_with('{'));
        if braced { Inside::FlowMap } else { Inside::FlowList }
    }

    /// Where a block scalar's `|` or `>` stands: the end of the text before its first line.
    fn header(&self, span: &Span) -> Mark {
        let before = span.byte_range().and_then(|range| self.text.get(..range.start)).unwrap_or("").trim_end();
        let line = before.rsplit('\n').next().unwrap_or("");
        let column = line.rfind(['|', '>']).map_or(0, |at| line[..at].chars().count());
        Mark { line: before.matches('\n').count() + 1, column: column + 1 }
    }

    fn plain_error(&self, message: String, node: usize) -> SyntaxError {
        let at = self.arena.get(node).map_or(Mark::default(), |raw| raw.at);
        // These two are not go-yaml's, but of what makes JSON of its values.
        let of_json = ["unsupported map key", "json: "].iter().any(|start| message.starts_with(start));
        if of_json { SyntaxError::of(self.text, message, at) } else { SyntaxError::new(self.text, message, at) }
    }

    /// Reads one node; the recursion is bounded by the parser's own limits on nesting.
    fn node(&mut self, (event, span): (Event<'a>, Span)) -> Result<usize, SyntaxError> {
        let at = mark(&span);
        match event {
            Event::Scalar(text, style, _, tag) => {
                let at =
                    if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) { self.header(&span) } else { at };
                let plain = style == ScalarStyle::Plain;
                let tag = tag.map(|tag| tag_name(&tag));
                let index = self.push(at, RawKind::Scalar { text: text.into_owned(), plain, tag });
                Ok(index)
            }
            Event::SequenceStart(..) => {
                let index = self.push(at, RawKind::List(Vec::new()));
                let mut items = Vec::new();
                loop {
                    match self.inner_event()? {
                        (Event::SequenceEnd, _) => break,
                        other => items.push(self.node(other)?),
                    }
                }
                self.arena[index].kind = RawKind::List(items);
                Ok(index)
            }
            Event::MappingStart(..) => {
                let index = self.push(at, RawKind::Map(Vec::new()));
                let mut entries = Vec::new();
                loop {
                    let key = match self.inner_event()? {
                        (Event::MappingEnd, _) => break,
                        other => self.node(other)?,
                    };
                    let value = self.inner_event()?;
                    entries.push((key, self.node(value)?));
                }
                self.arena[index].kind = RawKind::Map(entries);
                Ok(index)
            }
            Event::Alias(id) => {
                let (name, target) = self.anchors.get(&id).cloned().unwrap_or_default();
                Ok(self.push(at, RawKind::Alias { name, target }))
            }
            Event::UnresolvedAlias(name) if !name.chars().all(is_name) => Err(wording::bad_name(self.text, at)),
            Event::UnresolvedAlias(name) => {
                Err(SyntaxError::new(self.text, format!("unknown anchor '{name}' referenced"), at))
            }
            other => Err(SyntaxError::new(self.text, format!("unexpected event {other:?}"), at)),
        }
    }

    /// The next event that is no anchor. An anchor's event follows its node's at once, so that the node is the last.
    fn inner_event(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        loop {
            match self.event()? {
                (Event::Anchor(_, name), span) if !name.chars().all(is_name) => {
                    return Err(wording::bad_name(self.text, mark(&span)));
                }
                (Event::Anchor(id, name), span) => {
                    let node = self.arena.len() - 1;
                    // A node starts where its anchor does, for libyaml.
                    self.arena[node].at = self.arena[node].at.min(mark(&span));
                    self.anchors.insert(id, (name.into_owned(), node));
                }
                other => return Ok(other),
            }
        }
    }

    fn push(&mut self, at: Mark, kind: RawKind) -> usize {
        self.arena.push(Raw { at, kind });
        self.arena.len() - 1
    }
}

/// The characters that YAML 1.1 has in the names of anchors.
fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-')
}

fn mark(span: &Span) -> Mark {
    let start = Mark { line: span.start.line(), column: span.start.col() + 1 };
    let tag = span.tag_start().map(|tag| Mark { line: tag.line(), column: tag.col() + 1 });
    tag.map_or(start, |tag| tag.min(start))
}

fn tag_name(tag: &Tag) -> String {
    format!("{}{}", tag.handle(), tag.suffix())
}

/// Turns raw nodes into the tree.
struct Expander<'a> {
    arena: &'a [Raw],
    duplicates: Vec<Duplicate>,
    path: String,
    open: Vec<usize>,
    decoded: usize,
    from_aliases: usize,
}

/// A mapping while it is filled. Duplicates are told by the key as YAML knows it: 1 and "1" are two.
#[derive(Default)]
struct Slots {
    entries: Vec<Entry>,
    index: HashMap<String, usize>,
}

impl<'a> Expander<'a> {
    fn new(arena: &'a [Raw]) -> Self {
        Self { arena, duplicates: Vec::new(), path: String::new(), open: Vec::new(), decoded: 0, from_aliases: 0 }
    }

    fn value(&mut self, index: usize) -> Result<Node, String> {
        self.count()?;
        let raw = &self.arena[index];
        let tree = match &raw.kind {
            RawKind::Scalar { text, plain, tag } => resolve(text, *plain, tag.as_deref())?.to_tree()?,
            RawKind::List(items) => Tree::List(self.items(items)?),
            RawKind::Map(entries) => {
                let mut slots = Slots::default();
                self.fill(entries, &mut slots)?;
                Tree::Map(sorted(slots.entries))
            }
            RawKind::Alias { name, target } => {
                self.enter(name, index)?;
                let node = self.value(*target)?;
                self.open.pop();
                return Ok(node);
            }
        };
        Ok(Node { at: raw.at, tree })
    }

    fn items(&mut self, items: &[usize]) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            let before = self.path.len();
            self.path.push_str(&format!("[{position}]"));
            nodes.push(self.value(*item)?);
            self.path.truncate(before);
        }
        Ok(nodes)
    }

    fn fill(&mut self, entries: &[(usize, usize)], slots: &mut Slots) -> Result<(), String> {
        for &(key, value) in entries {
            if self.is_merge(key) {
                self.merge(value, slots)?;
                continue;
            }
            let scalar = self.key(key)?;
            let Some(name) = scalar.to_key() else {
                let shown = self.value(value)?;
                return Err(unsupported_key(&scalar, &shown));
            };
            let before = self.path.len();
            if before > 0 {
                self.path.push('.');
            }
            self.path.push_str(&name);
            let node = self.value(value)?;
            let entry = Entry { key: name, at: self.arena[key].at, value: node };
            self.set(slots, &scalar, entry, self.arena[value].at);
            self.path.truncate(before);
        }
        Ok(())
    }

    fn set(&mut self, slots: &mut Slots, key: &Scalar, entry: Entry, value_at: Mark) {
        let shown = key.dump();
        if let Some(known) = slots.index.get(&shown) {
            let message = format!("line {}: key {shown} already set in map", value_at.line);
            self.duplicates.push(Duplicate { message, path: self.path.clone(), at: entry.at });
            slots.entries[*known] = entry;
            return;
        }
        slots.index.insert(shown, slots.entries.len());
        slots.entries.push(entry);
    }

    fn key(&mut self, index: usize) -> Result<Scalar, String> {
        self.count()?;
        match &self.arena[index].kind {
            RawKind::Scalar { text, plain, tag } => resolve(text, *plain, tag.as_deref()),
            RawKind::Alias { name, target } => {
                self.enter(name, index)?;
                let key = self.key(*target)?;
                self.open.pop();
                Ok(key)
            }
            RawKind::List(_) | RawKind::Map(_) => {
                let shown = self.value(index)?;
                Err(format!("invalid map key: {}", dump(&shown)))
            }
        }
    }

    fn is_merge(&self, key: usize) -> bool {
        let RawKind::Scalar { text, plain, tag } = &self.arena[key].kind else { return false };
        text == "<<" && (tag.is_none() && *plain || tag.as_deref() == Some("tag:yaml.org,2002:merge"))
    }

    fn merge(&mut self, value: usize, slots: &mut Slots) -> Result<(), String> {
        if let RawKind::List(items) = &self.arena[value].kind {
            // Earlier ones win, so they are set last.
            return items.iter().rev().try_for_each(|item| self.merge_one(*item, slots));
        }
        self.merge_one(value, slots)
    }

    fn merge_one(&mut self, value: usize, slots: &mut Slots) -> Result<(), String> {
        self.count()?;
        let no_map = || Err("map merge requires map or sequence of maps as the value".to_owned());
        match &self.arena[value].kind {
            RawKind::Map(entries) => self.fill(entries, slots),
            RawKind::Alias { name, target } => {
                let RawKind::Map(entries) = &self.arena[*target].kind else { return no_map() };
                self.enter(name, value)?;
                self.fill(entries, slots)?;
                self.open.pop();
                Ok(())
            }
            RawKind::Scalar { .. } | RawKind::List(_) => no_map(),
        }
    }

    /// Goes into an alias, which must not be inside itself.
    fn enter(&mut self, name: &str, alias: usize) -> Result<(), String> {
        if self.open.contains(&alias) {
            return Err(format!("anchor '{name}' value contains itself"));
        }
        self.open.push(alias);
        Ok(())
    }

    fn count(&mut self) -> Result<(), String> {
        self.decoded += 1;
        self.from_aliases += usize::from(!self.open.is_empty());
        if self.from_aliases <= ALIASES_FREE || self.decoded <= DECODES_FREE {
            return Ok(());
        }
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let (decoded, from_aliases) = (self.decoded as f64, self.from_aliases as f64);
        let (low, high) = RATIO_RANGE;
        let allowed = 0.99 - 0.89 * ((decoded - low) / (high - low)).clamp(0.0, 1.0);
        if from_aliases / decoded > allowed {
            return Err("document contains excessive aliasing".to_owned());
        }
        Ok(())
    }
}

/// In the order in which Go writes a map as JSON, since that is what its decoder reads next.
fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    // Different YAML keys (1 and "1") can be one JSON key.
    entries.dedup_by(|later, kept| {
        let same = later.key == kept.key;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
    entries
}

fn unsupported_key(key: &Scalar, value: &Node) -> String {
    let (ty, shown) = match key {
        Scalar::Null => ("%!s(<nil>)", "<nil>".to_owned()),
        Scalar::Uint(_) => ("uint64", key.dump()),
        other => ("string", other.dump()),
    };
    format!("unsupported map key of type: {ty}, key: {shown}, value: {}", top_dump(value))
}

/// `%#v` of a whole value, which prints a bare nil differently from one inside.
fn top_dump(node: &Node) -> String {
    if node.tree == Tree::Null { "<nil>".to_owned() } else { dump(node) }
}

/// As `%#v` prints what go-yaml makes of the node.
fn dump(node: &Node) -> String {
    match &node.tree {
        Tree::Null => "interface {}(nil)".to_owned(),
        Tree::Bool(value) => value.to_string(),
        Tree::Number(text) => text.clone(),
        Tree::Text(text) => quote(text),
        Tree::List(items) => {
            let items: Vec<String> = items.iter().map(dump).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Tree::Map(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|entry| format!("{}:{}", quote(&entry.key), dump(&entry.value))).collect();
            format!("map[interface {{}}]interface {{}}{{{}}}", entries.join(", "))
        }
    }
}
