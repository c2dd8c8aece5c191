//! JSON as Docker and the OCI write it: an object is an object, and a list has an end.
//!
//! A struct that serde derives takes a list for an object, which no other reader of the same blob does; and
//! a document of megabytes can be a list of millions of nothings, each of which is a struct in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use model::limits;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor, value};
use serde::{Deserialize, Deserializer};

/// Reads a document that is an object; `what` it is goes before the error.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], what: &str) -> model::Result<T> {
    let object: Object<T> = serde_json::from_slice(bytes).map_err(|e| told(&e, what))?;
    Ok(object.0)
}

/// Reads a document that is a list of objects.
pub(crate) fn read_list<T: DeserializeOwned>(bytes: &[u8], what: &str) -> model::Result<Vec<T>> {
    let list: List<Object<T>> = serde_json::from_slice(bytes).map_err(|e| told(&e, what))?;
    Ok(list.0.into_iter().map(|object| object.0).collect())
}

/// In the words of serde_json, which repeats what it did not expect, however long that is.
fn told(e: &serde_json::Error, what: &str) -> model::Error {
    const SHOWN_CHARS_MAX: usize = 256;
    let text: String = e.to_string().chars().take(SHOWN_CHARS_MAX).collect();
    let place = match text.contains(" at line ") {
        true => String::new(),
        false => format!("... at line {} column {}", e.line(), e.column()),
    };
    model::Error::invalid(format!("{what}: {text}{place}"))
}

/// A field that is an object.
pub(crate) fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Object::deserialize(deserializer).map(|object| object.0)
}

/// A field that is an object, or absent, or null, which is as good.
pub(crate) fn object_or_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let object: Option<Object<T>> = Option::deserialize(deserializer)?;
    Ok(object.map(|object| object.0))
}

/// A field that is a list; Go writes null for an empty one.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    list_or_none(deserializer).map(Option::unwrap_or_default)
}

/// A field that is a list, where it makes a difference whether it is there.
pub(crate) fn list_or_none<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list: Option<List<T>> = Option::deserialize(deserializer)?;
    Ok(list.map(|list| list.0))
}

/// A field that is a list of objects.
pub(crate) fn objects<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    objects_or_none(deserializer).map(Option::unwrap_or_default)
}

/// A field that is a list of objects, where it makes a difference whether it is there.
pub(crate) fn objects_or_none<'de, D, T>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list: Option<Vec<Object<T>>> = list_or_none(deserializer)?;
    Ok(list.map(|list| list.into_iter().map(|object| object.0).collect()))
}

/// A field that is an object with names of the writer's own.
pub(crate) fn map<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let map: Option<Map<T>> = Option::deserialize(deserializer)?;
    Ok(map.map(|map| map.0).unwrap_or_default())
}

struct Object<T>(T);

/// At most [`limits::SPEC_LIST_MAX`] of something.
pub(crate) struct List<T>(pub(crate) Vec<T>);

struct Map<T>(BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reading::<Object<T>>(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Reading::<List<T>>(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Map<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reading::<Map<T>>(PhantomData))
    }
}

/// Makes one of the three.
struct Reading<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Reading<Object<T>> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(value::MapAccessDeserializer::new(map)).map(Object)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Reading<List<T>> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element()? {
            check_room(list.len())?;
            list.push(item);
        }
        Ok(List(list))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Reading<Map<T>> {
    type Value = Map<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            check_room(found.len())?;
            found.insert(name, value);
        }
        Ok(Map(found))
    }
}

fn check_room<E: serde::de::Error>(taken: usize) -> Result<(), E> {
    match taken < limits::SPEC_LIST_MAX {
        true => Ok(()),
        false => Err(E::custom(format_args!(
            "more than {} entries in one list",
            limits::SPEC_LIST_MAX
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Thing {
        #[serde(deserialize_with = "list")]
        words: Vec<String>,
        #[serde(deserialize_with = "objects")]
        things: Vec<Thing>,
        #[serde(deserialize_with = "map")]
        map: BTreeMap<String, u8>,
    }

    #[test]
    fn a_list_is_no_object_and_lists_have_an_end() {
        let read = |text: &str| read::<Thing>(text.as_bytes(), "bad");
        let good = read(r#"{"words":["a"],"things":[{}],"map":{"b":1}}"#).unwrap();
        assert_eq!((good.words.len(), good.things.len()), (1, 1));
        let nothing = read(r#"{"words":null,"things":null,"map":null}"#).unwrap();
        assert_eq!(nothing, Thing::default());
        for bad in [
            "[]",
            r#"[["a"],[],{}]"#,
            r#"{"things":[[]]}"#,
            r#"{"map":[]}"#,
            "null",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let many = |count: usize| {
            let words = vec!["\"\""; count].join(",");
            let map: Vec<_> = (0..count).map(|n| format!("\"{n}\":1")).collect();
            [
                format!(r#"{{"words":[{words}]}}"#),
                format!(r#"{{"things":[{}]}}"#, vec!["{}"; count].join(",")),
                format!(r#"{{"map":{{{}}}}}"#, map.join(",")),
            ]
        };
        assert!(
            many(limits::SPEC_LIST_MAX)
                .iter()
                .all(|text| read(text).is_ok())
        );
        for text in many(limits::SPEC_LIST_MAX + 1) {
            let told = read(&text).unwrap_err().to_string();
            assert!(told.contains("more than 16384 entries"), "{told}");
        }
        let long = format!("{{\"map\":{:?}}}", "x".repeat(10_000));
        let told = read(&long).unwrap_err().to_string();
        assert!(told.starts_with("bad: ") && told.len() < 400, "{told}");
        assert!(told.ends_with("... at line 1 column 10009"), "{told}");
    }
}
