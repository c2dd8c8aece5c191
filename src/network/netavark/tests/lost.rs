//! Rules that somebody took away: whose can be put back are, whatever is wrong with others.

use super::*;
use crate::fixture::ip;

/// Number `n`, on a network of its own.
fn alone(n: u8, ports: &[(u16, u16)]) -> Order {
    let net = network(n, &[(&format!("10.{n}.0.0/24"), &format!("10.{n}.0.1"))]);
    let place = place(&net, "eth0", &[&format!("10.{n}.0.2/24")]);
    order(char::from(b'a' + n % 6), &[(&net, place)], ports)
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

/// Of a container with several ports, by a hand that takes one away.
#[test]
fn a_single_rule_that_is_gone_comes_back() {
    on_a_host(async |host| {
        let (one, two) = (
            network(
                135,
                &[("10.135.0.0/24", "10.135.0.1"), ("fd35::/64", "fd35::1")],
            ),
            network(136, &[("10.136.0.0/24", "10.136.0.1")]),
        );
        let places = [
            (&one, place(&one, "eth0", &["10.135.0.2/24", "fd35::2/64"])),
            (&two, place(&two, "eth1", &["10.136.0.2/24"])),
        ];
        let mut web = order(
            'a',
            &places,
            &[(8135, 80), (8136, 81), (8137, 82), (8135, 80), (8138, 83)],
        );
        web.ports[1].port.protocol = Protocol::Udp;
        web.ports[1].host_ip = "127.0.0.2".parse().unwrap();
        web.ports[2].host_ip = std::net::Ipv4Addr::LOCALHOST.into();
        web.ports[3].host_ip = Ipv6Addr::UNSPECIFIED.into();
        web.ports[4].host_ip = Ipv6Addr::LOCALHOST.into();
        host.netavark.set_up(&host.ns("ns"), &web).await.unwrap();
        let keep = async || host.netavark.keep_rules(None, || vec![web.clone()]).await;
        assert_eq!(keep().await.unwrap(), 0, "all is there");
        let whole = host.settled().await;
        for family in ["", "6"] {
            let run = |args: &str| {
                let words = args.split(' ').map(|word| word.trim_matches('"'));
                let run = Command::new(format!("ip{family}tables"))
                    .args(words)
                    .output();
                String::from_utf8(run.unwrap().stdout).unwrap()
            };
            let rules = run("-t nat -S");
            let dnat = rules.lines().filter(|l| l.contains(" -j DNAT "));
            let dnat: Vec<_> = dnat.collect();
            assert_eq!(dnat.len(), if family.is_empty() { 6 } else { 2 }, "{rules}");
            for rule in dnat {
                run(&format!("-t nat {}", rule.replacen("-A", "-D", 1)));
                assert_ne!(host.settled().await, whole, "without {rule}");
                assert_eq!(keep().await.unwrap(), 1, "without {rule}");
                assert_eq!(host.settled().await, whole);
            }
        }
        assert_eq!(keep().await.unwrap(), 0);
    });
}

/// netavark's program finds its chains gone in the middle of its work.
#[test]
fn a_reload_in_between_is_survived() {
    on_a_host(async |host| {
        let real = host.netavark.program().unwrap();
        let (fake, once) = (host.dir.path().join("fake"), host.dir.path().join("once"));
        let script = format!(
            "#!/bin/sh\ncase $* in *setup*) if [ -e {once} ]; then rm {once}; nft flush ruleset; \
             echo '{{\"error\":\"no chain\"}}'; exit 1; fi;; esac\nexec {real} \"$@\"\n",
            once = once.display(),
            real = real.display(),
        );
        // Not by this process: while another thread starts a program, it has what is open here open, too.
        let write = r#"echo "$1" > "$2"; chmod 755 "$2""#;
        let mut writes = Command::new("sh");
        let writes = writes.args(["-c", write, "sh", &script]).arg(&fake);
        assert!(writes.status().unwrap().success());
        let path = std::env::var_os("PATH").unwrap();
        let netavark = Netavark::new(Some(fake), path, host.dir.path().join("faking"));
        let (first, web) = (alone(137, &[(8137, 80)]), alone(138, &[(8138, 80)]));
        netavark.set_up(&host.ns("first"), &first).await.unwrap();
        std::fs::write(&once, "").unwrap();
        let ns = host.ns("web");
        netavark.set_up(&ns, &web).await.unwrap();
        assert!(!once.exists());
        answer(&ns, 80, "word");
        assert_eq!(ask("127.0.0.1:8138").as_deref(), Some("word"));
    });
}
