//! The bus, and the two calls of systemd's manager that are made (org.freedesktop.systemd1(5)).

use std::path::{Path, PathBuf};
use std::time::Duration;

use model::{Error, Kind, Pid, Result};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use zbus::Variant;
use zbus::connection::{Builder, Connection};

use crate::Scope;

/// systemd's own socket, for root: there without a bus, too.
const PRIVATE: &str = "/run/systemd/private";
/// D-Bus specification, "Well-known Message Bus Instances".
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const SERVICE: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";

/// How often a scope is asked for that ends before its process can join it.
const ATTEMPTS: usize = 3;
/// How long the bus may take to let us in.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);

/// Where systemd is reached.
#[derive(Debug, Clone)]
pub enum Address {
    /// Over a message bus with this socket.
    Bus(PathBuf),
    /// At a socket of its own.
    Private(PathBuf),
}

/// A connection that is made when it is needed.
#[derive(Debug)]
pub(crate) struct Bus {
    addresses: Vec<Address>,
    connected: Mutex<Option<Link>>,
}

#[derive(Debug, Clone)]
struct Link {
    connection: Connection,
    /// Between two peers there is nobody to address.
    service: Option<&'static str>,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            addresses: vec![
                Address::Bus(SYSTEM_BUS.into()),
                Address::Private(PRIVATE.into()),
            ],
            connected: Mutex::default(),
        }
    }
}

type Properties<'a> = Vec<(&'a str, Variant<'a>)>;

impl Bus {
    pub(crate) fn at(address: Address) -> Self {
        Self {
            addresses: vec![address],
            connected: Mutex::default(),
        }
    }

    /// Asks for a scope with this process in it, or for the process to be put into that scope.
    pub(crate) async fn place(&self, pid: Pid, scope: &Scope<'_>) -> Result<()> {
        let number = pid.get();
        let properties: Properties<'_> = vec![
            ("Description", scope.description.into()),
            ("Slice", scope.slice.as_str().into()),
            ("PIDs", vec![number].into()),
            ("Before", vec![scope.before].into()),
            // It is not ours alone: conmon may make cgroups of its own below it.
            ("Delegate", true.into()),
            // It is not to be stopped with the services at the beginning of a shutdown, but with its
            // slice.
            ("DefaultDependencies", false.into()),
            // One that failed is of no use to anybody.
            ("CollectMode", "inactive-or-failed".into()),
        ];
        let others: Vec<(&str, Properties<'_>)> = Vec::new();
        let make = (scope.name, "replace", properties, others);
        let join = (scope.name, "", vec![number]);
        for _ in 0..ATTEMPTS {
            match self.call("StartTransientUnit", &make).await {
                Err(Refusal::Named(name, _)) if name == UNIT_EXISTS => {}
                made => return made.map_err(|e| e.told(scope.name)),
            }
            match self.call("AttachProcessesToUnit", &join).await {
                // It has ended since, with its last process.
                Err(Refusal::Named(..)) => {}
                joined => return joined.map_err(|e| e.told(scope.name)),
            }
        }
        let told = "it comes and goes".to_owned();
        Err(Refusal::Named(UNIT_EXISTS.to_owned(), told).told(scope.name))
    }

    async fn call<B>(&self, method: &str, body: &B) -> Result<(), Refusal>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType + Sync,
    {
        // Once more where systemd or the bus was restarted since.
        for _ in 0..2 {
            let link = self.link().await?;
            let called = link
                .connection
                .call_method(link.service, PATH, Some(MANAGER), method, body)
                .await;
            match called {
                Ok(_) => return Ok(()),
                Err(zbus::Error::MethodError(name, said, _)) => {
                    return Err(Refusal::Named(name.to_string(), said.unwrap_or_default()));
                }
                Err(e) => {
                    *self.connected.lock().await = None;
                    tracing::debug!(error = %e, method, "the connection to systemd was lost");
                }
            }
        }
        Err(Refusal::Unreachable(
            "the connection is lost again and again".to_owned(),
        ))
    }

    async fn link(&self) -> Result<Link, Refusal> {
        let mut connected = self.connected.lock().await;
        if let Some(link) = &*connected {
            return Ok(link.clone());
        }
        let mut told = Vec::new();
        for address in &self.addresses {
            // One that hangs must leave time for the next.
            match tokio::time::timeout(CONNECTED_WITHIN, connect(address)).await {
                Ok(Ok(link)) => {
                    *connected = Some(link.clone());
                    return Ok(link);
                }
                Ok(Err(e)) => told.push(e),
                Err(_) => told.push(format!("{address:?} does not answer")),
            }
        }
        Err(Refusal::Unreachable(told.join("; ")))
    }
}

async fn connect(address: &Address) -> Result<Link, String> {
    let (path, service) = match address {
        Address::Bus(path) => (path, Some(SERVICE)),
        Address::Private(path) => (path, None),
    };
    let told = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let stream = UnixStream::connect(Path::new(path)).await;
    let stream = stream
        .and_then(UnixStream::into_std)
        .map_err(|e| told(&e))?;
    let builder = Builder::unix_stream(stream);
    let builder = match service {
        Some(_) => builder,
        None => builder.p2p(),
    };
    let connection = builder.build().await.map_err(|e| told(&e))?;
    Ok(Link {
        connection,
        service,
    })
}

/// Why it was not done.
enum Refusal {
    /// By systemd or the bus: the name of the error, and what was said.
    Named(String, String),
    Unreachable(String),
}

impl Refusal {
    fn told(self, unit: &str) -> Error {
        match self {
            Self::Named(name, said) => {
                Error::system(format!("systemd refused {unit}: {said} ({name})"))
            }
            Self::Unreachable(why) => Error::new(
                Kind::Unavailable,
                format!("cannot ask systemd for {unit}: {why}"),
            ),
        }
    }
}
