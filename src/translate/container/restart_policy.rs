//! What is to follow a container's end.

use model::{Error, Result};

use wire::container::RestartPolicy;

/// Whether Docker has such a policy (moby `ValidateRestartPolicy`), and a container that removes itself
/// may have it.
///
/// # Errors
/// 400 in Docker's words.
pub(super) fn check(policy: &RestartPolicy, auto_remove: bool) -> Result<()> {
    let retries = policy.maximum_retry_count;
    let mistake = match policy.name.as_str() {
        "" => return Ok(()),
        "no" | "always" | "unless-stopped" if retries < 0 => {
            "maximum retry count can only be used with 'on-failure' and cannot be negative"
        }
        "no" | "always" | "unless-stopped" if retries > 0 => {
            "maximum retry count can only be used with 'on-failure'"
        }
        "on-failure" if retries < 0 => "maximum retry count cannot be negative",
        "always" | "unless-stopped" | "on-failure" if auto_remove => {
            return Err(Error::invalid(
                "can't create 'AutoRemove' container with restart policy",
            ));
        }
        "no" | "always" | "unless-stopped" | "on-failure" => return Ok(()),
        other => {
            return Err(Error::invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', \
                 'on-failure', or 'unless-stopped'"
            )));
        }
    };
    Err(Error::invalid(format!("invalid restart policy: {mistake}")))
}

/// The policy, whose words were checked.
pub(super) fn parsed(policy: &RestartPolicy) -> model::RestartPolicy {
    match policy.name.as_str() {
        "always" => model::RestartPolicy::Always,
        "unless-stopped" => model::RestartPolicy::UnlessStopped,
        "on-failure" => model::RestartPolicy::OnFailure {
            max_retries: u32::try_from(policy.maximum_retry_count)
                .ok()
                .filter(|max| *max > 0),
        },
        _ => model::RestartPolicy::No,
    }
}

/// As inspect shows it.
pub(super) fn shown(policy: &model::RestartPolicy) -> RestartPolicy {
    let (name, retries) = match policy {
        model::RestartPolicy::No => ("no", None),
        model::RestartPolicy::Always => ("always", None),
        model::RestartPolicy::UnlessStopped => ("unless-stopped", None),
        model::RestartPolicy::OnFailure { max_retries } => ("on-failure", *max_retries),
    };
    RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: retries.map_or(0, i64::from),
    }
}
