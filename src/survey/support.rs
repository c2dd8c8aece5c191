//! What the host cannot hold, in Docker's words, and names that Docker has for what it has.

use spec::{CgroupFacts, CgroupVersion};

/// What is missing of the cgroups and their host (moby `fillPlatformInfo`).
pub(crate) fn warnings(have: &CgroupFacts, ipv4_forwarding: bool) -> Vec<String> {
    let is_v1 = have.version == CgroupVersion::V1;
    let io = &have.block_io;
    // What an operator can do nothing about is not told: the other version lacks it.
    let missing = [
        (!have.memory, "No memory limit support"),
        (!have.swap, "No swap limit support"),
        (
            is_v1 && !have.kernel_memory_tcp,
            "No kernel memory TCP limit support",
        ),
        (
            is_v1 && !have.oom_kill_disable,
            "No oom kill disable support",
        ),
        (!have.cpu_cfs, "No cpu cfs quota support"),
        (!have.cpu_cfs, "No cpu cfs period support"),
        (!have.cpu_shares, "No cpu shares support"),
        (!have.cpuset, "No cpuset support"),
        (!is_v1 && !io.weight, "No io.weight support"),
        (
            !is_v1 && !io.weight_device,
            "No io.weight (per device) support",
        ),
        (
            !io.read_bps,
            by_version(
                is_v1,
                "No blkio throttle.read_bps_device support",
                "No io.max (rbps) support",
            ),
        ),
        (
            !io.write_bps,
            by_version(
                is_v1,
                "No blkio throttle.write_bps_device support",
                "No io.max (wbps) support",
            ),
        ),
        (
            !io.read_iops,
            by_version(
                is_v1,
                "No blkio throttle.read_iops_device support",
                "No io.max (riops) support",
            ),
        ),
        (
            !io.write_iops,
            by_version(
                is_v1,
                "No blkio throttle.write_iops_device support",
                "No io.max (wiops) support",
            ),
        ),
        (!ipv4_forwarding, "IPv4 forwarding is disabled"),
    ];
    let missing = missing.iter().filter(|(is_missing, _)| *is_missing);
    missing
        .map(|(_, what)| format!("WARNING: {what}"))
        .collect()
}

fn by_version<'a>(is_v1: bool, v1: &'a str, v2: &'a str) -> &'a str {
    match is_v1 {
        true => v1,
        false => v2,
    }
}

/// Docker's name of a file system (moby `graphdriver.FsNames`).
pub(crate) fn file_system_name(magic: u64) -> &'static str {
    match magic {
        0x6175_6673 => "aufs",
        0x9123_683e => "btrfs",
        0x28cd_3d45 => "cramfs",
        0x0000_f15f => "ecryptfs",
        0x0000_ef53 => "extfs",
        0xf2f5_2010 => "f2fs",
        0x6573_5546 => "fuse",
        0x0000_72b6 => "jffs2",
        0x3153_464a => "jfs",
        0x0000_6969 => "nfs",
        0x794c_7630 => "overlayfs",
        0x8584_58f6 => "ramfs",
        0x5265_4973 => "reiserfs",
        0x0000_517b => "smb",
        0x7371_7368 => "squashfs",
        0x0102_1994 => "tmpfs",
        0x5846_5342 => "xfs",
        0x2fc1_2fc1 => "zfs",
        _ => "<unknown>",
    }
}

/// The proxies of the daemon's environment, without passwords.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For http.
    pub http: String,
    /// For https.
    pub https: String,
    /// For none of these.
    pub none: String,
}

impl Proxies {
    /// As `variable` says; upper case counts first.
    pub(crate) fn find(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            let told = variable(name).or_else(|| variable(&name.to_lowercase()));
            told.unwrap_or_default()
        };
        Self {
            http: without_credentials(&either("HTTP_PROXY")),
            https: without_credentials(&either("HTTPS_PROXY")),
            none: either("NO_PROXY"),
        }
    }
}

/// moby `config.MaskCredentials`.
fn without_credentials(proxy: &str) -> String {
    let (scheme, rest) = match proxy.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), proxy),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}xxxxx:xxxxx{}", &rest[at..]),
        None => proxy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use spec::{BlockIoFacts, CpuList};

    use super::*;

    fn facts(version: CgroupVersion, there: bool) -> CgroupFacts {
        CgroupFacts {
            version,
            memory: there,
            swap: there,
            memory_reservation: there,
            oom_kill_disable: there,
            memory_swappiness: there,
            kernel_memory: there,
            kernel_memory_tcp: there,
            cpu_shares: there,
            cpu_cfs: there,
            cpu_realtime: there,
            block_io: BlockIoFacts::all(there),
            cpuset: there,
            pids: there,
            cpuset_cpus: CpuList::parse("0").unwrap(),
            cpuset_mems: CpuList::parse("0").unwrap(),
        }
    }

    #[test]
    fn what_is_missing_is_told_by_version() {
        for version in [CgroupVersion::V1, CgroupVersion::V2] {
            assert_eq!(warnings(&facts(version, true), true), [""; 0]);
        }
        let v1 = warnings(&facts(CgroupVersion::V1, false), false);
        let has =
            |told: &[String], what: &str| told.iter().any(|w| w == &format!("WARNING: {what}"));
        assert!(has(&v1, "No oom kill disable support"), "{v1:?}");
        assert!(has(&v1, "No blkio throttle.read_bps_device support"));
        assert!(has(&v1, "IPv4 forwarding is disabled"));
        assert!(!has(&v1, "No io.weight support"));
        let v2 = warnings(&facts(CgroupVersion::V2, false), true);
        assert!(!has(&v2, "No oom kill disable support"), "{v2:?}");
        assert!(has(&v2, "No io.weight support"));
        assert!(has(&v2, "No io.max (wiops) support"));
    }

    #[test]
    fn proxies_are_shown_without_passwords() {
        let env = |name: &str| match name {
            "HTTP_PROXY" => Some("http://me:secret@proxy.test:3128/".to_owned()),
            "http_proxy" => Some("http://other.test".to_owned()),
            "https_proxy" => Some("me:a/b@c@proxy.test".to_owned()),
            "NO_PROXY" => Some("localhost".to_owned()),
            _ => None,
        };
        let proxies = Proxies::find(env);
        assert_eq!(proxies.http, "http://xxxxx:xxxxx@proxy.test:3128/");
        assert_eq!(proxies.none, "localhost");
        assert_eq!(Proxies::find(|_| None), Proxies::default());
        assert_eq!(
            without_credentials("http://proxy.test/@"),
            "http://proxy.test/@"
        );
    }
}
