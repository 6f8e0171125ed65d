//! PURE. Owns the `$(VAR)` syntax of commands, arguments and environment values.
//! Never looks a variable up by itself: the caller says what a name stands for.
//!
//! Parity: `third_party/forked/golang/expansion`: `$(NAME)` is replaced where NAME is known and kept as written where it
//! is not, `$$` is a dollar sign, and a `$` before anything else stands for itself.

/// Replaces every known `$(NAME)` of `text`.
pub fn expand<'v>(text: &str, lookup: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        rest = match after.chars().next() {
            Some('$') => {
                out.push('$');
                &after[1..]
            }
            Some('(') => match after.find(')') {
                Some(end) => {
                    match lookup(&after[1..end]) {
                        Some(value) => out.push_str(value),
                        None => out.push_str(&rest[at..at + 1 + end + 1]),
                    }
                    &after[end + 1..]
                }
                None => {
                    out.push_str("$(");
                    &after[1..]
                }
            },
            Some(_) | None => {
                out.push('$');
                after
            }
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn variables_expand_as_upstream_expands_them() {
        for (text, expected) in [
            ("$(A)", "1"),
            ("x-$(A)-$(B)-y", "x-1-two-y"),
            ("$(MISSING)", "$(MISSING)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$A", "$A"),
            ("$", "$"),
            ("a$", "a$"),
            ("$(A", "$(A"),
            ("$($(A)", "$($(A)"),
            ("$(A))", "1)"),
            ("$()", "$()"),
            ("é$(A)é", "é1é"),
            ("$é", "$é"),
            ("", ""),
        ] {
            let lookup = |name: &str| match name {
                "A" => Some("1"),
                "B" => Some("two"),
                _ => None,
            };
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}
