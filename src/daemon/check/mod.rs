//! `moored check`: what this host has, what that means for containers, and what to do.
//!
//! It changes nothing, needs no running daemon and disturbs none; to know which OCI runtime works
//! it runs a container of some hundred bytes. A line says `ok`, `warn` (containers run, something
//! is worse than it could be) or `FAIL` (containers cannot run).

mod host;
mod networks;
mod programs;
mod roots;

use std::fmt;

use anyhow::{Context as _, Result};

use super::settings::Settings;

/// Prints what it finds; true when containers can run.
///
/// # Errors
/// When nothing can be looked at or printed at all.
pub(crate) fn run(settings: &Settings) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let findings = runtime.block_on(all(settings));
    for finding in &findings {
        println!("{finding}");
    }
    Ok(findings.iter().all(|f| f.verdict != Verdict::Fail))
}

async fn all(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![host::root()];
    findings.extend(host::kernel(sys::features::kernel(), sys::own::is_root()));
    findings.push(host::cgroups(&sys::features::cgroups()));
    findings.push(host::seccomp());
    findings.extend(host::apparmor());
    findings.extend(host::selinux(settings.selinux_enabled));
    findings.extend(host::journal(settings.log_default.driver));
    findings.push(host::open_files());
    findings.extend(programs::conmon_and_runtimes(settings).await);
    findings.push(programs::init());
    findings.extend(networks::tools(&settings.networks).await);
    findings.extend(networks::host());
    findings.push(roots::data_root(&settings.data_root));
    findings.extend(roots::storage(settings));
    findings.push(roots::user_namespaces(settings));
    findings.push(roots::exits(settings));
    findings
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One line, with what it means and what to do where that is not "fine" and "nothing".
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    what: String,
    found: String,
    means: &'static str,
    to_do: &'static str,
}

impl Finding {
    fn ok(what: &str, found: impl Into<String>, means: &'static str) -> Self {
        Self {
            verdict: Verdict::Ok,
            what: what.to_owned(),
            found: found.into(),
            means,
            to_do: "",
        }
    }

    fn bad(
        verdict: Verdict,
        what: &str,
        found: impl Into<String>,
        means: &'static str,
        to_do: &'static str,
    ) -> Self {
        Self {
            verdict,
            what: what.to_owned(),
            found: found.into(),
            means,
            to_do,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        write!(f, "{verdict:<5}{:<17}{}", self.what, self.found)?;
        if !self.means.is_empty() {
            write!(f, "\n{:22}{}", "", self.means)?;
        }
        if !self.to_do.is_empty() {
            write!(f, "\n{:22}to do: {}", "", self.to_do)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_tells_what_it_means_and_what_to_do() {
        let bad = Finding::bad(Verdict::Fail, "overlay", "no", "meaning", "doing");
        let indent = " ".repeat(22);
        assert_eq!(
            bad.to_string(),
            format!("FAIL overlay          no\n{indent}meaning\n{indent}to do: doing")
        );
        assert_eq!(
            Finding::ok("x", "y", "").to_string(),
            "ok   x                y"
        );
    }
}
