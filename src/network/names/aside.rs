//! Where port 53 of the networks' gateways is not to be had, the name server has another port, and the kernel leads
//! there whoever asks.
//!
//! Who has port 53 on all of the host's addresses, or on each that is new, has it on the gateways, too: a name
//! server of the host's own, or a container that publishes one. netavark's rules would lead to that container
//! what is asked at a gateway; these come before them. They are in a table of nftables, which can come before
//! netavark's wherever those are, and which is this daemon's alone: it is named by its directory.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use model::{Context, Protocol, Result, limits};
use sys::spawn::Program;

/// The port at which names are asked for.
pub const PORT: u16 = 53;

/// The others, the first that is free: nobody's (IANA), and none that the kernel gives to those who ask for any.
/// The last is of those that bindresvport(3) gives away, from 600 up, to clients of NFS say.
pub const PORTS_ASIDE: [u16; 3] = [298, 338, 733];

/// Before `dstnat`, -100, at which published ports are led to their containers.
const PRIORITY: i32 = -101;

/// The rules that lead to one of [`PORTS_ASIDE`].
#[derive(Debug)]
pub(super) struct Aside {
    table: String,
    search_path: OsString,
    /// There while there may be such a table, of this daemon or one before it.
    note: PathBuf,
    /// What this daemon has put there last.
    put: Option<String>,
}

/// A look at the rules, that takes no part of them.
#[derive(Debug)]
pub(super) struct Look {
    program: Program,
    rules: String,
}

impl Look {
    /// The rules, if they are not all there.
    ///
    /// # Errors
    /// System: nft cannot be run, or does not answer.
    pub(super) async fn missing(self) -> Result<Option<String>> {
        let done = self.program.run(limits::NFT_TIMEOUT).await?;
        // Without the table it fails.
        let found = String::from_utf8_lossy(&done.stdout);
        let is_whole =
            found.matches(" dnat to ").count() == self.rules.matches(" dnat to ").count();
        Ok((!is_whole).then_some(self.rules))
    }
}

impl Aside {
    /// Those of the name server whose files are below `dir`.
    pub(super) fn new(dir: &Path, search_path: OsString) -> Self {
        Self {
            table: table_name(dir),
            search_path,
            note: dir.join("aside"),
            put: None,
        }
    }

    /// Leads to `port` who asks these servers, and nobody else.
    ///
    /// # Errors
    /// System: there is no nft, or it fails.
    pub(super) async fn lead(&mut self, servers: &[IpAddr], port: u16) -> Result<()> {
        let rules = rules(&self.table, servers, port);
        if self.put.as_ref() == Some(&rules) {
            return Ok(());
        }
        std::fs::write(&self.note, "")
            .context(format_args!("cannot write {}", self.note.display()))?;
        self.feed(&rules).await?;
        self.put = Some(rules);
        Ok(())
    }

    /// Leads nobody there any more.
    ///
    /// # Errors
    /// As [`Aside::lead`].
    pub(super) async fn end(&mut self) -> Result<()> {
        let shown = self.note.display();
        let is_noted = self.note.try_exists();
        if !is_noted.context(format_args!("cannot look at {shown}"))? {
            return Ok(());
        }
        self.put = None;
        self.feed(&none(&self.table)).await?;
        match std::fs::remove_file(&self.note) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
        .context(format_args!("cannot remove {}", self.note.display()))
    }

    /// What looks whether the rules are there; `None` where there are to be none.
    ///
    /// # Errors
    /// System: there is no nft.
    pub(super) fn look(&self) -> Result<Option<Look>> {
        let Some(rules) = &self.put else {
            return Ok(None);
        };
        let program = self.nft()?.args(["list", "table", "inet"]);
        Ok(Some(Look {
            program: program.args([&self.table]),
            rules: rules.clone(),
        }))
    }

    /// Puts the rules back that somebody has taken away, unless others have been put since.
    ///
    /// # Errors
    /// As [`Aside::lead`].
    pub(super) async fn put_back(&self, rules: &str) -> Result<()> {
        match self.put.as_deref() == Some(rules) {
            true => self.feed(rules).await,
            false => Ok(()),
        }
    }

    async fn feed(&self, rules: &str) -> Result<()> {
        let program = self.nft()?.args(["-f", "-"]);
        let program = program.input(rules.as_bytes()).context("cannot run nft")?;
        let done = program.run(limits::NFT_TIMEOUT).await?;
        match done.status.success() {
            true => Ok(()),
            false => Err(model::Error::system(format!(
                "nft failed ({}): {}",
                done.status,
                done.message()
            ))),
        }
    }

    fn nft(&self) -> Result<Program> {
        let found = sys::locate::locate("nft", &[], Some(&self.search_path));
        let found = found.map_err(|_| {
            model::Error::system(format!(
                "port {PORT} of a network's gateway is taken, and nft, which leads to another, was not \
                 found in $PATH: install the package nftables"
            ))
        })?;
        let program = Program::new(found).env([("PATH", &self.search_path)]);
        Ok(program.output_max(limits::FIREWALL_BYTES_MAX))
    }
}

/// The first of `ports` that nobody has at these addresses.
///
/// # Errors
/// System: all are taken.
pub(super) fn free(ports: &[u16], servers: &[IpAddr]) -> Result<u16> {
    let free = ports.iter().find(|port| !is_taken(servers, **port));
    free.copied().ok_or_else(|| {
        model::Error::system(format!(
            "port {PORT} of a network's gateway is taken, and all that names could be served at in its place \
             ({PORTS_ASIDE:?}): `ss -lnp` tells who has them"
        ))
    })
}

/// Whether this port of one of these addresses is another's.
pub(super) fn is_taken(servers: &[IpAddr], port: u16) -> bool {
    let mut sockets = servers.iter().flat_map(|ip| {
        let address = SocketAddr::new(*ip, port);
        [Protocol::Udp, Protocol::Tcp].map(|protocol| sys::port::hold(protocol, address))
    });
    sockets.any(|held| held.is_err_and(|e| e.kind() == io::ErrorKind::AddrInUse))
}

/// What nft takes for a name: letters, digits and a few signs.
fn table_name(dir: &Path) -> String {
    let path = dir.to_string_lossy();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    let path = path.chars().map(|c| if fits(c) { c } else { '_' });
    std::iter::once("moored")
        .map(str::to_owned)
        .chain(path.map(String::from))
        .collect()
}

/// No table of that name, whether there is one or not.
fn none(table: &str) -> String {
    format!("table inet {table} {{}}\ndelete table inet {table}\n")
}

/// All at once in the place of what was there.
fn rules(table: &str, servers: &[IpAddr], port: u16) -> String {
    let mut text = none(table);
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = servers.iter().partition(|ip| ip.is_ipv4());
    writeln!(text, "table inet {table} {{").expect("writing to a string cannot fail");
    for (chain, hook) in [("asked", "prerouting"), ("hosts_own", "output")] {
        writeln!(
            text,
            "chain {chain} {{\ntype nat hook {hook} priority {PRIORITY}; policy accept;"
        )
        .expect("writing to a string cannot fail");
        for (family, addresses) in [("ip", &v4), ("ip6", &v6)] {
            if !addresses.is_empty() {
                let all: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
                let all = all.join(", ");
                writeln!(
                    text,
                    "{family} daddr {{ {all} }} meta l4proto {{ tcp, udp }} th dport {PORT} dnat to :{port}"
                )
                .expect("writing to a string cannot fail");
            }
        }
        text.push_str("}\n");
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_name_is_one_for_nft() {
        let name = table_name(Path::new("/run/moored a{}/networks"));
        assert_eq!(name, "moored/run/moored_a__/networks");
    }

    #[test]
    fn each_family_has_its_rule_and_none_where_nobody_is() {
        let both = rules(
            "t",
            &["10.1.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            298,
        );
        assert_eq!(both.matches("ip daddr { 10.1.0.1 } ").count(), 2);
        assert_eq!(both.matches("ip6 daddr { fd00::1 } ").count(), 2);
        assert_eq!(both.matches("dport 53 dnat to :298\n").count(), 4);
        assert!(both.starts_with("table inet t {}\ndelete table inet t\n"));
        assert!(!rules("t", &[], 298).contains("daddr"));
    }
}
