//! Which networks there are, and what containers that run have of them.
//!
//! | file | |
//! |---|---|
//! | `catalog` | the use cases: create, list, inspect, remove, prune |
//!
//! What a network does to the host is the room `network`'s. This one writes the ledger: a network's record
//! when it is made, and an [`model::Attachment`], the addresses and ports that a run holds, before the first
//! effect on the host and until all of it is taken away. It holds no list of leases besides: which
//! addresses are taken is what the attachments of containers say.

mod catalog;

pub use catalog::{NetworkCatalog, NewNetwork, NewSubnet};
