//! Images. What they are and what is done with them is `catalog`'s, the use cases included.

use std::sync::Arc;

use catalog::{Catalog, ImageUser};

use crate::Engine;
use crate::container::Registry;

impl Engine {
    /// The images, and what can be done with them.
    pub fn images(&self) -> &Catalog {
        &self.shared.images
    }
}

/// The containers, as far as images go.
pub(crate) fn users(registry: &Arc<Registry>) -> Arc<dyn Fn() -> Vec<ImageUser> + Send + Sync> {
    let registry = registry.clone();
    Arc::new(move || {
        let views = registry.all().into_iter().map(|handle| handle.view());
        let users = views.map(|view| ImageUser {
            container: view.id.clone(),
            image: view.image_id.clone(),
            is_up: view.state.is_up(),
        });
        users.collect()
    })
}
