//! Rules that somebody took away: whose can be put back are, whatever is wrong with others.

use super::*;
use crate::fixture::ip;

/// Number `n`, on a network of its own.
fn alone(n: u8, ports: &[(u16, u16)]) -> Order {
    let net = network(n, &[(&format!("10.{n}.0.0/24"), &format!("10.{n}.0.1"))]);
    let place = place(&net, "eth0", &[&format!("10.{n}.0.2/24")]);
    order(char::from(b'a' + n % 10), &[(&net, place)], ports)
}

fn nft(args: &str) {
    let done = Command::new("nft").args(args.split(' ')).status();
    assert!(done.unwrap().success(), "nft {args}");
}

#[test]
fn one_that_cannot_be_mended_does_not_keep_others_without_rules() {
    on_a_host(async |host| {
        let orders = [130, 131, 132].map(|n| alone(n, &[(8000 + u16::from(n), 80)]));
        for order in &orders {
            let ns = host.ns(order.id.short());
            host.netavark.set_up(&ns, order).await.unwrap();
            answer(&ns, 80, "word");
        }
        // Something else has its name.
        ip("link del br-test131");
        ip("link add br-test131 type veth peer name other");
        nft("flush ruleset");
        let keep = async || {
            let kept = host.netavark.keep_rules(None, || orders.to_vec());
            kept.await.unwrap_err().message().to_owned()
        };
        let said = keep().await;
        let named = |order: &Order| said.contains(order.id.short());
        assert_eq!(orders.each_ref().map(named), [false, true, false], "{said}");
        for port in [8130, 8132] {
            assert_eq!(ask(&format!("127.0.0.1:{port}")).as_deref(), Some("word"));
        }
        assert_eq!(keep().await, said, "it is the same, so it is told once");
        ip("link del br-test131");
    });
}

/// They write to the same chains, and each writes what it has read.
#[test]
fn daemons_side_by_side_leave_each_other_their_rules() {
    on_a_host(async |host| {
        let path = std::env::var_os("PATH").unwrap();
        let other = Netavark::new(None, path, host.dir.path().join("other"));
        let nets = [133, 134].map(|n| {
            let mut net = network(n, &[(&format!("10.{n}.0.0/24"), &format!("10.{n}.0.1"))]);
            net.internal = true;
            ip(&format!("link add {} type bridge", net.interface));
            net
        });
        let arrange = async |netavark: &Netavark, network: &NetworkRecord| {
            let alone = netavark.alone().await.unwrap();
            let version = netavark.version().await.unwrap();
            netavark.arrange(&alone, version, &[network]).await.unwrap();
        };
        for round in 0..5 {
            nft("flush ruleset");
            tokio::join!(arrange(&host.netavark, &nets[0]), arrange(&other, &nets[1]));
            let rules = host.settled().await.1;
            for net in &nets {
                let alone = format!("-A MOORED-FORWARD ! -i {0} -o {0} -j DROP", net.interface);
                assert!(rules.contains(&alone), "in round {round}: {rules}");
            }
        }
    });
}
