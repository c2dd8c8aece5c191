//! Lists of CPUs or memory nodes, `0-2,5` (cpuset(7), list format).
//!
//! Kept as intervals, never as members: `0-9999999999` in a request must cost two numbers, not
//! memory (CVE-2018-20699, where the daemon died of it).

use std::fmt;

/// A set of numbers as sorted intervals that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuList(Vec<(u64, u64)>);

/// Longest list taken; a host with 8,192 CPUs and every second one named fits.
const TEXT_BYTES_MAX: usize = 32 << 10;

impl CpuList {
    /// Parses a list. The empty text is the empty list.
    ///
    /// # Errors
    ///
    /// moby's `invalid format: <text>` for what is no list, a range that runs backwards or a
    /// text that is too long.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = || format!("invalid format: {}", text.get(..256).unwrap_or(text));
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(invalid());
        }
        let mut ranges = text
            .split(',')
            .map(parse_range)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(invalid)?;
        ranges.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Ok(Self(merged))
    }

    /// Whether every number of `other` is in this list.
    pub fn contains_all(&self, other: &Self) -> bool {
        other.0.iter().all(|(first, last)| {
            self.0
                .iter()
                .any(|(start, end)| start <= first && last <= end)
        })
    }

    /// The highest number.
    pub fn last(&self) -> Option<u64> {
        self.0.last().map(|(_, last)| *last)
    }

    /// How many numbers are in it.
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (first, last)| {
            sum.saturating_add((last - first).saturating_add(1))
        })
    }

    /// The numbers, at most `max` of them.
    pub fn members(&self, max: usize) -> impl Iterator<Item = u64> + '_ {
        self.0
            .iter()
            .flat_map(|(first, last)| *first..=*last)
            .take(max)
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// `5` or `0-2`.
fn parse_range(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = (parse_number(first)?, parse_number(last)?);
    (range.0 <= range.1).then_some(range)
}

/// Digits only: `str::parse` would take a plus sign too, which the kernel does not.
fn parse_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_parsed_merged_and_written() {
        for (text, shown) in [
            ("", ""),
            ("0", "0"),
            ("0-2,5", "0-2,5"),
            ("5,0-2", "0-2,5"),
            ("0-3,2-9,10", "0-10"),
            ("7,7,7", "7"),
            ("0-18446744073709551615", "0-18446744073709551615"),
        ] {
            assert_eq!(CpuList::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bad in [
            ",",
            "1,",
            ",1",
            "-",
            "1-",
            "-1",
            "2-1",
            "a",
            "1-b",
            "1--2",
            "+1",
            " 1",
            "1 ",
            "0x1",
            "1-42,,",
            "99999999999999999999",
            "1-2-3",
        ] {
            assert_eq!(
                CpuList::parse(bad).unwrap_err(),
                format!("invalid format: {bad}")
            );
        }
        assert!(CpuList::parse(&"1,".repeat(20_000)).is_err());
    }

    #[test]
    fn a_huge_range_costs_nothing() {
        let huge = CpuList::parse("1-9223372036854775807").unwrap();
        assert_eq!(huge.count(), 9_223_372_036_854_775_807);
        assert!(!CpuList::parse("0-63").unwrap().contains_all(&huge));
        assert_eq!(huge.members(3).collect::<Vec<_>>(), [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(a in prop::collection::vec((0u64..80, 0u64..9), 0..9),
                                   b in prop::collection::vec((0u64..80, 0u64..9), 0..9)) {
            let text = |ranges: &[(u64, u64)]| ranges.iter()
                .map(|(start, n)| format!("{start}-{}", start + n))
                .collect::<Vec<_>>().join(",");
            let plain = |ranges: &[(u64, u64)]| ranges.iter()
                .flat_map(|(start, n)| *start..=start + n)
                .collect::<BTreeSet<_>>();
            let (list_a, list_b) = (CpuList::parse(&text(&a)).unwrap(), CpuList::parse(&text(&b)).unwrap());
            let (set_a, set_b) = (plain(&a), plain(&b));
            prop_assert_eq!(list_a.members(1000).collect::<BTreeSet<_>>(), set_a.clone());
            prop_assert_eq!(list_a.count(), set_a.len() as u64);
            prop_assert_eq!(list_a.contains_all(&list_b), set_a.is_superset(&set_b));
            prop_assert_eq!(CpuList::parse(&list_a.to_string()).unwrap(), list_a);
        }

        #[test]
        fn never_panics(text in "[-0-9, a]{0,40}") {
            let _ = CpuList::parse(&text);
        }
    }
}
