//! The OCI process object of an exec: the container's own process with what the exec asks for in
//! its places (moby `daemon/exec_linux.go`).
//!
//! Computed anew from the container's request each time; the container's own spec is neither read
//! nor changed, so nothing of one exec is ever in the next.

use std::borrow::Cow;

use model::{ContainerSpec, Error, ExecSpec, Result};

use crate::document::{Capabilities, ConsoleSize, Process, User};
use crate::host::HostFacts;
use crate::user::ResolvedUser;
use crate::{capabilities, process, resources, ulimits};

/// Everything an exec's process is made of.
#[derive(Debug, Clone, Copy)]
pub struct ExecInput<'a> {
    /// What the container was asked to be.
    pub container: &'a ContainerSpec,
    /// What the exec is asked to be.
    pub exec: &'a ExecSpec,
    /// Its user, from [`crate::user::resolve`] in the container's root.
    pub user: &'a ResolvedUser,
    /// The container's AppArmor profile, which is in the kernel.
    pub apparmor: Option<&'a str>,
    /// The host.
    pub host: &'a HostFacts,
}

/// Builds the process object, as JSON.
///
/// # Errors
/// `InvalidParameter` for an empty command.
pub fn exec_process(input: &ExecInput<'_>) -> Result<Vec<u8>> {
    let ExecInput {
        container,
        exec,
        user,
        apparmor,
        host,
    } = input;
    if exec.args.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    let caps = capabilities::resolve(
        &container.cap_add,
        &container.cap_drop,
        container.privileged || exec.privileged,
        host.bounding,
    )?;
    // What could not be given was told when the container was made.
    let (rlimits, mut warnings) = ulimits::rlimits(&container.ulimits, host);
    let score = container.resources.oom_score_adj;
    let process = Process {
        terminal: exec.tty,
        console_size: exec
            .console_size
            .filter(|_| exec.tty)
            .map(|(height, width)| ConsoleSize { height, width }),
        user: User {
            uid: user.uid,
            gid: user.gid,
            additional_gids: Cow::Borrowed(&user.additional_gids),
        },
        args: exec
            .args
            .iter()
            .map(|arg| Cow::Borrowed(arg.as_str()))
            .collect(),
        env: environment(container, exec, &user.home),
        cwd: [&exec.working_dir, &container.working_dir]
            .into_iter()
            .find(|dir| !dir.is_empty())
            .map_or("/", String::as_str),
        capabilities: Capabilities {
            bounding: caps.names(),
            effective: caps.names(),
            permitted: caps.names(),
        },
        rlimits,
        no_new_privileges: container.no_new_privileges,
        // The container's own also for a privileged exec, as moby has it.
        apparmor_profile: *apparmor,
        selinux_label: crate::process_label(container),
        oom_score_adj: resources::oom_score_adj(score, host, &mut warnings),
    };
    serde_json::to_vec(&process).map_err(|e| Error::system(format!("write a process: {e}")))
}

/// The container's environment as the exec's terminal makes it, then the exec's own.
fn environment(container: &ContainerSpec, exec: &ExecSpec, home: &str) -> Vec<String> {
    let both = ContainerSpec {
        tty: exec.tty,
        env: [container.env.as_slice(), exec.env.as_slice()].concat(),
        ..ContainerSpec::default()
    };
    process::environment(&both, &container.hostname, home)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn built(container: &ContainerSpec, exec: &ExecSpec) -> serde_json::Value {
        let input = ExecInput {
            container,
            exec,
            user: &ResolvedUser::default(),
            apparmor: None,
            host: &fixture::host(),
        };
        serde_json::from_slice(&exec_process(&input).unwrap()).unwrap()
    }

    fn exec(args: &[&str]) -> ExecSpec {
        ExecSpec {
            args: args.iter().map(ToString::to_string).collect(),
            ..ExecSpec::default()
        }
    }

    #[test]
    fn the_containers_values_hold_where_the_exec_says_nothing() {
        let container = ContainerSpec {
            env: vec!["A=1".into(), "B=2".into()],
            working_dir: "/srv".into(),
            hostname: "box".into(),
            tty: true,
            ..ContainerSpec::default()
        };
        let process = built(&container, &exec(&["sh"]));
        assert_eq!(
            process["terminal"], false,
            "the exec's own, not the container's"
        );
        assert_eq!(process["cwd"], "/srv");
        let env: Vec<&str> = process["env"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|e| e.as_str())
            .collect();
        assert_eq!(env[1..], ["HOSTNAME=box", "A=1", "B=2", "HOME=/"]);
        let own = ExecSpec {
            env: vec!["B=3".into(), "C=4".into()],
            working_dir: "/".into(),
            tty: true,
            console_size: Some((33, 77)),
            ..exec(&["sh"])
        };
        let process = built(&container, &own);
        assert_eq!(process["cwd"], "/");
        assert_eq!(process["consoleSize"]["height"], 33);
        let env = process["env"].to_string();
        assert!(
            env.contains("\"TERM=xterm\",\"A=1\",\"B=3\",\"C=4\""),
            "{env}"
        );
        // Nothing of it is in the next one.
        assert!(
            !built(&container, &exec(&["sh"]))
                .to_string()
                .contains("C=4")
        );
    }

    #[test]
    fn privileged_is_the_execs_alone() {
        let caps = |exec: &ExecSpec| {
            let process = built(&ContainerSpec::default(), exec);
            process["capabilities"]["bounding"]
                .as_array()
                .unwrap()
                .len()
        };
        let plain = exec(&["id"]);
        let privileged = ExecSpec {
            privileged: true,
            ..plain.clone()
        };
        assert_eq!(caps(&plain), 14);
        assert!(caps(&privileged) > 14);
    }

    #[test]
    fn an_empty_command_is_refused() {
        let input = ExecInput {
            container: &ContainerSpec::default(),
            exec: &ExecSpec::default(),
            user: &ResolvedUser::default(),
            apparmor: None,
            host: &fixture::host(),
        };
        let e = exec_process(&input).unwrap_err();
        assert_eq!(e.message(), "No exec command specified");
    }
}
