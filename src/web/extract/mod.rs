//! Extractors that accept what Docker accepts and refuse in Docker's words.
//!
//! axum's own answer `text/plain` and refuse `?all=1` as a boolean; these do not. A handler
//! takes [`Query`], [`Json`], [`JsonBody`] or [`Name`], and the fields of its query struct are
//! [`DockerBool`] or `Option<String>`, the latter parsed by [`filters`], [`timestamp`] and
//! [`integer`] so that each mistake gets the message Docker gives for it.

mod body;
mod descriptors;
mod filters;
mod fold_keys;
mod go_json;
mod query;
mod registry_auth;
mod value;

pub use body::{Json, JsonBody, Upload};
pub use descriptors::Descriptors;
pub use filters::filters;
pub use query::{Name, Names, PathBytes, Query, repeated};
pub use registry_auth::RegistryAuth;
pub use value::{DockerBool, ResizeQuery, integer, timestamp};
