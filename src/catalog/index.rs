//! The images and names this daemon knows, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use model::{Digest, Error, ImageRecord, Reference, Result};

/// Records and names. Who changes them writes the ledger first.
#[derive(Debug)]
pub(crate) struct Index {
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    records: BTreeMap<Digest, Arc<ImageRecord>>,
    names: BTreeMap<Reference, Digest>,
}

impl Index {
    /// These records, under these names.
    pub(crate) fn new(records: Vec<ImageRecord>, names: Vec<(Reference, Digest)>) -> Self {
        let records = records
            .into_iter()
            .map(|r| (r.id.clone(), Arc::new(r)))
            .collect();
        let known = Known {
            records,
            names: names.into_iter().collect(),
        };
        Self {
            known: RwLock::new(known),
        }
    }

    /// One record.
    pub(crate) fn record(&self, id: &Digest) -> Option<Arc<ImageRecord>> {
        self.read(|known| known.records.get(id).cloned())
    }

    /// All records.
    pub(crate) fn records(&self) -> Vec<Arc<ImageRecord>> {
        self.read(|known| known.records.values().cloned().collect())
    }

    /// All records with their names.
    pub(crate) fn all(&self) -> Vec<(Arc<ImageRecord>, Vec<Reference>)> {
        self.read(|known| {
            known
                .records
                .values()
                .map(|r| (r.clone(), known.names_of(&r.id)))
                .collect()
        })
    }

    /// The image `text` means: `sha256:<hex>`, a name, or the only id that begins so.
    ///
    /// # Errors
    /// `No such image: x`; what is neither a name nor an id.
    pub(crate) fn find(&self, text: &str) -> Result<(Arc<ImageRecord>, Vec<Reference>)> {
        self.read(|known| {
            let record = known.find(text)?;
            Ok((record.clone(), known.names_of(&record.id)))
        })
    }

    /// What a name points at.
    pub(crate) fn named(&self, reference: &Reference) -> Option<Digest> {
        self.read(|known| known.names.get(&reference.lookup_key()).cloned())
    }

    /// The names in the repository of `reference`.
    pub(crate) fn of_repository(&self, reference: &Reference) -> Vec<Reference> {
        let is_of =
            |n: &&Reference| n.domain() == reference.domain() && n.path() == reference.path();
        self.read(|known| known.names.keys().filter(is_of).cloned().collect())
    }

    /// Adds an image and points names at it.
    pub(crate) fn insert(&self, record: ImageRecord, names: &[Reference]) {
        self.write(|known| {
            for name in names {
                known.names.insert(name.clone(), record.id.clone());
            }
            known.records.insert(record.id.clone(), Arc::new(record));
        });
    }

    /// Points a name at an image.
    pub(crate) fn tag(&self, name: Reference, id: &Digest) {
        self.write(|known| known.names.insert(name, id.clone()));
    }

    /// Takes a name away.
    pub(crate) fn untag(&self, name: &Reference) {
        self.write(|known| known.names.remove(name));
    }

    /// Takes an image and its names away.
    pub(crate) fn remove(&self, id: &Digest) {
        self.write(|known| {
            known.names.retain(|_, target| target != id);
            known.records.remove(id);
        });
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    fn names_of(&self, id: &Digest) -> Vec<Reference> {
        self.names
            .iter()
            .filter(|(_, target)| *target == id)
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn find(&self, text: &str) -> Result<&Arc<ImageRecord>> {
        if let Ok(id) = text.parse::<Digest>() {
            return self.records.get(&id).ok_or_else(|| missing(text));
        }
        let name = text.parse::<Reference>();
        if let Ok(name) = &name
            && let Some(record) = self.names.get(&name.lookup_key()).and_then(|id| self.records.get(id))
        {
            return Ok(record);
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(name.err().unwrap_or_else(|| missing(text)));
        }
        let mut matches = self
            .records
            .values()
            .filter(|r| r.id.hex().starts_with(hex));
        match (matches.next(), matches.next()) {
            (Some(only), None) => Ok(only),
            // As Docker: what could be several is none.
            _ => Err(missing(text)),
        }
    }
}

/// Docker's sentence: the name as it would be pulled, with its default tag.
fn missing(text: &str) -> Error {
    let shown = match text.parse::<Reference>() {
        Ok(reference) => reference.familiar(),
        Err(_) => text.chars().take(256).collect(),
    };
    Error::not_found(format!("No such image: {shown}"))
}

#[cfg(test)]
mod tests {
    use model::{ImageConfig, Kind};

    use super::*;

    fn record(first: u8) -> ImageRecord {
        ImageRecord {
            id: Digest::from_sha256([first; 32]),
            layers: Vec::new(),
            size_bytes: 0,
            config: ImageConfig::default(),
            manifest: None,
            parent: None,
            tagged_at: None,
        }
    }

    #[test]
    fn a_prefix_of_several_ids_names_none() {
        let mut known = Known::default();
        for last in [1, 2] {
            let mut bytes = [7; 32];
            bytes[31] = last;
            let record = ImageRecord {
                id: Digest::from_sha256(bytes),
                ..record(0)
            };
            known.records.insert(record.id.clone(), Arc::new(record));
        }
        let e = known.find("0707").unwrap_err();
        assert_eq!(e.kind(), Kind::NotFound);
        assert_eq!(e.message(), "No such image: 0707:latest");
        let whole = format!("{}01", "07".repeat(31));
        assert_eq!(known.find(&whole).unwrap().id.hex(), whole);
    }

    #[test]
    fn a_tag_beside_a_digest_says_nothing() {
        let (record, digest) = (record(1), Digest::from_sha256([9; 32]));
        let name: Reference = format!("a@{digest}").parse().unwrap();
        let index = Index::new(vec![record.clone()], vec![(name.clone(), record.id.clone())]);
        let tagged = format!("a:1@{digest}");
        assert_eq!(index.find(&tagged).unwrap().0.id, record.id);
        assert_eq!(index.named(&tagged.parse().unwrap()), Some(record.id));
        assert!(index.find("a:1").is_err());
    }
}
