//! Filter values that are patterns (moby `filters.Args.Match`).

use model::Filters;
use regex::Regex;

/// The values of one filter key, each meant literally or as a regular expression found anywhere.
#[derive(Debug)]
pub struct Patterns {
    /// Nothing was asked for: everything matches.
    any: bool,
    exact: Vec<String>,
    /// The values that are regular expressions; as in Docker one that is none, such as `(`, is
    /// no error but matches only what is written like it.
    regexes: Vec<Regex>,
}

impl Patterns {
    /// The patterns asked for with `key`.
    pub fn new(filters: &Filters, key: &str) -> Self {
        Self {
            any: !filters.contains(key),
            exact: filters.values(key).map(str::to_owned).collect(),
            regexes: filters
                .values(key)
                .filter_map(|value| Regex::new(value).ok())
                .collect(),
        }
    }

    /// Whether one of the patterns matches `text`, or none was asked for.
    pub fn matches(&self, text: &str) -> bool {
        self.any
            || self.exact.iter().any(|value| value == text)
            || self.regexes.iter().any(|regex| regex.is_match(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(values: &[&str]) -> Patterns {
        let mut filters = Filters::default();
        for value in values {
            filters.insert("name", *value);
        }
        Patterns::new(&filters, "name")
    }

    #[test]
    fn a_value_is_the_text_itself_or_an_expression_found_in_it() {
        for (values, text, wanted) in [
            (&[][..], "anything", true),
            (&["data"], "my-data-1", true),
            (&["^data$"], "data", true),
            (&["^data$"], "data2", false),
            (&["a.c"], "abc", true),
            (&["x", "b+"], "abbc", true),
            (&["["], "[", true),
            (&["("], "x", false),
            (&["(", "x"], "x", true),
        ] {
            assert_eq!(patterns(values).matches(text), wanted, "{values:?} {text}");
        }
    }
}
