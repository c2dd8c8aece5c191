//! The programs that containers need: conmon, an OCI runtime that works here, an init.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use engine::{Component, Survey};

use super::{Finding, Verdict};
use crate::daemon::settings::{CgroupManager, Settings};
use crate::daemon::wire;

/// conmon and the runtimes, found and tried as the daemon would; a container is really run.
pub(super) async fn conmon_and_runtimes(settings: &Settings) -> Vec<Finding> {
    match survey(settings).await {
        Ok(survey) => findings(settings, survey),
        Err(e) => vec![Finding::bad(
            Verdict::Fail,
            "programs",
            format!("{e:#}"),
            "conmon and the runtimes cannot be looked for",
            "correct the settings, or run this check as root",
        )],
    }
}

async fn survey(settings: &Settings) -> Result<Survey> {
    let scratch = Scratch::new()?;
    let mut config = wire::runtime_config(settings);
    config.run_root.clone_from(&scratch.0);
    config.cgroup_parent = match settings.cgroup_manager {
        CgroupManager::Cgroupfs => format!("moored-check-{}", std::process::id()),
        CgroupManager::Systemd => settings.cgroup_parent.clone(),
    };
    Ok(engine::survey(config).await?)
}

/// A directory in place of the daemon's run root, which is the daemon's alone.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("moored-check-{}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn findings(settings: &Settings, survey: Survey) -> Vec<Finding> {
    let mut findings = vec![conmon(survey.conmon)];
    for (name, found) in survey.runtimes {
        let wanted = settings.runtimes.contains_key(&name)
            || settings.runtime.as_deref() == Some(name.as_str());
        findings.push(runtime(&name, wanted, found));
    }
    findings.extend(survey.checkpoints.into_iter().map(checkpoints));
    findings.push(match survey.default {
        Ok((name, reason)) => Finding::ok("default runtime", format!("{name}: {reason}"), ""),
        Err(e) => Finding::bad(
            Verdict::Fail,
            "default runtime",
            e.to_string(),
            "no container can run",
            "install the package crun or runc; what was tried and said stands above",
        ),
    });
    findings
}

fn conmon(found: model::Result<Component>) -> Finding {
    match found {
        Ok(conmon) => Finding::ok("conmon", told(&conmon), ""),
        Err(e) => Finding::bad(
            Verdict::Fail,
            "conmon",
            e.to_string(),
            "it holds a container's terminal, log and exit code; none can run without",
            "install the package conmon, or name its path in the settings",
        ),
    }
}

/// A runtime that the settings name must be there; crun and runc need not both.
fn runtime(name: &str, wanted: bool, found: model::Result<Component>) -> Finding {
    let what = format!("runtime {name}");
    match found {
        Ok(program) => Finding::ok(&what, told(&program), ""),
        Err(e) => Finding::bad(
            if wanted { Verdict::Fail } else { Verdict::Warn },
            &what,
            e.to_string(),
            "containers cannot choose it",
            "install its package, or name its path in the settings",
        ),
    }
}

fn checkpoints((name, support): (String, model::Result<()>)) -> Finding {
    let what = format!("criu with {name}");
    match support {
        Ok(()) => Finding::ok(&what, "criu works", ""),
        Err(e) => Finding::bad(
            Verdict::Warn,
            &what,
            e.to_string(),
            "`docker checkpoint` does not work with this runtime",
            "install the package criu, if checkpoints are wanted",
        ),
    }
}

fn told(program: &Component) -> String {
    let version: Vec<&str> = program.version.lines().collect();
    let package = match program.package.as_str() {
        "" => String::new(),
        package => format!(" ({package})"),
    };
    format!("{}{package}: {}", program.path, version.join(", "))
}

pub(super) fn init() -> Finding {
    let found = wire::INIT_PATHS
        .iter()
        .find_map(|p| sys::host::find_program(p));
    match found {
        Some(path) => Finding::ok("container init", path.display().to_string(), ""),
        None => Finding::bad(
            Verdict::Warn,
            "container init",
            "none",
            "`docker run --init` is refused",
            "install the package catatonit",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Error;

    #[test]
    fn what_is_missing_is_told_as_bad_as_it_is() {
        let settings = Settings {
            runtimes: [("mine".to_owned(), vec!["/no/such".into()])].into(),
            ..Settings::default()
        };
        fn missing<T>() -> model::Result<T> {
            Err(Error::system("it was not found"))
        }
        let survey = Survey {
            conmon: missing(),
            runtimes: ["crun", "mine"].map(|n| (n.to_owned(), missing())).into(),
            checkpoints: vec![("crun".to_owned(), missing())],
            default: Err(Error::system("none runs")),
        };
        let found = findings(&settings, survey);
        let verdicts: Vec<Verdict> = found.iter().map(|f| f.verdict).collect();
        use Verdict::{Fail, Warn};
        assert_eq!(verdicts, [Fail, Warn, Fail, Warn, Fail]);
    }

    #[test]
    fn a_version_of_many_lines_is_told_on_one() {
        let mut runc = Component {
            path: "/usr/bin/runc".to_owned(),
            version: "runc version 1\nspec: 1".to_owned(),
            package: String::new(),
        };
        let found = |runc: &Component| runtime("runc", true, Ok(runc.clone())).found;
        assert_eq!(found(&runc), "/usr/bin/runc: runc version 1, spec: 1");
        runc.package = "runc_1.1.5".to_owned();
        let told = "/usr/bin/runc (runc_1.1.5): runc version 1, spec: 1";
        assert_eq!(found(&runc), told);
    }
}
