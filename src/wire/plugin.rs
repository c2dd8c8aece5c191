//! Plugins on the wire: there are none.

use serde::Serialize;
use utoipa::ToSchema;

/// A plugin. There is never one.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Plugin {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is in use.
    pub enabled: bool,
}
