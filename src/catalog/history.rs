//! How images came about, and what they share (moby `daemon/images/image_history.go`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::image::HistoryEntry;
use model::{Digest, Error, ImageRecord, Result};

use crate::Catalog;

/// A step of an image's history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryStep {
    /// The image that it ended with, where it is here.
    pub image: Option<Digest>,
    /// The tags of that, as users type them.
    pub tags: Vec<String>,
    /// What the configuration says.
    pub entry: HistoryEntry,
    /// The bytes of the layer it made.
    pub size_bytes: u64,
}

impl Catalog {
    /// An image's history, newest first.
    ///
    /// # Errors
    /// `No such image: x`; a history that names more layers than there are.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryStep>> {
        let image = self.find(name)?;
        let mut layers = image.record.layers.iter();
        let mut steps = Vec::new();
        for entry in &image.record.config.history {
            let mut size_bytes = 0;
            if !entry.empty_layer {
                let layer = layers
                    .next()
                    .ok_or_else(|| Error::system("too many non-empty layers in History section"))?;
                size_bytes = layer.size_bytes;
            }
            steps.push(HistoryStep {
                image: None,
                tags: Vec::new(),
                entry: entry.clone(),
                size_bytes,
            });
        }
        steps.reverse();
        // Each image on the way is taken for one step, as Docker does.
        let mut next = Some(image.record.id.clone());
        for step in &mut steps {
            let Some(found) = next.take().and_then(|id| self.find(id.as_str()).ok()) else {
                break;
            };
            let tags = found.references.iter().filter(|n| n.digest().is_none());
            step.tags = tags.map(model::Reference::familiar).collect();
            step.image = Some(found.record.id.clone());
            next.clone_from(&found.record.parent);
        }
        Ok(steps)
    }

    /// Of each image, the bytes of the layers that another one has too.
    pub fn shared_bytes(&self) -> HashMap<Digest, u64> {
        let all = self.inner.index.all();
        let mut users: HashMap<Digest, usize> = HashMap::new();
        for (record, _) in &all {
            for (chain_id, _) in chains(record) {
                *users.entry(chain_id).or_default() += 1;
            }
        }
        let shared = |record: &Arc<ImageRecord>| {
            let layers = chains(record).into_iter();
            let layers = layers.filter(|(id, _)| users.get(id).is_some_and(|users| *users > 1));
            layers.map(|(_, bytes)| bytes).sum()
        };
        all.iter()
            .map(|(record, _)| (record.id.clone(), shared(record)))
            .collect()
    }

    /// The bytes of all layers, each once (Docker's `LayersSize`).
    pub fn layers_bytes(&self) -> u64 {
        let all = self.inner.index.all();
        let layers: HashSet<(Digest, u64)> =
            all.iter().flat_map(|(record, _)| chains(record)).collect();
        layers.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// What identifies each layer of an image where it lies, and its bytes.
fn chains(record: &ImageRecord) -> HashSet<(Digest, u64)> {
    let layers = record.layers.iter();
    layers
        .map(|layer| (layer.chain_id.clone(), layer.size_bytes))
        .collect()
}
