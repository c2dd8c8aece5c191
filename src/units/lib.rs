//! Asks systemd for cgroups: a transient scope for a process that is not to be in the daemon's own.
//!
//! On a host that systemd runs, it is the one that makes cgroups; others get one by asking over
//! D-Bus (systemd.scope(5), "Control Group APIs and Delegation"). The OCI runtime asks for a
//! container's; this room is for what the runtime does not know of, a container's conmon. It knows
//! names of units, slices and processes; not what they are for, and nothing of cgroup file systems.
//!
//! What it must not do: hold anybody up. systemd or the bus may hang; each call has a deadline, and
//! who asked goes on without.

mod bus;
mod slice;

use std::time::{Duration, Instant};

use model::{Error, Pid, Result};
use sys::proc;

pub use bus::Address;
pub use slice::Slice;

use bus::Bus;

/// How long systemd may take to put a process where it is to be. It takes some milliseconds.
const PLACED_WITHIN: Duration = Duration::from_secs(3);
/// How often is looked whether it is there.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Whether systemd is this host's init (sd_booted(3)).
pub fn is_booted() -> bool {
    std::path::Path::new("/run/systemd/system").is_dir()
}

/// systemd, over D-Bus. Connects at the first call, and again when the connection was lost.
#[derive(Debug, Default)]
pub struct Units {
    bus: Bus,
}

/// A scope to be made.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Its name, with `.scope`.
    pub name: &'a str,
    /// What `systemctl status` shows of it.
    pub description: &'a str,
    /// A unit that is to be stopped before this one is.
    pub before: &'a str,
    /// Below which slice.
    pub slice: &'a Slice,
}

impl Units {
    /// At another address than the host's own.
    pub fn at(address: Address) -> Self {
        Self {
            bus: Bus::at(address),
        }
    }

    /// Puts a process into a scope, which is made where it is missing. The scope ends with its last
    /// process.
    ///
    /// # Errors
    /// Unavailable when systemd does not answer or does not do it in time; System, in its words,
    /// when it refuses.
    pub async fn place(&self, pid: Pid, scope: &Scope<'_>) -> Result<()> {
        let deadline = Instant::now() + PLACED_WITHIN;
        let placed = async {
            self.bus.place(pid, scope).await?;
            // The answer says that it will be done. That it is done is seen in /proc; a signal of
            // the bus may be lost with its connection.
            while Instant::now() < deadline {
                if is_inside(pid, scope.name)? {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(late(scope.name))
        };
        tokio::time::timeout_at(deadline.into(), placed)
            .await
            .unwrap_or_else(|_| Err(late(scope.name)))
    }
}

fn late(name: &str) -> Error {
    Error::new(
        model::Kind::Unavailable,
        format!(
            "systemd did not make {name} within {PLACED_WITHIN:?}: is it, or the system bus, stuck?"
        ),
    )
}

/// Whether a process is in the cgroup of a unit; one that is gone needs none.
fn is_inside(pid: Pid, unit: &str) -> Result<bool> {
    let memberships = proc::cgroups(pid).map_err(|e| {
        Error::system(format!(
            "cannot read the cgroup of process {}: {e}",
            pid.get()
        ))
    })?;
    let Some(memberships) = memberships else {
        return Ok(true);
    };
    let inside = |m: &proc::Membership| m.path.file_name() == Some(unit.as_ref());
    Ok(memberships.iter().any(inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a scope for this process.
    async fn refused(units: &Units) -> Error {
        let slice = "moored.slice".parse().unwrap();
        let scope = Scope {
            name: "moored-test.scope",
            description: "a test",
            before: "moored-other.scope",
            slice: &slice,
        };
        let pid = Pid::new(i64::from(std::process::id())).unwrap();
        units.place(pid, &scope).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_bus_that_hangs_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bus");
        let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let units = Units::at(Address::Bus(path));
        let start = Instant::now();
        let e = refused(&units).await;
        assert_eq!(e.kind(), model::Kind::Unavailable, "{e}");
        assert!(e.message().contains("moored-test.scope"), "{e}");
        assert!(start.elapsed() < 2 * PLACED_WITHIN);
    }

    #[tokio::test]
    async fn without_a_bus_the_message_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("none");
        let units = Units::at(Address::Bus(path.clone()));
        let e = refused(&units).await;
        assert_eq!(e.kind(), model::Kind::Unavailable, "{e}");
        assert!(e.message().contains(&path.display().to_string()), "{e}");
    }
}
