//! The `filters` parameter, in both spellings that clients send.

use std::collections::BTreeMap;

use model::{Error, Filters, Result};
use serde::Deserialize;

/// Go's clients send `{"label":{"a=b":true}}`; Python, Rust and Java send `{"label":["a=b"]}`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Map(BTreeMap<String, bool>),
    List(Vec<String>),
    /// Go decodes `null` into either as nothing.
    Null,
}

/// Parses the `filters` parameter. Absent and empty is no filter. Whether the keys make sense is
/// for the use case to say ([`Filters::check_keys`]). As in moby a value is asked for by being a
/// key, whatever boolean stands behind it.
///
/// # Errors
/// 400 when it is neither spelling.
pub fn filters(text: Option<&str>) -> Result<Filters> {
    let mut filters = Filters::default();
    let Some(text) = text.filter(|t| !t.is_empty()) else {
        return Ok(filters);
    };
    let parsed: Option<BTreeMap<String, Values>> =
        serde_json::from_str(text).map_err(|_| Error::invalid("invalid filter"))?;
    for (key, values) in parsed.into_iter().flatten() {
        match values {
            Values::Map(map) => map.into_keys().for_each(|v| filters.insert(&*key, v)),
            Values::List(list) => list.into_iter().for_each(|v| filters.insert(&*key, v)),
            Values::Null => {}
        }
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_mean_the_same() {
        let list = filters(Some(r#"{"label":["a=b","c"],"name":["x"]}"#)).unwrap();
        let map = filters(Some(r#"{"label":{"a=b":true,"c":true},"name":{"x":true}}"#)).unwrap();
        assert_eq!(list, map);
        assert_eq!(list.values("label").collect::<Vec<_>>(), ["a=b", "c"]);
        assert_eq!(filters(None).unwrap(), Filters::default());
        assert_eq!(filters(Some("null")).unwrap(), Filters::default());
        assert_eq!(filters(Some("{}")).unwrap(), Filters::default());
        assert!(!filters(Some(r#"{"name":null}"#)).unwrap().contains("name"));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "{",
            "[]",
            "1",
            "\"x\"",
            r#"{"a":1}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{"b":{}}}"#,
        ] {
            let e = filters(Some(bad)).unwrap_err();
            assert_eq!(e.message(), "invalid filter", "{bad}");
        }
    }
}
