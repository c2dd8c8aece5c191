//! With a ledger and the real netavark, in a network namespace that stands for the host.

use std::path::Path;
use std::process::Command;

use ipnet::IpNet;
use model::NetworkDriver;
use network::addresses::default_pools;

use super::*;

/// Runs `test` on a host of its own.
fn on_a_host(test: impl AsyncFnOnce(&Path) + Send) {
    let dir = tempfile::tempdir().unwrap();
    let ns = dir.path().join("host");
    sys::netns::make(&ns).unwrap();
    sys::netns::inside(&ns, || {
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test(dir.path()));
        Ok(())
    })
    .unwrap();
    sys::netns::remove(&ns).unwrap();
}

fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).status();
    assert!(done.unwrap().success(), "ip {args}");
}

fn said() -> Settings {
    Settings {
        bridge: Some("test0".to_owned()),
        bridge_address: None,
        pools: default_pools([1; 5]),
        publish_address: None,
        host_gateways: Vec::new(),
    }
}

/// A daemon with the data in `data`, and the files that a reboot takes in `dir`.
async fn daemon(dir: &Path, data: &str, settings: Settings) -> Networks {
    let (ledger, contents) = state::Ledger::open(&dir.join(data), "boot").unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let run = dir.join("run");
    let salt = u8::try_from(data.len()).unwrap();
    let count = std::sync::atomic::AtomicU8::new(salt * 16);
    let next = move || count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let tools = Tools {
        ledger,
        netavark: network::Netavark::new(None, path.clone(), run.clone()),
        names: network::names::Names::new(None, path, run),
        ports: network::ports::Ports::default(),
        pins: dir.join("pins"),
        settings,
        now: Arc::new(|| Timestamp::UNIX_EPOCH),
        random: Arc::new(move || [next(); 32]),
    };
    Networks::open(contents.networks, Vec::new(), tools).await
}

impl Networks {
    /// As the loop does it.
    async fn look(&self) -> Arc<NetworkRecord> {
        self.make_predefined().await;
        let record = self.default_network().unwrap();
        self.inner.tools.netavark.establish(&record).await.unwrap();
        record
    }
}

fn range(record: &Arc<NetworkRecord>) -> String {
    record.subnets[0].subnet.to_string()
}

fn leads_to(interface: &str) -> Option<String> {
    let found = network::host_routes::of_interface(interface);
    found.as_ref().map(IpNet::to_string)
}

#[test]
fn a_wiped_data_root_leaves_the_default_network_its_range() {
    on_a_host(async |dir| {
        let old = daemon(dir, "a", said()).await.look().await;
        assert_eq!(range(&old), "172.17.0.0/16");
        let next = daemon(dir, "bb", said()).await.look().await;
        assert_ne!(next.id, old.id);
        assert_eq!(range(&next), "172.17.0.0/16");
        assert_eq!(leads_to("test0").unwrap(), "172.17.0.0/16");
        assert!(network::stands(&next) && !network::stands(&old));
        // Unless it is none that it could have.
        let mut pools = said();
        pools
            .pools
            .retain(|pool| pool.base.to_string() != "172.17.0.0/16");
        let next = daemon(dir, "ccc", pools).await.look().await;
        assert_eq!(range(&next), "172.18.0.0/16");
        assert_eq!(leads_to("test0").unwrap(), "172.18.0.0/16");
    });
}

#[test]
fn the_default_network_goes_out_of_the_way_of_another_engine() {
    on_a_host(async |dir| {
        let networks = daemon(dir, "a", said()).await;
        networks.look().await;
        for line in [
            "link add other0 type bridge",
            "addr add 172.17.5.1/24 dev other0",
            "link set other0 up",
        ] {
            ip(line);
        }
        assert_eq!(
            range(&networks.look().await),
            "172.17.0.0/16",
            "it is there"
        );
        ip("link del test0");
        let next = networks.look().await;
        assert_eq!(range(&next), "172.18.0.0/16");
        assert!(network::stands(&next));
        drop(networks);
        // What the operator names stays.
        ip("link del test0");
        let mut settings = said();
        settings.bridge_address = Some("172.17.0.1/16".parse().unwrap());
        let networks = daemon(dir, "a", settings).await;
        networks.make_predefined().await;
        let record = networks.default_network().unwrap();
        assert_eq!(range(&record), "172.17.0.0/16");
        let e = networks.inner.tools.netavark.establish(&record).await;
        assert_eq!(e.unwrap_err().kind(), model::Kind::Conflict);
    });
}

#[test]
fn the_default_network_becomes_what_the_operator_says_by_now() {
    on_a_host(async |dir| {
        let old = daemon(dir, "a", said()).await.look().await;
        // Nothing is changed before containers are taken back.
        let mut changed = said();
        changed.bridge_address = Some("10.66.0.254/24".parse().unwrap());
        let networks = daemon(dir, "a", changed.clone()).await;
        assert_eq!(networks.default_network().unwrap(), old);
        let next = networks.look().await;
        assert_eq!((&next.id, range(&next).as_str()), (&old.id, "10.66.0.0/24"));
        assert_eq!(
            next.subnets[0].gateway,
            Some("10.66.0.254".parse().unwrap())
        );
        assert_eq!(leads_to("test0").unwrap(), "10.66.0.0/24");
        drop(networks);
        changed.bridge = Some("test1".to_owned());
        let networks = daemon(dir, "a", changed).await;
        let next = networks.look().await;
        let option = "com.docker.network.bridge.name";
        assert_eq!(
            (next.interface.as_str(), next.options[option].as_str()),
            ("test1", "test1")
        );
        assert_eq!(next.driver, NetworkDriver::Bridge);
        assert_eq!(
            (leads_to("test0"), leads_to("test1").unwrap().as_str()),
            (None, "10.66.0.0/24")
        );
        drop(networks);
        // It is written down; and by a pool, as the first one was.
        let networks = daemon(dir, "a", said()).await;
        assert_eq!(networks.default_network().unwrap(), next);
        let last = networks.look().await;
        assert_eq!(
            (range(&last), last.interface.as_str()),
            (range(&old), "test0")
        );
        // Not while somebody is on it, if only by the host's own hand.
        drop(networks);
        ip("link add veth7 type veth peer name veth8");
        ip("link set veth7 master test0");
        let mut changed = said();
        changed.bridge_address = Some("10.66.0.1/24".parse().unwrap());
        let networks = daemon(dir, "a", changed).await;
        networks.make_predefined().await;
        assert_eq!(networks.default_network().unwrap(), last);
        let told = networks.inner.told_of_settings.lock().unwrap().clone();
        assert_eq!(told.as_deref(), Some("containers are on it"));
        ip("link del veth7");
        assert_eq!(range(&networks.look().await), "10.66.0.0/24");
        assert_eq!(*networks.inner.told_of_settings.lock().unwrap(), None);
    });
}
