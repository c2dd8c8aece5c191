//! What an image that is made from a container starts with: the container's own configuration under
//! what the client asks for (moby `daemon/commit.go`).

use model::{ContainerSpec, HealthCheck, ImageConfig, Result, Signal};

use crate::image_change;
use crate::merge::{merge_env, merge_labels, overlay_health_check};

/// The configuration of an image made from a container of `spec`, itself made from `image`. `asked` is what
/// the client sent, in place of the container's; `changes` are Dockerfile instructions.
///
/// # Errors
/// As [`image_change::apply`].
pub fn config(
    spec: &ContainerSpec,
    image: &ImageConfig,
    asked: Option<ImageConfig>,
    changes: &[String],
) -> Result<ImageConfig> {
    let own = of_container(spec, image);
    let mut config = asked.unwrap_or_else(|| own.clone());
    image_change::apply(&mut config, changes)?;
    // A Dockerfile's ENTRYPOINT takes back a CMD that is not its own.
    let has = |instruction: &str| changes.iter().any(|c| image_change::names(c, instruction));
    if has("ENTRYPOINT") && !has("CMD") {
        config.cmd = None;
    }
    Ok(merged(config, own))
}

/// What the container was made with.
fn of_container(spec: &ContainerSpec, image: &ImageConfig) -> ImageConfig {
    let mut volumes = image.volumes.clone();
    for mount in &spec.mounts {
        if mount.is_declared() && !volumes.contains(&mount.destination) {
            volumes.push(mount.destination.clone());
        }
    }
    // One that was switched off would be the image's again.
    let off = || HealthCheck {
        test: vec!["NONE".to_owned()],
        ..HealthCheck::default()
    };
    let health_check = spec.health_check.clone();
    let is_default = image.stop_signal.is_empty() && spec.stop_signal == Signal::TERM;
    ImageConfig {
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.cmd.clone(),
        env: spec.env.clone(),
        user: spec.user.clone(),
        working_dir: spec.working_dir.clone(),
        labels: spec.labels.clone(),
        exposed_ports: spec.exposed_ports.clone(),
        volumes,
        stop_signal: match is_default {
            true => String::new(),
            false => spec.stop_signal.to_string(),
        },
        health_check: health_check.or_else(|| image.health_check.as_ref().map(|_| off())),
        ..ImageConfig::default()
    }
}

/// What was asked for; where it says nothing, what the container has.
fn merged(mut asked: ImageConfig, own: ImageConfig) -> ImageConfig {
    if asked.user.is_empty() {
        asked.user = own.user;
    }
    for port in own.exposed_ports {
        if !asked.exposed_ports.contains(&port) {
            asked.exposed_ports.push(port);
        }
    }
    asked.env = merge_env(&own.env, asked.env);
    asked.labels = merge_labels(&own.labels, asked.labels);
    if asked.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if asked.cmd.as_ref().is_none_or(Vec::is_empty) {
            asked.cmd = own.cmd;
        }
        asked.entrypoint = asked.entrypoint.or(own.entrypoint);
    }
    asked.health_check = overlay_health_check(own.health_check.as_ref(), asked.health_check);
    if asked.working_dir.is_empty() {
        asked.working_dir = own.working_dir;
    }
    for path in own.volumes {
        if !asked.volumes.contains(&path) {
            asked.volumes.push(path);
        }
    }
    if asked.stop_signal.is_empty() {
        asked.stop_signal = own.stop_signal;
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    fn spec() -> ContainerSpec {
        ContainerSpec {
            cmd: Some(words(&["sleep", "1"])),
            env: words(&["A=1", "B=2"]),
            user: "me".to_owned(),
            working_dir: "/w".to_owned(),
            ..ContainerSpec::default()
        }
    }

    #[test]
    fn without_a_word_it_is_the_containers() {
        let image = ImageConfig::default();
        let made = config(&spec(), &image, None, &[]).unwrap();
        assert_eq!(made.cmd, spec().cmd);
        assert_eq!((made.env, made.user), (spec().env, "me".to_owned()));
        assert_eq!(made.stop_signal, "");
        let sent = Some(ImageConfig {
            env: words(&["A=9"]),
            cmd: Some(words(&["true"])),
            ..ImageConfig::default()
        });
        let made = config(&spec(), &image, sent, &words(&["USER you"])).unwrap();
        assert_eq!(made.env, words(&["A=9", "B=2"]));
        assert_eq!(made.cmd, Some(words(&["true"])));
        assert_eq!(
            (made.user, made.working_dir),
            ("you".to_owned(), "/w".to_owned())
        );
    }

    #[test]
    fn an_entrypoint_takes_the_command_back_unless_there_is_a_new_one() {
        let made = |changes: &[&str]| {
            let changes = words(changes);
            let made = config(&spec(), &ImageConfig::default(), None, &changes).unwrap();
            (made.entrypoint, made.cmd)
        };
        let entrypoint = Some(words(&["e"]));
        assert_eq!(made(&["ENTRYPOINT [\"e\"]"]), (entrypoint.clone(), None));
        let both = made(&["cmd [\"c\"]", "entrypoint [\"e\"]"]);
        assert_eq!(both, (entrypoint, Some(words(&["c"]))));
        let bad = config(&spec(), &ImageConfig::default(), None, &words(&["RUN x"]));
        assert_eq!(
            bad.unwrap_err().message(),
            "RUN is not a valid change command"
        );
    }
}
