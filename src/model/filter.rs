//! Filters of list and prune requests: a map from key to the set of values asked for.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::Offset;

use crate::error::Error;

/// The `filters` parameter of a request, decoded. `api` parses Docker's two JSON spellings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// Adds one value for one key.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// Refuses keys outside `known`, in Docker's words.
    pub fn check_keys(&self, known: &[&str]) -> Result<(), Error> {
        match self.0.keys().find(|k| !known.contains(&k.as_str())) {
            Some(key) => Err(Error::invalid(format!("invalid filter '{key}'"))),
            None => Ok(()),
        }
    }

    /// The values of one key; empty when it was not asked for.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether `key` was asked for at all.
    pub fn contains(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|values| !values.is_empty())
    }

    /// True when `key` was not asked for, or one of its values satisfies `test`.
    pub fn any(&self, key: &str, test: impl FnMut(&str) -> bool) -> bool {
        !self.contains(key) || self.values(key).any(test)
    }

    /// Whether all asked-for `label` values (`key` or `key=value`) hold for `labels`, and none
    /// of the `label!` ones.
    pub fn match_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |wanted: &str| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").all(holds) && !self.values("label!").any(holds)
    }

    /// The one moment that an `until` filter names; a time without an offset is at `local`, the
    /// host's.
    ///
    /// # Errors
    /// Docker's words for what is no time, and for more than one.
    pub fn until(&self, now: Timestamp, local: Offset) -> Result<Option<Timestamp>, Error> {
        let mut values = self.values("until");
        let Some(text) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Error::invalid("more than one until filter specified"));
        }
        crate::moment::parse(text, now, local).map(Some)
    }

    /// A boolean filter such as `dangling`: `None` when not asked for, an error when the values
    /// say neither or both (moby `GetBoolOrDefault`).
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        if !self.contains(key) {
            return Ok(None);
        }
        let has = |words: [&str; 2]| self.values(key).any(|value| words.contains(&value));
        let (is_true, is_false) = (has(["1", "true"]), has(["0", "false"]));
        if is_true == is_false {
            let values: Vec<&str> = self.values(key).collect();
            return Err(Error::invalid(format!(
                "invalid filter '{key}=[{}]'",
                values.join(" ")
            )));
        }
        Ok(Some(is_true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_in_dockers_words() {
        let mut f = Filters::default();
        f.insert("nosuch", "x");
        assert_eq!(
            f.check_keys(&["name"]).unwrap_err().message(),
            "invalid filter 'nosuch'"
        );
    }

    #[test]
    fn all_labels_must_hold_and_no_negated_one() {
        let labels = BTreeMap::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), String::new()),
        ]);
        let mut f = Filters::default();
        assert!(f.match_labels(&labels));
        f.insert("label", "a=1");
        f.insert("label", "b");
        assert!(f.match_labels(&labels));
        f.insert("label!", "a");
        assert!(!f.match_labels(&labels));
    }

    #[test]
    fn flags_are_one_boolean_or_an_error() {
        let mut f = Filters::default();
        assert_eq!(f.flag("dangling").unwrap(), None);
        f.insert("dangling", "true");
        f.insert("dangling", "1");
        assert_eq!(f.flag("dangling").unwrap(), Some(true));
        f.insert("dangling", "0");
        assert!(f.flag("dangling").is_err());
        f.insert("odd", "maybe");
        let e = f.flag("odd").unwrap_err();
        assert_eq!(e.message(), "invalid filter 'odd=[maybe]'");
    }
}
