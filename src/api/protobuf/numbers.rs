//! Owns which protobuf number stands for which field: `numbers.txt`, read once. PURE. Never knows a field's type.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The numbers of one type.
#[derive(Debug, Default)]
pub struct Numbers {
    names: HashMap<u32, &'static str>,
    inline: HashMap<u32, Numbers>,
}

impl Numbers {
    /// The field with this number.
    pub fn name(&self, number: u32) -> Option<&'static str> {
        self.names.get(&number).copied()
    }

    /// The message with this number, whose fields are the owner's in JSON.
    pub fn inline(&self, number: u32) -> Option<&Self> {
        self.inline.get(&number)
    }

    /// Reads `1=name 2=(1=hostPath)` up to the end or the bracket that closes it; answers what follows.
    fn parse(mut text: &'static str) -> (Self, &'static str) {
        let mut numbers = Self::default();
        loop {
            text = text.trim_start();
            if text.is_empty() {
                return (numbers, "");
            }
            if let Some(rest) = text.strip_prefix(')') {
                return (numbers, rest);
            }
            let (number, rest) = text.split_once('=').expect("the table gives NUMBER=FIELD");
            let number = number.parse().expect("the table's numbers are numbers");
            if let Some(inner) = rest.strip_prefix('(') {
                let (inline, rest) = Self::parse(inner);
                numbers.inline.insert(number, inline);
                text = rest;
            } else {
                let end = rest.find([' ', ')']).unwrap_or(rest.len());
                numbers.names.insert(number, &rest[..end]);
                text = &rest[end..];
            }
        }
    }
}

static TYPES: LazyLock<HashMap<&'static str, Numbers>> = LazyLock::new(|| {
    let lines = include_str!("numbers.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(name, fields)| (name, Numbers::parse(fields).0)).collect()
});

/// The numbers of a type (`core/v1.PodSpec`); none for types that are newer than the table.
pub fn of(name: &str) -> Option<&'static Numbers> {
    TYPES.get(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::schema;

    fn names(numbers: &Numbers) -> Vec<&'static str> {
        let own = numbers.names.values().copied();
        own.chain(numbers.inline.values().flat_map(names)).collect()
    }

    #[test]
    fn every_numbered_field_is_a_field_of_its_type() {
        assert!(TYPES.len() > 250);
        for (owner, numbers) in TYPES.iter() {
            let known = schema::find(owner).unwrap_or_else(|| panic!("{owner} is no type"));
            for name in names(numbers) {
                assert!(known.field(name).is_some(), "{owner} has no field {name}");
            }
        }
    }
}
