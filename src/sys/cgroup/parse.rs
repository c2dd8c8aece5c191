//! The texts of cgroup files. Nothing here opens one, and nothing is refused: a line that is not as
//! documented gives no number.

use model::stats::{BlockCount, Cpu};

/// The lines of version 1's `memory.stat` that Docker shows (moby `statsV1`), sorted.
pub(super) const MEMORY_V1: &[&str] = &[
    "active_anon",
    "active_file",
    "cache",
    "dirty",
    "hierarchical_memory_limit",
    "hierarchical_memsw_limit",
    "inactive_anon",
    "inactive_file",
    "mapped_file",
    "pgfault",
    "pgmajfault",
    "pgpgin",
    "pgpgout",
    "rss",
    "rss_huge",
    "total_active_anon",
    "total_active_file",
    "total_cache",
    "total_dirty",
    "total_inactive_anon",
    "total_inactive_file",
    "total_mapped_file",
    "total_pgfault",
    "total_pgmajfault",
    "total_pgpgin",
    "total_pgpgout",
    "total_rss",
    "total_rss_huge",
    "total_unevictable",
    "total_writeback",
    "unevictable",
    "writeback",
];

/// The same of version 2 (moby `statsV2`).
pub(super) const MEMORY_V2: &[&str] = &[
    "active_anon",
    "active_file",
    "anon",
    "anon_thp",
    "file",
    "file_dirty",
    "file_mapped",
    "file_writeback",
    "inactive_anon",
    "inactive_file",
    "kernel_stack",
    "pgactivate",
    "pgdeactivate",
    "pgfault",
    "pglazyfree",
    "pglazyfreed",
    "pgmajfault",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "shmem",
    "slab",
    "slab_reclaimable",
    "slab_unreclaimable",
    "sock",
    "thp_collapse_alloc",
    "thp_fault_alloc",
    "unevictable",
    "workingset_activate",
    "workingset_nodereclaim",
    "workingset_refault",
];

/// A number; `max` is the largest there is, and one below zero, which is no amount, zero (containerd
/// `parseUint`).
pub(super) fn number(text: &str) -> Option<u64> {
    match text {
        "max" => Some(u64::MAX),
        _ if text.starts_with('-') => text.parse::<i64>().ok().map(|_| 0),
        _ => text.parse().ok(),
    }
}

/// Numbers with space between them.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_ascii_whitespace()
        .map_while(|word| word.parse().ok())
        .collect()
}

/// The number behind `key` in lines of a key and a number; 0 where there is none.
pub(super) fn value(text: &str, key: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(name, _)| *name == key);
    found.and_then(|(_, n)| number(n.trim())).unwrap_or(0)
}

/// The numbers behind `keys`, which are sorted; 0 where there is none.
pub(super) fn chosen(text: &str, keys: &[&'static str]) -> Vec<(&'static str, u64)> {
    let mut chosen: Vec<(&'static str, u64)> = keys.iter().map(|key| (*key, 0)).collect();
    for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        if let Ok(at) = keys.binary_search(&name) {
            chosen[at].1 = number(value.trim()).unwrap_or(0);
        }
    }
    chosen
}

/// Version 2's `cpu.stat`.
pub(super) fn cpu_v2(text: &str) -> Cpu {
    let ns = |key: &str| value(text, key).saturating_mul(1000);
    Cpu {
        total_ns: ns("usage_usec"),
        user_ns: ns("user_usec"),
        kernel_ns: ns("system_usec"),
        by_processor_ns: Vec::new(),
        periods: value(text, "nr_periods"),
        throttled_periods: value(text, "nr_throttled"),
        throttled_ns: ns("throttled_usec"),
    }
}

/// Lines of `254:0 Read 16842752`; the sum of all devices in the last one is left out.
pub(super) fn block_v1(text: &str) -> Vec<BlockCount> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (major, minor) = device(words.next()?)?;
        let (operation, value) = (words.next()?, words.next()?);
        Some(BlockCount {
            major,
            minor,
            operation: operation.to_owned(),
            value: number(value)?,
        })
    };
    text.lines().filter_map(line).collect()
}

/// Lines of `254:0 rbytes=1 wbytes=2 rios=3 ...`. Some kernels begin one with the names of devices that
/// were never used: the last name counts.
pub(super) fn block_v2(text: &str) -> Vec<BlockCount> {
    let mut found = Vec::new();
    for line in text.lines() {
        let (mut of, mut read, mut written) = (None, 0, 0);
        let mut has_value = false;
        for word in line.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else {
                of = device(word);
                continue;
            };
            has_value = true;
            let value = number(value).unwrap_or(0);
            match key {
                "rbytes" => read = value,
                "wbytes" => written = value,
                _ => {}
            }
        }
        if let (Some((major, minor)), true) = (of, has_value) {
            let count = |operation: &str, value| BlockCount {
                major,
                minor,
                operation: operation.to_owned(),
                value,
            };
            found.extend([count("read", read), count("write", written)]);
        }
    }
    found
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_amounts() {
        assert_eq!(number("42"), Some(42));
        assert_eq!(number("max"), Some(u64::MAX));
        assert_eq!(number("-1"), Some(0));
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        for text in ["", "x", "1 2", "18446744073709551616", "-", "0x1"] {
            assert_eq!(number(text), None, "{text:?}");
        }
        assert_eq!(numbers("5 6 \n"), [5, 6]);
        assert_eq!(numbers("5 x 6"), [5]);
    }

    #[test]
    fn a_key_is_a_whole_word() {
        let text = "total_rss 5\nrss 6\nrss_huge x\nodd\n";
        assert_eq!(value(text, "rss"), 6);
        assert_eq!(value(text, "rss_huge"), 0);
        assert_eq!(value(text, "odd"), 0);
        assert_eq!(chosen(text, &["rss", "zzz"]), [("rss", 6), ("zzz", 0)]);
    }

    #[test]
    fn odd_lines_of_devices_are_passed_over() {
        assert!(block_v1("Total 0\n").is_empty());
        assert!(block_v1("254 Read 5\n254:0\n254:0 Read\n254:0 Read x\n\n").is_empty());
        assert!(block_v2("254:0 \nrbytes=1\n x:0 rbytes=5\n").is_empty());
        let odd = block_v2("1:2 rbytes=x wbytes=3 =\n");
        assert_eq!((odd[0].value, odd[1].value), (0, 3));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([0-9:= \n-]|[ -~]|[a-z_]{1,12} ){0,200}") {
            let _ = numbers(&text);
            let _ = value(&text, "rss");
            prop_assert_eq!(chosen(&text, MEMORY_V1).len(), MEMORY_V1.len());
            prop_assert_eq!(chosen(&text, MEMORY_V2).len(), MEMORY_V2.len());
            let _ = cpu_v2(&text);
            let _ = block_v1(&text);
            let _ = block_v2(&text);
        }

        /// What the kernel can write is read back.
        #[test]
        fn every_number_is_read(n in any::<u64>(), key in "[a-z_]{1,20}") {
            prop_assert_eq!(value(&format!("a 1\n{key} {n}\n"), &key), if key == "a" { 1 } else { n });
            let found = block_v2(&format!("254:0 rbytes={n} wbytes=0\n"));
            prop_assert_eq!(found[0].value, n);
        }
    }
}
