//! The first process: arguments, environment, and the packaged init in front of them.

use std::borrow::Cow;
use std::path::Path;

use model::{ContainerSpec, Error, Result};

use super::SpecInput;
use super::mounts::INIT_PATH;

/// Docker's `$PATH` (moby `oci.DefaultPathEnv`).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The packaged init to bind, when the container wants one.
///
/// moby adds it only to a private pid namespace: elsewhere somebody reaps already.
pub(super) fn init_binary<'a>(input: &SpecInput<'a>) -> Result<Option<&'a Path>> {
    if !input.spec.init || !input.spec.pid_mode.is_private() {
        return Ok(None);
    }
    input.init_binary.map(Some).ok_or_else(|| {
        Error::system(
            "exec: \"docker-init\": executable file not found in $PATH: install catatonit or \
             tini, or run the container without --init",
        )
    })
}

/// The command line.
pub(super) fn args<'a>(input: &SpecInput<'a>) -> Result<Vec<Cow<'a, str>>> {
    let mut args: Vec<Cow<'a, str>> = Vec::new();
    if init_binary(input)?.is_some() {
        args.extend([Cow::Borrowed(INIT_PATH), Cow::Borrowed("--")]);
    }
    let spec = input.spec;
    let own = [&spec.entrypoint, &spec.cmd]
        .into_iter()
        .flatten()
        .flatten();
    let before = args.len();
    args.extend(own.map(|arg| Cow::Borrowed(arg.as_str())));
    if args.len() == before {
        return Err(Error::invalid("no command specified"));
    }
    Ok(args)
}

/// The environment: moby's defaults, the container's own in their places, then `HOME`.
///
/// A word without `=` takes a default away (`docker run -e TERM`). `HOME` comes from the
/// passwd file of the rootfs, as the OCI runtimes do it when nobody set one; doing it here makes
/// it the same with every runtime.
pub(super) fn environment(spec: &ContainerSpec, hostname: &str, home: &str) -> Vec<String> {
    let mut env = vec![
        format!("PATH={DEFAULT_PATH}"),
        format!("HOSTNAME={hostname}"),
    ];
    if spec.tty {
        env.push("TERM=xterm".into());
    }
    for word in &spec.env {
        set(&mut env, word);
    }
    if !env.iter().any(|e| key(e) == "HOME") {
        let home = if home.is_empty() { "/" } else { home };
        env.push(format!("HOME={home}"));
    }
    env
}

/// Where a container that speaks sd_notify finds the directory of its socket, and the socket.
pub(super) const NOTIFY_DIR: &str = "/run/notify";
const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

/// The environment of the first process; those of execs have nothing to say by sd_notify.
pub(super) fn first_environment(input: &SpecInput<'_>) -> Vec<String> {
    let mut env = environment(input.spec, input.hostname, &input.user.home);
    if input.notify_dir.is_some() {
        set(&mut env, NOTIFY_VARIABLE);
    }
    env
}

/// Replaces, adds or removes one variable. Linear, because the order is part of the contract;
/// the list is bounded by `SPEC_LIST_MAX`.
fn set(env: &mut Vec<String>, word: &str) {
    let place = env.iter().position(|e| key(e) == key(word));
    match (place, word.contains('=')) {
        (Some(i), true) => word.clone_into(&mut env[i]),
        (None, true) => env.push(word.into()),
        (Some(i), false) => drop(env.remove(i)),
        (None, false) => {}
    }
}

fn key(word: &str) -> &str {
    word.split_once('=').map_or(word, |(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(own: &[&str], tty: bool) -> Vec<String> {
        let spec = ContainerSpec {
            env: own.iter().map(ToString::to_string).collect(),
            tty,
            ..ContainerSpec::default()
        };
        environment(&spec, "h", "/root")
    }

    #[test]
    fn defaults_come_first_and_are_replaced_in_place() {
        assert_eq!(
            env(&["A=1", "PATH=/bin", "B="], true),
            [
                "PATH=/bin",
                "HOSTNAME=h",
                "TERM=xterm",
                "A=1",
                "B=",
                "HOME=/root"
            ]
        );
    }

    #[test]
    fn a_word_without_a_value_takes_away() {
        assert_eq!(
            env(&["HOSTNAME", "NOSUCH"], false),
            [format!("PATH={DEFAULT_PATH}"), "HOME=/root".into()]
        );
    }

    #[test]
    fn the_last_of_two_wins_and_home_is_kept() {
        assert_eq!(
            env(&["A=1", "HOME=/x", "A=2"], false)[2..],
            ["A=2", "HOME=/x"]
        );
    }
}
