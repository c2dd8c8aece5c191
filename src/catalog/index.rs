//! The images and names this daemon knows, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use model::{Digest, Error, ImageRecord, Reference, Result};

/// Records and names. Who changes them writes the ledger first.
#[derive(Debug)]
pub(crate) struct Index {
    known: RwLock<Known>,
}

/// What the index knows at one moment.
#[derive(Debug, Default)]
pub(crate) struct Known {
    records: BTreeMap<Digest, Arc<ImageRecord>>,
    names: BTreeMap<Reference, Digest>,
    /// The other way round.
    names_of: HashMap<Digest, BTreeSet<Reference>>,
    /// How many images were made from one, and have a layer.
    children: HashMap<Digest, usize>,
    chain_users: HashMap<Digest, usize>,
}

impl Index {
    /// These records, under these names.
    pub(crate) fn new(records: Vec<ImageRecord>, names: Vec<(Reference, Digest)>) -> Self {
        let mut known = Known::default();
        records.into_iter().for_each(|record| known.insert(record));
        for (name, id) in names {
            known.tag(name, &id);
        }
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

    /// How many images there are.
    pub(crate) fn len(&self) -> usize {
        self.read(|known| known.records.len())
    }

    /// Whether another image was made from this one.
    pub(crate) fn has_children(&self, id: &Digest) -> bool {
        self.read(|known| known.children.contains_key(id))
    }

    /// Adds an image and points names at it.
    pub(crate) fn insert(&self, record: ImageRecord, names: &[Reference]) {
        self.write(|known| {
            let id = record.id.clone();
            known.insert(record);
            names.iter().for_each(|name| known.tag(name.clone(), &id));
        });
    }

    /// Points a name at an image.
    pub(crate) fn tag(&self, name: Reference, id: &Digest) {
        self.write(|known| known.tag(name, id));
    }

    /// Takes names and images away, those with all their names.
    pub(crate) fn remove(&self, names: &[Reference], ids: &[Digest]) {
        self.write(|known| {
            names.iter().for_each(|name| known.untag(name));
            ids.iter().for_each(|id| known.remove(id));
        });
    }

    /// Looks at all of it, at one moment.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    /// One record.
    pub(crate) fn record(&self, id: &Digest) -> Option<&Arc<ImageRecord>> {
        self.records.get(id)
    }

    /// The names of an image, sorted.
    pub(crate) fn names_of(&self, id: &Digest) -> Vec<Reference> {
        let names = self.names_of.get(id).into_iter().flatten();
        names.cloned().collect()
    }

    /// How many images were made from one.
    pub(crate) fn children(&self, id: &Digest) -> usize {
        self.children.get(id).copied().unwrap_or_default()
    }

    /// How many images have a layer.
    pub(crate) fn chain_users(&self, chain_id: &Digest) -> usize {
        self.chain_users.get(chain_id).copied().unwrap_or_default()
    }

    fn insert(&mut self, record: ImageRecord) {
        self.forget(&record.id);
        for layer in &record.layers {
            *self.chain_users.entry(layer.chain_id.clone()).or_default() += 1;
        }
        if let Some(parent) = &record.parent {
            *self.children.entry(parent.clone()).or_default() += 1;
        }
        self.records.insert(record.id.clone(), Arc::new(record));
    }

    /// Takes a record away, not its names.
    fn forget(&mut self, id: &Digest) {
        let Some(record) = self.records.remove(id) else {
            return;
        };
        for layer in &record.layers {
            count_down(&mut self.chain_users, &layer.chain_id);
        }
        if let Some(parent) = &record.parent {
            count_down(&mut self.children, parent);
        }
    }

    fn tag(&mut self, name: Reference, id: &Digest) {
        self.untag(&name);
        let names = self.names_of.entry(id.clone()).or_default();
        names.insert(name.clone());
        self.names.insert(name, id.clone());
    }

    fn untag(&mut self, name: &Reference) {
        let Some(id) = self.names.remove(name) else {
            return;
        };
        if let Some(names) = self.names_of.get_mut(&id) {
            names.remove(name);
            if names.is_empty() {
                self.names_of.remove(&id);
            }
        }
    }

    fn remove(&mut self, id: &Digest) {
        for name in self.names_of.remove(id).into_iter().flatten() {
            self.names.remove(&name);
        }
        self.forget(id);
    }

    fn find(&self, text: &str) -> Result<&Arc<ImageRecord>> {
        if let Ok(id) = text.parse::<Digest>() {
            return self.records.get(&id).ok_or_else(|| missing(text));
        }
        let name = text.parse::<Reference>();
        if let Ok(name) = &name
            && let Some(record) = self
                .names
                .get(&name.lookup_key())
                .and_then(|id| self.records.get(id))
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

/// One less, down to none at all.
fn count_down(counts: &mut HashMap<Digest, usize>, id: &Digest) {
    if let Some(count) = counts.get_mut(id) {
        *count -= 1;
        if *count == 0 {
            counts.remove(id);
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
    use model::{ImageConfig, Kind, Layer};

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
            known.insert(record);
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
        let index = Index::new(
            vec![record.clone()],
            vec![(name.clone(), record.id.clone())],
        );
        let tagged = format!("a:1@{digest}");
        assert_eq!(index.find(&tagged).unwrap().0.id, record.id);
        assert_eq!(index.named(&tagged.parse().unwrap()), Some(record.id));
        assert!(index.find("a:1").is_err());
    }

    #[test]
    fn what_is_counted_is_what_a_search_finds() {
        let digest = |n| Digest::from_sha256([n; 32]);
        let layer = |n| Layer {
            diff_id: digest(n),
            chain_id: digest(n),
            size_bytes: 0,
            blob: None,
        };
        let name = |text: &str| text.parse::<Reference>().unwrap();
        let index = Index::new(Vec::new(), Vec::new());
        let child = ImageRecord {
            layers: vec![layer(11), layer(12)],
            parent: Some(digest(1)),
            ..record(2)
        };
        let parent = ImageRecord {
            layers: vec![layer(11)],
            ..record(1)
        };
        let look = || {
            index.read(|known| {
                let names = known.names_of(&digest(2)).len();
                let chains = [11, 12].map(|n| known.chain_users(&digest(n)));
                (names, known.children(&digest(1)), chains)
            })
        };
        index.insert(parent, &[name("a")]);
        index.insert(child.clone(), &[name("b"), name("c")]);
        assert_eq!(look(), (2, 1, [2, 1]));
        // Once more, with a name of another one's.
        index.insert(child, &[name("a")]);
        assert_eq!(look(), (3, 1, [2, 1]));
        index.remove(&[name("b")], &[]);
        assert_eq!(look(), (2, 1, [2, 1]));
        index.remove(&[], &[digest(2)]);
        assert_eq!(look(), (0, 0, [1, 0]));
        assert_eq!(index.named(&name("a")), None);
        assert!(!index.has_children(&digest(1)) && index.len() == 1);
    }
}
