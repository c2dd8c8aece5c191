//! Shell patterns as Go's `path.Match` reads them, which Docker's `reference` filter uses.

use std::iter::Peekable;
use std::str::Chars;

use model::{Error, Reference, Result};

/// A pattern that is well formed.
#[derive(Debug)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    /// Itself.
    Char(char),
    /// `?`: one character but a slash.
    Any,
    /// `*`: any number of characters but slashes.
    Star,
    /// `[...]`.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Go's sentence about one that is malformed.
    pub fn parse(text: &str) -> Result<Self> {
        let mut chars = text.chars().peekable();
        let mut parts = Vec::new();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Star,
                '?' => Part::Any,
                '\\' => Part::Char(chars.next().ok_or_else(malformed)?),
                '[' => class(&mut chars).ok_or_else(malformed)?,
                c => Part::Char(c),
            });
        }
        Ok(Self { parts })
    }

    /// Whether it fits the familiar name, with or without the tag (`distribution/reference`
    /// `FamiliarMatch`).
    pub fn fits(&self, reference: &Reference) -> bool {
        self.matches(&reference.familiar()) || self.matches(&reference.familiar_name())
    }

    /// Backtracks to the last star only: linear in practice, quadratic at worst.
    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match self.parts.get(p) {
                Some(Part::Star) => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(part) if part.takes(text[t]) => (p, t) = (p + 1, t + 1),
                _ => match star {
                    Some((star_p, star_t)) if text[star_t] != '/' => {
                        star = Some((star_p, star_t + 1));
                        (p, t) = (star_p + 1, star_t + 1);
                    }
                    _ => return false,
                },
            }
        }
        self.parts[p..]
            .iter()
            .all(|part| matches!(part, Part::Star))
    }
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Char(wanted) => *wanted == c,
            Self::Any => c != '/',
            Self::Star => false,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// What follows a `[`; `None` when it is malformed or does not end.
fn class(chars: &mut Peekable<Chars<'_>>) -> Option<Part> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
        let low = class_char(chars)?;
        let high = match chars.next_if_eq(&'-') {
            Some(_) => class_char(chars)?,
            None => low,
        };
        ranges.push((low, high));
    }
    Some(Part::Class { negated, ranges })
}

/// One end of a range: not a bare `-` or `]`.
fn class_char(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

fn malformed() -> Error {
    Error::invalid("syntax error in pattern")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names_with_and_without_tags() {
        let r: Reference = "library/busybox:1.36".parse().unwrap();
        for yes in [
            "busybox",
            "busybox:1.36",
            "busy*",
            "busybox:*",
            "b?sybox",
            "busybox:1.[0-9]6",
            "[^a]usybox",
            "[a-c]usy[x\\]b]ox",
            "busybo\\x",
        ] {
            assert!(Pattern::parse(yes).unwrap().fits(&r), "{yes}");
        }
        for no in [
            "busy",
            "*/busybox",
            "busybox:2*",
            "",
            "[^b]usybox",
            "busybo\\*",
        ] {
            assert!(!Pattern::parse(no).unwrap().fits(&r), "{no}");
        }
        let in_path: Reference = "a/b".parse().unwrap();
        assert!(!Pattern::parse("*").unwrap().fits(&in_path));
        assert!(Pattern::parse("*/*").unwrap().fits(&in_path));
    }

    #[test]
    fn malformed_patterns_are_refused_as_go_refuses_them() {
        for bad in [
            "[", "[]", "[]a]", "[a", "[a-", "[-a]", "[a-]", "[^]", "a\\", "[\\",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
