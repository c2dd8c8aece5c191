//! `/containers`: one module per group of operations.

mod archive;
mod archive_attacks;
mod archive_mounts;
mod archive_trees;
mod attach;
mod checkpoints;
mod copies;
mod counts;
mod create;
mod health;
mod lifecycle;
mod list;
mod logs;
mod namespaces;
mod no_cgroups;
mod notify;
mod processes;
mod restart;
mod rotation;
mod rude;
mod signals;
mod update;
mod user_namespaces;
mod wait;
mod websocket;
