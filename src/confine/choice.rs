//! Which policies a container is to be under, chosen once, when it is made.

use model::{ContainerSpec, Result, SelinuxLabels, SelinuxWish};

use crate::{AppArmor, SeLinux};

/// Puts profile and labels into `spec`, so that they are shown; warnings tell what is not to be had. `used`
/// are the labels of other containers, `donors` those of which it joins namespaces, `random` draws.
///
/// # Errors
/// As [`SeLinux::choose`].
pub fn choose<'u>(
    apparmor: &AppArmor,
    selinux: &SeLinux,
    spec: &mut ContainerSpec,
    donors: &[&SelinuxLabels],
    used: impl Iterator<Item = &'u SelinuxLabels>,
    random: impl Fn() -> [u8; 32],
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let asked = spec.apparmor.take();
    spec.apparmor = apparmor.choose(asked.as_deref(), spec.privileged);
    if !apparmor.is_on() && asked.is_some_and(|profile| profile != "unconfined") {
        warnings.push("AppArmor is not enabled: the profile is not applied".to_owned());
    }
    spec.selinux = selinux.choose(spec, donors, used, random)?;
    let wish = &spec.selinux_wish;
    if !selinux.is_on() && !wish.disable && *wish != SelinuxWish::default() {
        warnings.push("SELinux is not enabled: the label is not applied".to_owned());
    }
    Ok(warnings)
}
