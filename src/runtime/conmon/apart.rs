//! What a conmon has that the daemon has not: mounts of its own, and another SELinux label.

use model::SelinuxLabel;
use sys::apart::{Apart, OwnMounts};

use crate::Runtimes;

impl Runtimes {
    /// What a conmon is given that the daemon's threads have not.
    pub(crate) fn apart(&self, mounts: Option<OwnMounts>) -> Apart {
        Apart {
            mounts,
            label: self.inner.monitor_label.clone(),
        }
    }
}

/// The label of a conmon, started by a daemon that has the label `own`: at the lowest level. With the
/// daemon's categories a container could not write to the pipes and sockets that conmon makes.
/// `None` where the daemon's own will do.
pub(crate) fn monitor_label(own: &str) -> Option<String> {
    const LOWEST: &str = "s0";
    let mut label = SelinuxLabel::parse(own)?;
    let level = label.level.as_mut()?;
    if level.is_empty() || level == LOWEST {
        return None;
    }
    LOWEST.clone_into(level);
    Some(label.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conmon_is_at_the_lowest_level() {
        let of = |own: &str| monitor_label(own);
        let lowered = Some("system_u:system_r:container_runtime_t:s0".to_owned());
        assert_eq!(
            of("system_u:system_r:container_runtime_t:s0-s0:c0.c1023"),
            lowered
        );
        assert_eq!(
            of("system_u:system_r:container_runtime_t:s0:c1,c2"),
            lowered
        );
        assert_eq!(of("system_u:system_r:container_runtime_t:s0"), None);
        assert_eq!(of("system_u:system_r:container_runtime_t"), None);
        assert_eq!(of("unconfined"), None);
    }
}
