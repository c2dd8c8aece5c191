//! JSON read with the keys of objects in any case, as Go's `encoding/json` reads it.
//!
//! Docker's clients may send `readonlyRootfs`; dockerd takes it for `ReadonlyRootfs`, and to ignore it
//! would make a container with less protection than was asked for. serde tells a format the names
//! of a struct's fields, so this wraps the format: a key that is no field as it stands, but is one
//! in another case, is handed on under the field's own name. Maps have no such list, so the keys
//! that are a user's data (labels, options, ports, …) stay as they are.
//!
//! `#[serde(flatten)]` and untagged enums read into a buffer of serde's own, which is not wrapped:
//! a type of a request body must not use them for anything that has fields.

use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::Value;

/// Reads one document.
pub(super) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Folding::new(&mut json))?;
    json.end()?;
    Ok(value)
}

/// A part of serde's machinery (deserializer, visitor, seed, sequence), wrapped.
struct Folding<I> {
    inner: I,
    /// The fields of the struct a visitor is for; empty for anything else.
    fields: &'static [&'static str],
}

impl<I> Folding<I> {
    fn new(inner: I) -> Self {
        Self { inner, fields: &[] }
    }
}

/// Methods of a deserializer that only pass the wrapped visitor on.
macro_rules! pass_on {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($name,)* Folding::new(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Folding<D> {
    type Error = D::Error;

    pass_on! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let inner = visitor;
        self.inner
            .deserialize_struct(name, fields, Folding { inner, fields })
    }
}

/// Methods of a visitor that only pass a value without parts on.
macro_rules! pass_value {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Folding<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    pass_value! {
        visit_bool(bool);
        visit_i64(i64);
        visit_u64(u64);
        visit_f64(f64);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Folding::new(inner))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Folding::new(inner))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        // serde would fill a struct from an array, field by field; Go refuses.
        if !self.fields.is_empty() {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        self.inner.visit_seq(Folding::new(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Entries {
            inner,
            fields: self.fields,
            given: Vec::new(),
            folded: Vec::new(),
            next: None,
        })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(variant)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Folding<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Folding::new(inner))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Folding<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(Folding::new(seed))
    }
}

/// The entries of an object.
struct Entries<A> {
    inner: A,
    fields: &'static [&'static str],
    /// The fields handed on.
    given: Vec<&'static str>,
    /// What came under a field's name in another case. Handed on last, and only where the field
    /// did not also come under its own name: that one wins.
    folded: Vec<(&'static str, Value)>,
    /// The value of the folded key that was handed on.
    next: Option<Value>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        if self.fields.is_empty() {
            return self.inner.next_key_seed(seed);
        }
        while let Some(key) = self.inner.next_key::<String>()? {
            let is_folded = |field: &&&str| field.eq_ignore_ascii_case(&key);
            let exact = self.fields.iter().find(|field| **field == key);
            let Some(field) = exact.or_else(|| self.fields.iter().find(is_folded)) else {
                return seed.deserialize(key.into_deserializer()).map(Some);
            };
            if exact.is_some() {
                self.given.push(field);
                return seed.deserialize(field.into_deserializer()).map(Some);
            }
            self.folded.push((field, self.inner.next_value()?));
        }
        // As in Go the last of several wins.
        while let Some((field, value)) = self.folded.pop() {
            if !self.given.contains(&field) {
                self.given.push(field);
                self.next = Some(value);
                return seed.deserialize(field.into_deserializer()).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        match self.next.take() {
            Some(value) => seed
                .deserialize(Folding::new(value))
                .map_err(A::Error::custom),
            None => self.inner.next_value_seed(Folding::new(seed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, PartialEq, Debug, Default)]
    #[serde(default, rename_all = "PascalCase")]
    struct Outer {
        number: i64,
        text: Option<String>,
        inner: Option<Inner>,
        list: Vec<Inner>,
        map: BTreeMap<String, Inner>,
    }

    #[derive(Deserialize, PartialEq, Debug, Default)]
    #[serde(default)]
    struct Inner {
        #[serde(rename = "NanoCpus")]
        nano_cpus: i64,
    }

    fn read(text: &str) -> Outer {
        from_slice(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn inner(nano_cpus: i64) -> Inner {
        Inner { nano_cpus }
    }

    #[test]
    fn keys_of_structs_are_found_in_any_case_at_any_depth() {
        let read = read(
            r#"{"NUMBER":1,"text":"t","inner":{"NanoCPUs":2},"list":[{"nanocpus":3}],
                "map":{"Key":{"nanoCpus":4},"key":{"NanoCpus":5}},"nosuch":{"Number":9}}"#,
        );
        let map = [("Key".to_owned(), inner(4)), ("key".to_owned(), inner(5))];
        let wanted = Outer {
            number: 1,
            text: Some("t".to_owned()),
            inner: Some(inner(2)),
            list: vec![inner(3)],
            map: BTreeMap::from(map),
        };
        assert_eq!(read, wanted);
    }

    #[test]
    fn the_exact_key_wins_wherever_it_stands() {
        assert_eq!(read(r#"{"Number":1,"number":2}"#).number, 1);
        assert_eq!(read(r#"{"number":2,"Number":1}"#).number, 1);
        assert_eq!(read(r#"{"number":2,"NUMBER":3}"#).number, 3);
        assert_eq!(read(r#"{"text":"a","Text":null}"#).text, None);
    }

    #[test]
    fn wrong_types_are_refused_as_before() {
        for bad in [
            r#"{"number":"x"}"#,
            r#"{"Inner":[1]}"#,
            r#"{"list":{}}"#,
            r#"{"inner":{"NANOCPUS":"x"}}"#,
            "{} {}",
            "{",
        ] {
            assert!(from_slice::<Outer>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
