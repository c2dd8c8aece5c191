//! Capabilities: their names, Docker's default set, and the set a container gets.
//!
//! A container never gets more than the daemon's own bounding set: the OCI runtimes fail when
//! asked for a capability the kernel will not give, and a privileged container on a confined
//! host should still start.

use std::fmt;

use model::{Error, Result};

/// All capabilities by number (capabilities(7), `linux/capability.h`).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What Docker gives a container that asks for nothing (moby `daemon/pkg/oci/caps`).
const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Docker's word for every capability.
const ALL: &str = "ALL";

/// A set of capabilities, as the kernel writes it in `/proc/<pid>/status`: one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSet(u64);

impl CapSet {
    /// From the kernel's bits; those without a name here are dropped.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & Self::named().0)
    }

    /// Every capability that has a name here.
    pub fn named() -> Self {
        Self((1 << NAMES.len()) - 1)
    }

    /// Docker's default set.
    pub fn docker_default() -> Self {
        DEFAULT.iter().fold(Self(0), |set, name| {
            set.with(number(name).expect("the defaults are among the names"))
        })
    }

    /// Whether `name` (`CAP_SYS_ADMIN`) is in the set.
    pub fn contains(self, name: &str) -> bool {
        number(name).is_some_and(|bit| self.has(bit))
    }

    /// The names in the set, in the kernel's order.
    pub fn names(self) -> Vec<&'static str> {
        (0..NAMES.len())
            .filter(|&bit| self.has(bit))
            .map(|bit| NAMES[bit])
            .collect()
    }

    fn has(self, bit: usize) -> bool {
        self.0 & (1 << bit) != 0
    }

    fn with(self, bit: usize) -> Self {
        Self(self.0 | (1 << bit))
    }

    fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What a container asked for, checked against what the daemon may give.
///
/// Privileged is everything there is. Otherwise moby's order holds (`caps.TweakCapabilities`):
/// `add ALL` is everything but the dropped ones; `drop ALL` leaves only the added ones; else the
/// default set loses the dropped and gains the added ones. The default set is cut to what the
/// daemon has without a word; an explicit wish that cannot be met is refused.
///
/// # Errors
///
/// `InvalidParameter` in moby's words for a name that is none, or that the daemon may not give.
pub(super) fn resolve(
    add: &[String],
    drop: &[String],
    privileged: bool,
    bounding: CapSet,
) -> Result<CapSet> {
    let add = Wish::parse(add)
        .and_then(|wish| wish.available(bounding))
        .map_err(|why| Error::invalid(format!("invalid CapAdd: {why}")))?;
    // moby refuses to drop what it does not have; there is no harm in granting that.
    let drop =
        Wish::parse(drop).map_err(|why| Error::invalid(format!("invalid CapDrop: {why}")))?;
    let set = if privileged {
        CapSet::named()
    } else if add.all {
        CapSet::named().without(drop.named)
    } else if drop.all {
        add.named
    } else {
        CapSet::docker_default()
            .without(drop.named)
            .union(add.named)
    };
    Ok(set.intersection(bounding))
}

/// A list of `CapAdd` or `CapDrop`.
struct Wish {
    all: bool,
    named: CapSet,
}

impl Wish {
    /// Any case, with or without `CAP_`.
    fn parse(list: &[String]) -> Result<Self, String> {
        let mut wish = Self {
            all: false,
            named: CapSet(0),
        };
        for text in list {
            let upper = text.to_ascii_uppercase();
            if upper == ALL {
                wish.all = true;
                continue;
            }
            let name = if upper.starts_with("CAP_") {
                upper
            } else {
                format!("CAP_{upper}")
            };
            let bit = number(&name).ok_or_else(|| format!("unknown capability: {name:?}"))?;
            wish.named = wish.named.with(bit);
        }
        Ok(wish)
    }

    fn available(self, bounding: CapSet) -> Result<Self, String> {
        match self.named.without(bounding).names().first() {
            None => Ok(self),
            Some(name) => Err(format!(
                "capability not supported by your kernel or not available in the current \
                 environment: {name:?}"
            )),
        }
    }
}

/// The kernel's number of a capability.
fn number(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str], privileged: bool, bounding: CapSet) -> Result<CapSet> {
        let own = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        resolve(&own(add), &own(drop), privileged, bounding)
    }

    fn bounding() -> CapSet {
        CapSet::from_bits(0x1ff_feff_ffff)
    }

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(
            CapSet::docker_default().0,
            0xa804_25fb,
            "as Docker shows CapBnd"
        );
        assert_eq!(
            CapSet::from_bits(1 << 40).names(),
            ["CAP_CHECKPOINT_RESTORE"]
        );
        assert_eq!(CapSet::from_bits(u64::MAX), CapSet::named());
    }

    #[test]
    fn mobys_order_of_add_and_drop() {
        let default = CapSet::docker_default();
        let all = bounding();
        let one = |name: &str| CapSet(1 << number(name).unwrap());
        let of = |add: &[&str], drop: &[&str]| set(add, drop, false, all).unwrap();
        assert_eq!(of(&[], &[]), default);
        assert_eq!(of(&["net_admin"], &[]), default.union(one("CAP_NET_ADMIN")));
        assert_eq!(of(&[], &["CAP_CHOWN"]), default.without(one("CAP_CHOWN")));
        assert_eq!(of(&[], &["ALL"]), CapSet(0));
        assert_eq!(of(&["CHOWN"], &["all"]), one("CAP_CHOWN"));
        assert_eq!(
            of(&["ALL"], &["SYS_ADMIN"]),
            all.without(one("CAP_SYS_ADMIN"))
        );
        assert_eq!(of(&["ALL"], &["ALL"]), all);
        assert_eq!(of(&["CHOWN"], &["CHOWN"]), default);
    }

    #[test]
    fn nothing_outside_the_daemons_bounding_set() {
        let small = CapSet::from_bits(0b1111);
        assert_eq!(set(&[], &[], true, small).unwrap(), small);
        assert_eq!(set(&["ALL"], &[], false, small).unwrap(), small);
        assert_eq!(
            set(&[], &[], false, small).unwrap().names(),
            ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]
        );
        let refused = set(&["SYS_RESOURCE"], &[], false, bounding()).unwrap_err();
        assert_eq!(
            refused.message(),
            "invalid CapAdd: capability not supported by your kernel or not available in the \
             current environment: \"CAP_SYS_RESOURCE\""
        );
        assert!(set(&[], &["SYS_RESOURCE"], false, bounding()).is_ok());
    }

    #[test]
    fn unknown_names_are_refused_in_mobys_words() {
        assert_eq!(
            set(&["foo"], &[], false, bounding()).unwrap_err().message(),
            "invalid CapAdd: unknown capability: \"CAP_FOO\""
        );
        assert_eq!(
            set(&[], &["cap_bar"], true, bounding())
                .unwrap_err()
                .message(),
            "invalid CapDrop: unknown capability: \"CAP_BAR\""
        );
    }
}
