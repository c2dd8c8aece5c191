//! Every system call, spawned process, mount, namespace, cgroup and raw descriptor.
//!
//! With `socket` the only room that may use `unsafe`. One file per subject of the kernel; each
//! gives the rooms above a small, typed and safe function, and none of them decides anything.

pub mod abi;
pub mod apart;
pub mod attach_socket;
pub mod beneath;
pub mod cgroup;
pub mod conntrack;
pub mod counters;
pub mod datagram;
pub mod dir_watch;
pub mod durable;
pub mod features;
pub mod fifo;
pub mod fstab;
pub mod host;
pub mod id_map;
pub mod links;
pub mod locate;
pub mod lock_file;
pub mod mount;
pub mod namespace;
mod netlink;
pub mod netns;
pub mod overlay;
pub mod own;
pub mod pidfd;
pub mod port;
pub mod proc;
pub mod rootfs;
pub mod selinux;
pub mod seqpacket;
pub mod space;
pub mod spawn;
pub mod spill_file;
pub mod tables;
pub mod task;
pub mod tree;
