//! What an engine would find on this host and choose, without opening one: for `moored check`.

use model::Result;
use runtime::{Config, Runtimes};

use crate::Component;
use crate::host::component;

/// conmon and the OCI runtimes, as an engine with the same configuration would use them.
#[derive(Debug)]
pub struct Survey {
    /// conmon, or why it cannot be used.
    pub conmon: Result<Component>,
    /// The runtimes by name, or why one cannot be used.
    pub runtimes: Vec<(String, Result<Component>)>,
    /// Whether those that can be used can checkpoint containers, by name, or why not.
    pub checkpoints: Vec<(String, Result<()>)>,
    /// The default runtime and why it is the one; an error when none runs a container.
    pub default: Result<(String, String)>,
}

/// Finds the programs and, unless a default is configured, really runs a container with them.
/// `config.run_root` must be a scratch directory: a daemon's own is in use.
///
/// # Errors
/// What is wrong with the configuration.
pub async fn survey(config: Config) -> Result<Survey> {
    let runtimes = Runtimes::open(config)?;
    let programs = runtimes.programs().await;
    let choice = runtimes.default_choice().await;
    let mut checkpoints = Vec::new();
    for (name, _) in programs.runtimes.iter().filter(|(_, p)| p.is_ok()) {
        let support = runtimes.checkpoint_support(name).await;
        checkpoints.push((name.to_string(), support));
    }
    let found = programs.runtimes.into_iter();
    Ok(Survey {
        conmon: programs.conmon.map(component),
        runtimes: found
            .map(|(name, program)| (name.to_string(), program.map(component)))
            .collect(),
        checkpoints,
        default: choice.map(|c| (c.runtime.to_string(), c.reason.clone())),
    })
}
