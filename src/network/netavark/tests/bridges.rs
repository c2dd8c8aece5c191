//! What becomes of the host's bridges.

use super::*;
use crate::fixture::ip;

#[test]
fn a_bridge_of_the_hosts_own_is_neither_changed_nor_deleted() {
    on_a_host(async |host| {
        ip("link add br-test31 type bridge");
        ip("link set br-test31 address 02:00:00:00:00:77 up");
        let net = network(31, &[("10.131.0.0/24", "10.131.0.1")]);
        let order = order('a', &[(&net, place(&net, "eth0", &["10.131.0.2/24"]))], &[]);
        let ns = host.ns("ns");
        let e = host.netavark.set_up(&ns, &order).await.unwrap_err();
        assert_eq!(e.kind(), model::Kind::Conflict);
        assert!(e.message().contains("interface br-test31 exists"), "{e}");
        host.netavark.tear_down(&ns, &order).await.unwrap();
        let nowhere = Path::new("/nowhere");
        host.netavark.tear_down(nowhere, &order).await.unwrap();
        let shown = Command::new("ip")
            .args(["link", "show", "br-test31"])
            .output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        assert!(shown.contains("02:00:00:00:00:77"), "{shown}");
        // Where it is gone, the network makes its own, which outlives a daemon and goes with the last.
        ip("link del br-test31");
        host.netavark.set_up(&ns, &order).await.unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let next = Netavark::new(None, path, host.dir.path().join("netavark"));
        netns::remove(&ns).unwrap();
        next.tear_down(&ns, &order).await.unwrap();
        assert_eq!(host.settled().await.0, [""; 0]);
        ip("link add br-test31 type bridge");
        assert!(next.set_up(&host.ns("ns"), &order).await.is_err());
    });
}

#[test]
fn no_bridge_takes_routes_from_containers() {
    on_a_host(async |host| {
        let mut inner = network(32, &[("10.132.0.0/24", "10.132.0.1")]);
        inner.internal = true;
        let outer = network(33, &[("10.133.0.0/24", "10.133.0.1")]);
        let places = [
            (&inner, place(&inner, "eth0", &["10.132.0.2/24"])),
            (&outer, place(&outer, "eth1", &["10.133.0.2/24"])),
        ];
        let order = order('a', &places, &[]);
        host.netavark.set_up(&host.ns("ns"), &order).await.unwrap();
        for bridge in ["br-test32", "br-test33"] {
            let path = format!("/proc/sys/net/ipv6/conf/{bridge}/accept_ra");
            assert_eq!(std::fs::read_to_string(path).unwrap(), "0\n", "{bridge}");
        }
    });
}

#[test]
fn an_interface_that_was_renamed_inside_goes_too() {
    on_a_host(async |host| {
        let net = network(35, &[("10.135.0.0/24", "10.135.0.1")]);
        let other = network(36, &[("10.136.0.0/24", "10.136.0.1")]);
        let places = [
            (&net, place(&net, "eth0", &["10.135.0.2/24"])),
            (&other, place(&other, "eth1", &["10.136.0.2/24"])),
        ];
        let both = order('a', &places, &[]);
        let ns = host.ns("ns");
        host.netavark.set_up(&ns, &both).await.unwrap();
        netns::inside(&ns, || {
            ip("link set eth0 down");
            ip("link set eth0 name wan0");
            Ok(())
        })
        .unwrap();
        // One network is left, the other stays.
        let one = Order {
            places: both.places[..1].to_vec(),
            ..both.clone()
        };
        host.netavark.tear_down(&ns, &one).await.unwrap();
        let left = netns::inside(&ns, links::list).unwrap();
        let left: Vec<_> = left.into_iter().map(|link| link.name).collect();
        assert_eq!(left, ["lo", "eth1"]);
        host.netavark.tear_down(&ns, &both).await.unwrap();
        assert_eq!(host.settled().await.0, [""; 0]);
    });
}

#[test]
fn who_waits_for_the_last_to_leave_a_network_holds_up_nobody() {
    on_a_host(async |host| {
        let net = network(34, &[("10.134.0.0/24", "10.134.0.1")]);
        let at = |id, last: u8| {
            let place = place(&net, "eth0", &[&format!("10.134.0.{last}/24")]);
            order(id, &[(&net, place)], &[])
        };
        let (stays, goes) = (at('a', 2), at('b', 3));
        host.netavark
            .set_up(&host.ns("stays"), &stays)
            .await
            .unwrap();
        let ns = host.ns("goes");
        host.netavark.set_up(&ns, &goes).await.unwrap();
        netns::remove(&ns).unwrap();
        let mut leaving = std::pin::pin!(host.netavark.tear_down(&ns, &goes));
        // Until it waits for who stays: then there is nobody at netavark.
        let deadline = Instant::now() + Duration::from_secs(20);
        let free = async {
            loop {
                tokio::time::sleep(LOOK_AGAIN).await;
                if host.netavark.alone.try_lock().is_ok() {
                    break;
                }
                assert!(Instant::now() < deadline);
            }
        };
        tokio::select! {
            biased;
            done = &mut leaving => panic!("nobody else came in: {done:?}"),
            () = free => {}
        }
        leaving.await.unwrap();
        assert!(host.settled().await.0.contains(&net.interface));
    });
}
