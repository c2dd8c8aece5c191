//! Where the ids of user namespaces come from: `userns-remap` and its like.

use std::path::PathBuf;

use anyhow::{Result, bail};
use engine::IdSource;

/// Docker's name for the user that `default` means.
const DEFAULT_USER: &str = "dockremap";

/// What the settings say.
///
/// # Errors
/// A `userns-remap` that names nobody.
pub(crate) fn source(
    remap: Option<&str>,
    auto_user: Option<String>,
    subuid: Option<PathBuf>,
    subgid: Option<PathBuf>,
) -> Result<IdSource> {
    let usual = IdSource::default();
    Ok(IdSource {
        remap: remap.map(user_and_group).transpose()?.flatten(),
        auto_user: auto_user.unwrap_or(usual.auto_user),
        subuid: subuid.unwrap_or(usual.subuid),
        subgid: subgid.unwrap_or(usual.subgid),
    })
}

/// `default`, `user` or `user:group`; nothing is nobody.
fn user_and_group(text: &str) -> Result<Option<(String, String)>> {
    let (user, group) = match text {
        "" => return Ok(None),
        "default" => (DEFAULT_USER, DEFAULT_USER),
        _ => text.split_once(':').unwrap_or((text, text)),
    };
    if user.is_empty() || group.is_empty() || group.contains(':') {
        bail!("userns-remap must be `default`, a user, or user:group, not {text:?}");
    }
    Ok(Some((user.to_owned(), group.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_ids_are_taken() {
        let remap = |text| source(Some(text), None, None, None).map(|s| s.remap);
        let of = |user: &str, group: &str| Some((user.to_owned(), group.to_owned()));
        assert_eq!(remap("").unwrap(), None);
        assert_eq!(remap("default").unwrap(), of("dockremap", "dockremap"));
        assert_eq!(remap("me").unwrap(), of("me", "me"));
        assert_eq!(remap("1000:us").unwrap(), of("1000", "us"));
        for bad in [":", "me:", ":us", "a:b:c"] {
            let e = remap(bad).unwrap_err().to_string();
            assert!(e.contains(&format!("{bad:?}")), "{e}");
        }
    }
}
