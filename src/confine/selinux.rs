//! SELinux: which labels a container has. Its processes and files share a level that no other container
//! has, so that one that breaks out of its namespaces cannot touch another's files.
//!
//! The types are the policy's (`lxc_contexts`, as libvirt and podman read it); without them there is
//! nothing to confine a container with.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{
    ContainerSpec, Error, IpcMode, PidMode, Result, SelinuxLabel, SelinuxLabels, SelinuxWish,
};

/// Which policy the host has.
const CONFIG: &str = "/etc/selinux/config";
/// Categories of a level: two of them make one.
const CATEGORIES: u16 = 1024;
/// The level of files of containers without confinement (go-selinux).
const UNCONFINED_LEVEL: &str = "s0:c1022,c1023";
/// How long a container may take to be made, an imported one with all its files.
const MAKING: Duration = Duration::from_secs(3600);
/// How often a pair of categories is drawn before it is given up.
const DRAWS_MAX: usize = 10_000;

/// SELinux on this host.
#[derive(Debug, Clone)]
pub struct SeLinux(Option<Arc<Policy>>);

#[derive(Debug)]
struct Policy {
    process: SelinuxLabel,
    file: SelinuxLabel,
    /// Levels that this daemon has given lately: to containers that are not to be seen yet.
    given: Mutex<HashMap<String, Instant>>,
}

impl SeLinux {
    /// Where the kernel has it, and the operator wants it `on`.
    ///
    /// # Errors
    /// System: it is to be used, and the policy knows no containers.
    pub fn new(on: bool) -> Result<Self> {
        if !on {
            return Ok(Self(None));
        }
        let config = std::fs::read_to_string(CONFIG).unwrap_or_default();
        let policy = value_of(&config, "SELINUXTYPE").unwrap_or_else(|| "targeted".to_owned());
        let file = Path::new("/etc/selinux")
            .join(policy)
            .join("contexts/lxc_contexts");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        match Policy::parse(&text) {
            Some(policy) => Ok(Self(Some(Arc::new(policy)))),
            None => Err(Error::system(format!(
                "selinux-enabled is set, and {} has no labels for containers: install the policy \
                 container-selinux, or set it to false",
                file.display()
            ))),
        }
    }

    /// Whether containers have labels.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What a container was asked to be, without labels where this was switched off since it was made.
    pub fn in_force(&self, spec: &Arc<ContainerSpec>) -> Arc<ContainerSpec> {
        if self.is_on() || spec.selinux.is_none() {
            return spec.clone();
        }
        let mut spec = ContainerSpec::clone(spec);
        spec.selinux = None;
        Arc::new(spec)
    }

    /// The labels of a container, none of whose `used` levels others have; `None` where it is off
    /// (moby `generateSecurityOpt`, go-selinux `InitLabels`). `random` draws. Who joins the namespaces of
    /// `donors` has the labels of their processes, if each has any: it would be kept from them else.
    ///
    /// # Errors
    /// System: all levels are taken. Invalid: the donors' labels are not the same.
    pub fn choose<'u>(
        &self,
        spec: &ContainerSpec,
        donors: &[&SelinuxLabels],
        used: impl Iterator<Item = &'u SelinuxLabels>,
        random: impl Fn() -> [u8; 32],
    ) -> Result<Option<SelinuxLabels>> {
        let Some(policy) = &self.0 else {
            return Ok(None);
        };
        let wish = &spec.selinux_wish;
        let shares = spec.pid_mode == PidMode::Host || spec.ipc_mode == IpcMode::Host;
        // Who asks for a label gets it, whatever else (moby `generateSecurityOpt`).
        let asks = *wish != SelinuxWish::default();
        if wish.disable || !asks && (spec.privileged || shares) {
            let mut file = policy.file.clone();
            file.level = file.level.map(|_| UNCONFINED_LEVEL.to_owned());
            return Ok(Some(SelinuxLabels {
                process: String::new(),
                mount: file.to_string(),
            }));
        }
        let inherited = match asks {
            true => None,
            false => of_donors(donors)?,
        };
        let wish = inherited.as_ref().unwrap_or(wish);
        let level = match &wish.level {
            Some(level) => Some(level.clone()),
            None if policy.process.level.is_none() => None,
            None => Some(policy.new_level(used, random)?),
        };
        Ok(Some(policy.labels(wish, level)))
    }
}

/// What the labels of `donors` come to for one that joins them (moby `generateSecurityOpt`, go-selinux
/// `DupSecOpt`); `None` where one of them has none.
fn of_donors(donors: &[&SelinuxLabels]) -> Result<Option<SelinuxWish>> {
    let labels = donors.iter().map(|d| SelinuxLabel::parse(&d.process));
    let Some(mut labels) = labels.collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    labels.dedup();
    if labels.len() > 1 {
        return Err(Error::invalid(
            "--ipc and --pid containers SELinux labels aren't the same",
        ));
    }
    Ok(labels.pop().map(|label| SelinuxWish {
        user: Some(label.user),
        role: Some(label.role),
        kind: Some(label.kind),
        level: label.level,
        ..SelinuxWish::default()
    }))
}

impl Policy {
    fn parse(text: &str) -> Option<Self> {
        Some(Self {
            process: SelinuxLabel::parse(&value_of(text, "process")?)?,
            file: SelinuxLabel::parse(&value_of(text, "file")?)?,
            given: Mutex::default(),
        })
    }

    fn labels(&self, wish: &SelinuxWish, level: Option<String>) -> SelinuxLabels {
        let (mut process, mut file) = (self.process.clone(), self.file.clone());
        for (part, wished) in [
            (&mut process.user, &wish.user),
            (&mut file.user, &wish.user),
            (&mut process.role, &wish.role),
            (&mut process.kind, &wish.kind),
            (&mut file.kind, &wish.file_kind),
        ] {
            if let Some(wished) = wished {
                part.clone_from(wished);
            }
        }
        (process.level, file.level) = (level.clone(), level);
        SelinuxLabels {
            process: process.to_string(),
            mount: file.to_string(),
        }
    }

    /// `s0:c1,c2`, two different categories, the smaller first.
    fn new_level<'u>(
        &self,
        used: impl Iterator<Item = &'u SelinuxLabels>,
        random: impl Fn() -> [u8; 32],
    ) -> Result<String> {
        let level = |labels: &SelinuxLabels| SelinuxLabel::parse(&labels.mount)?.level;
        let used: HashSet<String> = used.filter_map(level).collect();
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, at| at.elapsed() < MAKING);
        for _ in 0..DRAWS_MAX {
            let bytes = random();
            let draw = |at| u16::from_le_bytes([bytes[at], bytes[at + 1]]) % CATEGORIES;
            let (one, other) = (draw(0), draw(2));
            let level = format!("s0:c{},c{}", one.min(other), one.max(other));
            let is_free = level != UNCONFINED_LEVEL && !used.contains(&level);
            if one != other && is_free && !given.contains_key(&level) {
                given.insert(level.clone(), Instant::now());
                return Ok(level);
            }
        }
        Err(Error::system(
            "no SELinux level is left for one more container",
        ))
    }
}

/// The value of `key` in lines of `key = "value"`; comments begin with `#` or `;`.
fn value_of(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().map(str::trim);
    let mut told = lines.filter(|line| !line.starts_with(['#', ';']));
    told.find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim() == key).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use model::Kind;

    use super::*;

    const CONTEXTS: &str = "# a policy\nprocess = \"system_u:system_r:container_t:s0\"\n\
        content = \"system_u:object_r:virt_var_lib_t:s0\"\n\
        file = \"system_u:object_r:container_file_t:s0\"\n";

    fn selinux() -> SeLinux {
        SeLinux(Some(Arc::new(Policy::parse(CONTEXTS).unwrap())))
    }

    fn counting() -> impl Fn() -> [u8; 32] {
        let next = AtomicU8::new(0);
        move || {
            let mut bytes = [0; 32];
            bytes[0] = next.fetch_add(1, Ordering::Relaxed);
            bytes[2] = 1;
            bytes
        }
    }

    fn labels(spec: &ContainerSpec) -> SelinuxLabels {
        let chosen = selinux().choose(spec, &[], [].iter(), counting());
        chosen.unwrap().unwrap()
    }

    #[test]
    fn each_container_has_a_level_of_its_own() {
        let (selinux, random) = (selinux(), counting());
        let spec = ContainerSpec::default();
        let used = SelinuxLabels {
            mount: "system_u:object_r:container_file_t:s0:c1,c2".to_owned(),
            ..SelinuxLabels::default()
        };
        let choose = || {
            let chosen = selinux.choose(&spec, &[], [&used].into_iter(), &random);
            chosen.unwrap().unwrap()
        };
        let first = choose();
        assert_eq!(first.process, "system_u:system_r:container_t:s0:c0,c1");
        assert_eq!(first.mount, "system_u:object_r:container_file_t:s0:c0,c1");
        // Not c1,c1, which is one category, nor what another container has.
        assert!(choose().mount.ends_with(":s0:c1,c3"));
        let same = || [5; 32];
        let stuck = selinux.choose(&spec, &[], [].iter(), same);
        assert!(
            stuck
                .unwrap_err()
                .message()
                .contains("no SELinux level is left")
        );
    }

    #[test]
    fn who_is_not_confined_has_no_label_and_files_have_theirs() {
        let disabled = SelinuxWish {
            disable: true,
            ..SelinuxWish::default()
        };
        for spec in [
            ContainerSpec {
                selinux_wish: disabled,
                ..ContainerSpec::default()
            },
            ContainerSpec {
                privileged: true,
                ..ContainerSpec::default()
            },
            ContainerSpec {
                pid_mode: PidMode::Host,
                ..ContainerSpec::default()
            },
        ] {
            let chosen = labels(&spec);
            assert_eq!(chosen.process, "");
            let files = "system_u:object_r:container_file_t:s0:c1022,c1023";
            assert_eq!(chosen.mount, files);
        }
        let off = SeLinux::new(false).unwrap();
        let none = off.choose(&ContainerSpec::default(), &[], [].iter(), counting());
        assert_eq!(none.unwrap(), None);
    }

    #[test]
    fn who_joins_others_has_their_labels() {
        let donor = |process: &str| SelinuxLabels {
            process: process.to_owned(),
            ..SelinuxLabels::default()
        };
        let one = donor("u:r:one_t:s0:c7,c8");
        let (other, free) = (donor("u:r:one_t:s0:c7,c9"), donor(""));
        let choose = |spec: &ContainerSpec, donors: &[&SelinuxLabels]| {
            let chosen = selinux().choose(spec, donors, [].iter(), counting());
            chosen.map(Option::unwrap)
        };
        let spec = ContainerSpec::default();
        for donors in [&[&one][..], &[&one, &one]] {
            let chosen = choose(&spec, donors).unwrap();
            assert_eq!(chosen.process, one.process);
            assert_eq!(chosen.mount, "u:object_r:container_file_t:s0:c7,c8");
        }
        for donors in [&[&free][..], &[&one, &free]] {
            let own = choose(&spec, donors).unwrap();
            assert_eq!(own.process, "system_u:system_r:container_t:s0:c0,c1");
        }
        let refused = choose(&spec, &[&one, &other]).unwrap_err();
        let said = "--ipc and --pid containers SELinux labels aren't the same";
        assert_eq!(
            (refused.kind(), refused.message()),
            (Kind::InvalidParameter, said)
        );
        // Who asks for a label gets it, and who is not confined none.
        let asks = ContainerSpec {
            selinux_wish: SelinuxWish {
                level: Some("s0:c5".to_owned()),
                ..SelinuxWish::default()
            },
            ..ContainerSpec::default()
        };
        let chosen = choose(&asks, &[&one, &other]).unwrap();
        assert_eq!(chosen.process, "system_u:system_r:container_t:s0:c5");
        let privileged = ContainerSpec {
            privileged: true,
            ..ContainerSpec::default()
        };
        assert_eq!(choose(&privileged, &[&one, &other]).unwrap().process, "");
    }

    #[test]
    fn what_is_wished_for_takes_the_place_of_the_policys() {
        let some = |text: &str| Some(text.to_owned());
        let chosen = labels(&ContainerSpec {
            selinux_wish: SelinuxWish {
                user: some("u"),
                role: some("r"),
                kind: some("spc_t"),
                level: some("s0:c7"),
                file_kind: some("f_t"),
                ..SelinuxWish::default()
            },
            ..ContainerSpec::default()
        });
        assert_eq!(chosen.process, "u:r:spc_t:s0:c7");
        assert_eq!(chosen.mount, "u:object_r:f_t:s0:c7");
        let privileged = labels(&ContainerSpec {
            privileged: true,
            selinux_wish: SelinuxWish {
                level: some("s0:c7"),
                ..SelinuxWish::default()
            },
            ..ContainerSpec::default()
        });
        assert_eq!(privileged.process, "system_u:system_r:container_t:s0:c7");
    }
}
