//! What the kernel counts beside cgroups: the processors of the host, the interfaces of a network
//! namespace.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use model::stats::{HostCpu, NetworkCounters};
use model::{ProcessRef, limits};

use crate::proc;

/// The loopback interface, which every namespace has.
const LOOPBACK: &str = "lo";
/// What `/proc/stat` counts in (`USER_HZ`), a constant of Linux.
const TICK_NS: u64 = 10_000_000;

/// What all processors have done since boot.
///
/// # Errors
/// What reading /proc says.
pub fn host_cpu() -> io::Result<HostCpu> {
    let text = proc::read(Path::new("/proc/stat"))?;
    Ok(parse_stat(&String::from_utf8_lossy(&text)))
}

/// The interfaces in the network namespace of `init`, without loopback; none when it is gone.
///
/// # Errors
/// What reading /proc says.
pub fn networks(init: &ProcessRef) -> io::Result<BTreeMap<String, NetworkCounters>> {
    let path = format!("/proc/{}/net/dev", init.pid.get());
    let text = match proc::read(Path::new(&path)) {
        Err(e) if proc::is_gone(&e) => return Ok(BTreeMap::new()),
        // A zombie is in no namespace any more.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => return Ok(BTreeMap::new()),
        text => text?,
    };
    let found = parse_net_dev(&String::from_utf8_lossy(&text));
    // Another process may have got its pid meanwhile.
    let is_same = found.is_empty() || proc::process_ref(init.pid)?.as_ref() == Some(init);
    Ok(if is_same { found } else { BTreeMap::new() })
}

/// proc_stat(5), added up as moby does (`readSystemCPUUsage`): `user` to `softirq`.
fn parse_stat(text: &str) -> HostCpu {
    let mut host = HostCpu::default();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("cpu") else {
            break;
        };
        if rest.starts_with(' ') {
            let ticks = rest.split_ascii_whitespace().take(7);
            let ticks = ticks.filter_map(|n| n.parse::<u64>().ok());
            let total = ticks.fold(0u64, u64::saturating_add);
            host.total_ns = total.saturating_mul(TICK_NS);
        } else if rest.starts_with(|c: char| c.is_ascii_digit()) {
            host.online = host.online.saturating_add(1);
        }
    }
    host
}

/// proc_pid_net(5), `dev`: two lines of heads, then a line for each interface.
fn parse_net_dev(text: &str) -> BTreeMap<String, NetworkCounters> {
    let line = |line: &str| {
        let (name, counters) = line.rsplit_once(':')?;
        let counters: Vec<u64> = counters
            .split_ascii_whitespace()
            .map_while(|n| n.parse().ok())
            .collect();
        let [
            received_bytes,
            received_packets,
            receive_errors,
            receive_drops,
            ..,
        ] = counters[..]
        else {
            return None;
        };
        let [sent_bytes, sent_packets, send_errors, send_drops, ..] = *counters.get(8..)? else {
            return None;
        };
        Some((
            name.trim().to_owned(),
            NetworkCounters {
                received_bytes,
                received_packets,
                receive_errors,
                receive_drops,
                sent_bytes,
                sent_packets,
                send_errors,
                send_drops,
            },
        ))
    };
    let found = text.lines().filter_map(line);
    let others = found.filter(|(name, _)| name != LOOPBACK);
    others.take(limits::STATS_NETWORKS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_processors_time_is_seven_of_ten_columns() {
        let text = "cpu  1 2 3 4 5 6 7 800 900 1000\ncpu0 1 2 3 4 5 6 7 8 9 10\n\
                    cpu3 0 0 0 0 0 0 0 0 0 0\nintr 5\ncpu9 1\n";
        let host = parse_stat(text);
        assert_eq!(host.total_ns, 28 * TICK_NS);
        assert_eq!(host.online, 2);
        let here = host_cpu().unwrap();
        assert!(here.total_ns > 0 && here.online >= 1, "{here:?}");
    }

    #[test]
    fn interfaces_have_eight_counters_that_count() {
        let text = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  eth0: 173138465    4221    1    2    3     4          5         6   243049    2606    7    8    9    10      11         12
a:1:5 5 5 5 5 5 5 5 6 6 6 6 6 6 6 6
broken: 1 2 3
";
        let found = parse_net_dev(text);
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["a:1", "eth0"]);
        let eth0 = NetworkCounters {
            received_bytes: 173_138_465,
            received_packets: 4221,
            receive_errors: 1,
            receive_drops: 2,
            sent_bytes: 243_049,
            sent_packets: 2606,
            send_errors: 7,
            send_drops: 8,
        };
        assert_eq!(found["eth0"], eth0);
    }

    #[test]
    fn a_process_that_is_another_by_now_has_no_interfaces() {
        let own = model::Pid::new(i64::from(std::process::id())).unwrap();
        let mut own = proc::process_ref(own).unwrap().unwrap();
        let here = networks(&own).unwrap();
        own.start_ticks += 1;
        assert!(networks(&own).unwrap().is_empty(), "{here:?}");
        own.pid = model::Pid::new(4_194_304).unwrap();
        assert!(networks(&own).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(cpu|[0-9: \\n]|[ -~]){0,200}") {
            let _ = parse_stat(&text);
            let _ = parse_net_dev(&text);
        }
    }
}
