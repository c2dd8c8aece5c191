//! Images that are being pulled, loaded, imported, committed, saved, removed and pruned when the daemon
//! dies, or when the disk is full.
//!
//! What must hold afterwards is in `store`: it looks at the directories themselves, and asks the ledger
//! what should be there.

#[cfg(feature = "failpoints")]
mod points;
mod random;
mod store;
mod work;
