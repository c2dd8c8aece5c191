//! Annotations: the client's, and what systemd is to know of a scope it makes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use model::{ContainerSpec, limits};

/// What runc and crun hand on to systemd as a property of the scope, in GVariant's text form.
const PROPERTY: &str = "org.systemd.property.";

/// The annotations of a container. Where systemd makes its cgroup, a stop by systemd, as at the
/// host's shutdown, is nearly the container's own: its signal, sent to all its processes, and its
/// grace before SIGKILL. What the client says of a property weighs more.
pub(crate) fn of<'a>(
    spec: &'a ContainerSpec,
    by_systemd: bool,
) -> Cow<'a, BTreeMap<String, String>> {
    if !by_systemd {
        return Cow::Borrowed(&spec.annotations);
    }
    let own = [
        ("KillSignal", spec.stop_signal.number().to_string()),
        ("TimeoutStopUSec", format!("uint64 {}", grace_us(spec))),
    ];
    let own = own.map(|(name, value)| (format!("{PROPERTY}{name}"), value));
    let mut all = BTreeMap::from(own);
    all.extend(spec.annotations.clone());
    Cow::Owned(all)
}

/// How long a stop waits, in microseconds; negative is for ever. systemd takes 0 for ever, too.
fn grace_us(spec: &ContainerSpec) -> u64 {
    match spec.stop_timeout_s.map(u64::try_from) {
        None => limits::STOP_GRACE_DEFAULT.as_secs() * 1_000_000,
        Some(Ok(seconds)) => seconds.saturating_mul(1_000_000).max(1),
        Some(Err(_)) => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn systemd_stops_a_container_as_we_do() {
        let mut spec = fixture::spec();
        let of_scope = |spec: &ContainerSpec| of(spec, true).into_owned();
        let told = of_scope(&spec);
        assert_eq!(told["org.systemd.property.KillSignal"], "15");
        assert_eq!(
            told["org.systemd.property.TimeoutStopUSec"],
            "uint64 10000000"
        );
        for (grace, us) in [
            (0, "uint64 1"),
            (3, "uint64 3000000"),
            (-1, "uint64 18446744073709551615"),
        ] {
            spec.stop_timeout_s = Some(grace);
            assert_eq!(of_scope(&spec)["org.systemd.property.TimeoutStopUSec"], us);
        }
        let key = "org.systemd.property.KillSignal".to_owned();
        spec.annotations.insert(key.clone(), "2".to_owned());
        assert_eq!(of_scope(&spec)[&key], "2");
        assert_eq!(of(&spec, false).len(), 1);
    }
}
