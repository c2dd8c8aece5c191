//! The command line and the environment: what may be said, explained with its default.
//!
//! Nothing has a default value here, because a value that was not given must leave room for the
//! file's; the defaults are in [`super::settings`] and a test holds the two together.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};
use model::StorageDriver;

use super::log::LogFormat;
use super::settings::CgroupManager;

/// A container engine daemon: Docker's API on a unix socket, one conmon per container.
///
/// Settings come from the TOML file, from MOORED_* variables and from flags; later ones weigh
/// more.
#[derive(Debug, Parser)]
#[command(name = "moored", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do [default: serve]
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What the program does.
#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon (the default). SIGTERM ends it within a second; containers go on.
    Serve,
    /// Look this host over: what is there, what it means, what to do. Exit code 1 when
    /// containers cannot run.
    Check,
    /// Print the OpenAPI document of the API.
    Openapi,
}

/// Settings that can be given as flags or variables.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Options {
    /// TOML file with settings, which may be missing unless it is named here
    /// [default: /etc/moored/moored.toml]
    #[arg(long, value_name = "FILE", env = "MOORED_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// Unix socket to serve on, unless systemd hands one over [default: /run/moored/moored.sock]
    #[arg(long, value_name = "PATH", env = "MOORED_SOCKET", global = true)]
    pub(crate) socket: Option<PathBuf>,

    /// A second unix socket to serve on, for programs that know Docker's address alone:
    /// /var/run/docker.sock; its directory must be there [default: none]
    #[arg(long, value_name = "PATH", env = "MOORED_DOCKER_SOCKET", global = true)]
    pub(crate) docker_socket: Option<PathBuf>,

    /// Group (name or number) that may use the sockets, besides its owner
    /// [default: the daemon's own]
    #[arg(long, value_name = "GROUP", env = "MOORED_SOCKET_GROUP", global = true)]
    pub(crate) socket_group: Option<String>,

    /// Directory of what survives a reboot: ledger, images, containers, volumes
    /// [default: /var/lib/moored]
    #[arg(long, value_name = "DIR", env = "MOORED_DATA_ROOT", global = true)]
    pub(crate) data_root: Option<PathBuf>,

    /// Directory of what does not: exit files, sockets, the runtimes' state. Where it is not on a
    /// tmpfs of its own, the daemon mounts a small one on DIR/exits [default: /run/moored]
    #[arg(long, value_name = "DIR", env = "MOORED_RUN_ROOT", global = true)]
    pub(crate) run_root: Option<PathBuf>,

    /// OCI runtime of containers that name none: crun, runc, one of the file's or one on $PATH
    /// [default: the first of crun and runc that really runs a container here]
    #[arg(long, value_name = "NAME", env = "MOORED_RUNTIME", global = true)]
    pub(crate) runtime: Option<String>,

    /// Tell the OCI runtimes not to use pivot_root: for a root file system on a ramdisk
    #[arg(
        long,
        env = "MOORED_NO_PIVOT",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub(crate) no_pivot: bool,

    /// Who makes cgroups [default: cgroupfs]
    #[arg(
        long,
        value_name = "MANAGER",
        env = "MOORED_CGROUP_MANAGER",
        global = true
    )]
    pub(crate) cgroup_manager: Option<CgroupManager>,

    /// How new containers' files are made of their images': `overlay2`, or `vfs`, a copy for
    /// each [default: overlay2 where that can be had]
    #[arg(
        long,
        value_name = "DRIVER",
        env = "MOORED_STORAGE_DRIVER",
        global = true
    )]
    pub(crate) storage_driver: Option<StorageDriver>,

    /// Parent of the cgroups of containers that name none [default: moored]; where
    /// systemd makes them a slice [default: moored.slice]
    #[arg(long, value_name = "PATH", env = "MOORED_CGROUP_PARENT", global = true)]
    pub(crate) cgroup_parent: Option<String>,

    /// Where output goes of containers that name no driver; their options are the file's `log-opts`
    /// [default: json-file]
    #[arg(long, value_name = "DRIVER", env = "MOORED_LOG_DRIVER", global = true)]
    pub(crate) log_driver: Option<String>,

    /// Give containers that wish nothing a user namespace with the ids that /etc/subuid and
    /// /etc/subgid give USER and GROUP; `default` is dockremap [default: the host's namespace]
    #[arg(
        long,
        value_name = "USER[:GROUP]",
        env = "MOORED_USERNS_REMAP",
        global = true
    )]
    pub(crate) userns_remap: Option<String>,

    /// Interface of the default network, or `none`: containers that name no network have loopback alone
    /// then [default: moored0]
    #[arg(long, value_name = "NAME", env = "MOORED_BRIDGE", global = true)]
    pub(crate) bridge: Option<String>,

    /// Tell Docker's clients that this daemon is experimental: they offer checkpoints then
    #[arg(
        long,
        env = "MOORED_EXPERIMENTAL",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub(crate) experimental: bool,

    /// Most output, in bytes, that waits in a file below the data root for one attached client
    /// that does not read; one that lets more wait is closed [default: 1073741824]
    #[arg(
        long,
        value_name = "BYTES",
        env = "MOORED_SPILL_MAX_BYTES",
        global = true
    )]
    pub(crate) spill_max_bytes: Option<u64>,

    /// Where systemd holds the socket: end when nobody has needed the daemon for so long; 0 is
    /// never [default: 0]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "MOORED_IDLE_EXIT_S",
        global = true
    )]
    pub(crate) idle_exit_s: Option<u64>,

    /// error, warn, info, debug or trace; also by room: `info,api=debug` [default: info]
    #[arg(long, value_name = "LEVEL", env = "MOORED_LOG_LEVEL", global = true)]
    pub(crate) log_level: Option<String>,

    /// Form of the log on stderr [default: text]
    #[arg(long, value_name = "FORMAT", env = "MOORED_LOG_FORMAT", global = true)]
    pub(crate) log_format: Option<LogFormat>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::daemon::settings::Settings;

    #[test]
    fn the_help_is_well_formed_and_tells_every_default() {
        Cli::command().debug_assert();
        let help = Cli::command().term_width(0).render_long_help().to_string();
        let defaults = Settings::default();
        for path in [&defaults.socket, &defaults.data_root, &defaults.run_root] {
            assert!(
                help.contains(&format!("[default: {}]", path.display())),
                "{help}"
            );
        }
        for word in [
            "/etc/moored/moored.toml",
            "cgroupfs",
            "1073741824",
            "moored",
            "info",
            "text",
        ] {
            assert!(
                help.contains(&format!("[default: {word}]")),
                "{word} in {help}"
            );
        }
        for option in Cli::command().get_arguments() {
            let name = option.get_id().as_str();
            if !["help", "version"].contains(&name) {
                let variable = format!("MOORED_{}", name.to_uppercase());
                assert_eq!(
                    option.get_env().and_then(|e| e.to_str()),
                    Some(variable.as_str())
                );
            }
        }
    }

    #[test]
    fn serve_is_the_default_and_flags_stand_on_either_side() {
        let cli = Cli::parse_from(["moored", "--socket", "/s"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.options.socket, Some(PathBuf::from("/s")));
        let cli = Cli::parse_from(["moored", "serve", "--socket", "/s", "--log-format", "json"]);
        assert!(matches!(cli.command, Some(Command::Serve)));
        assert_eq!(cli.options.socket, Some(PathBuf::from("/s")));
        assert!(Cli::try_parse_from(["moored", "--cgroup-manager", "none"]).is_err());
        assert!(Cli::try_parse_from(["moored", "--no-such"]).is_err());
    }
}
