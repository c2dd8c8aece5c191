//! From a command line to a served engine, and back to nothing at SIGTERM.
//!
//! The order of start-up is the whole content: settings, log, the sockets systemd handed over,
//! roots and their lock, our own sockets, the engine, the loop, a ping through the socket, ready.
//! Containers are never touched by the daemon's own end.

mod check;
mod cli;
mod idle;
mod labels;
mod launch;
mod listeners;
mod log;
mod networks;
mod registries;
mod reload;
mod roots;
mod runtimes;
mod serve;
mod settings;
mod user_namespaces;
mod watchdog;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use settings::Settings;

/// Does what the command line says. Exit codes: 0 done; 1 failed, or `check` found that
/// containers cannot run; 2 a wrong command line.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or(Command::Serve) {
        Command::Openapi => print_openapi().map(|()| true),
        Command::Serve => load(&cli.options)
            .and_then(|s| serve::run(&s, &|| load(&cli.options)))
            .map(|()| true),
        Command::Check => load(&cli.options).and_then(|s| check::run(&s)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("moored: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(options: &cli::Options) -> anyhow::Result<Settings> {
    let settings = Settings::load(options)?;
    // Before anybody is served, and when they are read again: a daemon that cannot begin is no use.
    engine::check_ids(&settings.ids)?;
    Ok(settings)
}

fn print_openapi() -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &api::openapi())?;
    writeln!(out)?;
    Ok(())
}
