//! What an image contributes to a container made from it (moby `daemon/commit.go` `merge`).

use std::collections::{BTreeMap, BTreeSet};

use model::{ContainerSpec, Error, HealthCheck, ImageConfig, Result, Signal};

/// Lays the request over the image's configuration.
///
/// - An entrypoint in the request drops the image's command; an empty one only the entrypoint.
/// - Environment and labels are merged by key, the request winning; the request's variables come
///   first.
/// - Declared ports are those of both.
/// - User and working directory are the image's where the request has none.
///
/// # Errors
/// `no command specified` when neither names a program; a stop signal of the image that no
/// kernel knows.
pub fn image_into_spec(
    image: &ImageConfig,
    mut spec: ContainerSpec,
    stop_signal: Option<Signal>,
) -> Result<ContainerSpec> {
    if spec.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if spec.cmd.as_ref().is_none_or(Vec::is_empty) {
            spec.cmd.clone_from(&image.cmd);
        }
        if spec.entrypoint.is_none() {
            spec.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // An entrypoint of one empty string resets the image's (moby treats `--entrypoint ""` so).
    if spec.entrypoint.as_deref() == Some(&[String::new()]) {
        spec.entrypoint = None;
    }
    spec.env = merge_env(&image.env, spec.env);
    spec.labels = merge_labels(&image.labels, spec.labels);
    if spec.user.is_empty() {
        spec.user.clone_from(&image.user);
    }
    if spec.working_dir.is_empty() {
        spec.working_dir.clone_from(&image.working_dir);
    }
    spec.health_check = health_check(image.health_check.as_ref(), spec.health_check);
    spec.health_shell.clone_from(&image.shell);
    for port in &image.exposed_ports {
        if !spec.exposed_ports.contains(port) {
            spec.exposed_ports.push(port.clone());
        }
    }
    spec.stop_signal = match stop_signal {
        Some(signal) => signal,
        None if image.stop_signal.is_empty() => Signal::TERM,
        None => image.stop_signal.parse()?,
    };
    if spec.args().is_empty() {
        return Err(Error::invalid("no command specified"));
    }
    Ok(spec)
}

/// The request's check, what it leaves out being the image's; none when there is nothing to run.
fn health_check(image: Option<&HealthCheck>, asked: Option<HealthCheck>) -> Option<HealthCheck> {
    overlay_health_check(image, asked).filter(HealthCheck::is_on)
}

/// What `asked` leaves out is the `image`'s.
pub(crate) fn overlay_health_check(
    image: Option<&HealthCheck>,
    asked: Option<HealthCheck>,
) -> Option<HealthCheck> {
    Some(match (image, asked) {
        (image, None) => return image.cloned(),
        (None, Some(asked)) => asked,
        (Some(image), Some(mut asked)) => {
            if asked.test.is_empty() {
                asked.test.clone_from(&image.test);
            }
            for (value, of_image) in [
                (&mut asked.interval_ns, image.interval_ns),
                (&mut asked.timeout_ns, image.timeout_ns),
                (&mut asked.start_period_ns, image.start_period_ns),
                (&mut asked.start_interval_ns, image.start_interval_ns),
                (&mut asked.retries, image.retries),
            ] {
                if *value == 0 {
                    *value = of_image;
                }
            }
            asked
        }
    })
}

/// The request's variables, then those of the image that the request does not name.
pub(crate) fn merge_env(image: &[String], mut request: Vec<String>) -> Vec<String> {
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let asked: BTreeSet<String> = request.iter().map(|entry| key(entry)).collect();
    request.extend(
        image
            .iter()
            .filter(|have| !asked.contains(&key(have)))
            .cloned(),
    );
    request
}

pub(crate) fn merge_labels(
    image: &BTreeMap<String, String>,
    request: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut merged = image.clone();
    merged.extend(request);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        Some(text.split(' ').map(str::to_owned).collect())
    }

    fn image() -> ImageConfig {
        ImageConfig {
            entrypoint: words("/entry"),
            cmd: words("serve --all"),
            env: vec!["PATH=/bin".into(), "A=image".into()],
            user: "daemon".into(),
            working_dir: "/srv".into(),
            stop_signal: "SIGINT".into(),
            ..ImageConfig::default()
        }
    }

    #[test]
    fn a_check_takes_from_the_image_what_it_leaves_out() {
        let check = |test: &[&str], interval_ns, retries| HealthCheck {
            test: test.iter().map(|w| (*w).to_owned()).collect(),
            interval_ns,
            retries,
            ..HealthCheck::default()
        };
        let of_image = check(&["CMD", "a"], 7, 2);
        let merged = |asked| health_check(Some(&of_image), asked);
        assert_eq!(merged(None), Some(of_image.clone()));
        assert_eq!(merged(Some(check(&["NONE"], 0, 0))), None);
        assert_eq!(
            merged(Some(check(&[], 9, 0))),
            Some(check(&["CMD", "a"], 9, 2))
        );
        assert_eq!(
            merged(Some(check(&["CMD", "b"], 0, 5))),
            Some(check(&["CMD", "b"], 7, 5))
        );
        assert_eq!(health_check(None, Some(check(&[], 9, 0))), None);
        let off = check(&["NONE"], 0, 0);
        assert_eq!(health_check(Some(&off), None), None);
    }

    fn merged(spec: ContainerSpec) -> ContainerSpec {
        image_into_spec(&image(), spec, None).unwrap()
    }

    #[test]
    fn nothing_asked_for_means_the_images_values() {
        let spec = merged(ContainerSpec::default());
        assert_eq!(spec.args(), ["/entry", "serve", "--all"]);
        assert_eq!(
            (spec.user.as_str(), spec.working_dir.as_str()),
            ("daemon", "/srv")
        );
        assert_eq!(spec.stop_signal.number(), 2);
    }

    #[test]
    fn a_command_replaces_the_images_and_an_entrypoint_drops_it() {
        let cmd = merged(ContainerSpec {
            cmd: words("x"),
            ..ContainerSpec::default()
        });
        assert_eq!(cmd.args(), ["/entry", "x"]);
        let entry = merged(ContainerSpec {
            entrypoint: words("/mine"),
            ..ContainerSpec::default()
        });
        assert_eq!(entry.args(), ["/mine"]);
        let empty = ContainerSpec {
            entrypoint: Some(Vec::new()),
            ..ContainerSpec::default()
        };
        assert_eq!(merged(empty).args(), ["serve", "--all"]);
        let reset = ContainerSpec {
            entrypoint: Some(vec![String::new()]),
            cmd: words("sh"),
            ..ContainerSpec::default()
        };
        assert_eq!(merged(reset).args(), ["sh"]);
    }

    #[test]
    fn environment_is_merged_by_key_the_requests_first() {
        let spec = ContainerSpec {
            env: vec!["B=2".into(), "A=mine".into()],
            ..ContainerSpec::default()
        };
        assert_eq!(merged(spec).env, ["B=2", "A=mine", "PATH=/bin"]);
    }

    #[test]
    fn an_image_without_a_command_needs_one() {
        let e = image_into_spec(&ImageConfig::default(), ContainerSpec::default(), None);
        assert_eq!(e.unwrap_err().message(), "no command specified");
    }
}
