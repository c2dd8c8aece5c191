//! Block devices by their numbers, which is how cgroups know them.

use std::os::unix::fs::MetadataExt as _;

use model::resources::{DeviceRate, DeviceWeight, device_numbers};
use model::{BlockIo, Error, Result};

use crate::devices::plain;

/// The devices of block I/O limits, looked up on the host: what they say, and of which numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockDevices {
    pub(super) weights: Vec<(u32, u32, u16)>,
    pub(super) read_bps: Vec<(u32, u32, u64)>,
    pub(super) write_bps: Vec<(u32, u32, u64)>,
    pub(super) read_iops: Vec<(u32, u32, u64)>,
    pub(super) write_iops: Vec<(u32, u32, u64)>,
}

impl BlockDevices {
    /// Of a container that limits no device.
    pub const NONE: Self = Self {
        weights: Vec::new(),
        read_bps: Vec::new(),
        write_bps: Vec::new(),
        read_iops: Vec::new(),
        write_iops: Vec::new(),
    };
}

/// Looks the devices up, through links. Blocking.
///
/// # Errors
///
/// `System`, as in Docker where this happens at start, when one is not there.
pub fn resolve(limits: &BlockIo) -> Result<BlockDevices> {
    let rates = |list: &[DeviceRate]| {
        let one = |DeviceRate { path, rate }: &DeviceRate| {
            numbers(path).map(|(major, minor)| (major, minor, *rate))
        };
        list.iter().map(one).collect::<Result<Vec<_>>>()
    };
    let weight = |DeviceWeight { path, weight }: &DeviceWeight| {
        numbers(path).map(|(major, minor)| (major, minor, *weight))
    };
    Ok(BlockDevices {
        weights: limits
            .weight_devices
            .iter()
            .map(weight)
            .collect::<Result<_>>()?,
        read_bps: rates(&limits.read_bps)?,
        write_bps: rates(&limits.write_bps)?,
        read_iops: rates(&limits.read_iops)?,
        write_iops: rates(&limits.write_iops)?,
    })
}

fn numbers(path: &str) -> Result<(u32, u32)> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(device_numbers(found.rdev())),
        Err(e) => Err(Error::system(format!("stat {path}: {}", plain(e)))),
    }
}
