//! Which ids of the host stand behind those of a user namespace (user_namespaces(7)).

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::limits;

/// A run of ids inside, and the run of the host's that stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    /// The first id outside that is behind it no more.
    fn outside_end(self) -> u64 {
        u64::from(self.outside) + u64::from(self.count)
    }

    fn inside_end(self) -> u64 {
        u64::from(self.inside) + u64::from(self.count)
    }
}

/// The user ids or the group ids of a user namespace: ranges that share no id, in the order of the ids
/// inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<IdRange>", into = "Vec<IdRange>")]
pub struct IdMap(Vec<IdRange>);

/// The kernel takes a map in one write of less than a page.
const KERNEL_TEXT_BYTES_MAX: usize = 4096;

impl IdMap {
    /// The map of these ranges.
    ///
    /// # Errors
    /// 400: no range or more than the kernel takes, an empty one, ids beyond the last, ids that are
    /// in two of them.
    pub fn new(mut ranges: Vec<IdRange>) -> Result<Self> {
        if ranges.is_empty() || ranges.len() > limits::ID_RANGES_MAX {
            return Err(invalid(format_args!(
                "{} ranges: there must be one, and at most {}",
                ranges.len(),
                limits::ID_RANGES_MAX
            )));
        }
        // The last number is no id: -1 means "do not change" in system calls.
        let beyond = |r: &&IdRange| r.inside_end().max(r.outside_end()) > u64::from(u32::MAX);
        if let Some(bad) = ranges.iter().find(|r| r.count == 0) {
            return Err(invalid(format_args!("range {} is empty", shown(*bad))));
        }
        if let Some(bad) = ranges.iter().find(beyond) {
            return Err(invalid(format_args!(
                "range {} goes beyond the last id",
                shown(*bad)
            )));
        }
        ranges.sort_by_key(|r| r.outside);
        overlap(&ranges, |r| u64::from(r.outside), IdRange::outside_end)?;
        ranges.sort_by_key(|r| r.inside);
        overlap(&ranges, |r| u64::from(r.inside), IdRange::inside_end)?;
        let map = Self(ranges);
        if map.kernel_text().len() >= KERNEL_TEXT_BYTES_MAX {
            return Err(invalid(format_args!(
                "its {} ranges are too long a text for the kernel",
                map.0.len()
            )));
        }
        Ok(map)
    }

    /// Its ranges.
    pub fn ranges(&self) -> &[IdRange] {
        &self.0
    }

    /// The host's id behind `inside`.
    pub fn outside(&self, inside: u32) -> Option<u32> {
        let range = self
            .0
            .iter()
            .find(|r| (u64::from(r.inside)..r.inside_end()).contains(&u64::from(inside)))?;
        Some(range.outside + (inside - range.inside))
    }

    /// The id inside that `outside` stands behind.
    pub fn inside(&self, outside: u32) -> Option<u32> {
        let range = self
            .0
            .iter()
            .find(|r| (u64::from(r.outside)..r.outside_end()).contains(&u64::from(outside)))?;
        Some(range.inside + (outside - range.outside))
    }

    /// As `/proc/PID/uid_map` and `gid_map` want it.
    pub fn kernel_text(&self) -> String {
        let mut text = String::new();
        for r in &self.0 {
            writeln!(text, "{} {} {}", r.inside, r.outside, r.count)
                .expect("writing to a string does not fail");
        }
        text
    }
}

fn overlap(
    sorted: &[IdRange],
    begin: impl Fn(&IdRange) -> u64,
    end: impl Fn(IdRange) -> u64,
) -> Result<()> {
    match sorted.windows(2).find(|w| end(w[0]) > begin(&w[1])) {
        Some(w) => Err(invalid(format_args!(
            "ranges {} and {} overlap",
            shown(w[0]),
            shown(w[1])
        ))),
        None => Ok(()),
    }
}

fn shown(range: IdRange) -> String {
    format!("{}:{}:{}", range.inside, range.outside, range.count)
}

fn invalid(why: std::fmt::Arguments<'_>) -> Error {
    Error::invalid(format!("invalid id mapping: {why}"))
}

impl TryFrom<Vec<IdRange>> for IdMap {
    type Error = Error;
    fn try_from(ranges: Vec<IdRange>) -> Result<Self> {
        Self::new(ranges)
    }
}

impl From<IdMap> for Vec<IdRange> {
    fn from(map: IdMap) -> Self {
        map.0
    }
}

/// What stands behind the ids of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    /// Users.
    pub uids: IdMap,
    /// Groups.
    pub gids: IdMap,
}

impl IdMaps {
    /// The host's user and group behind those.
    pub fn outside(&self, uid: u32, gid: u32) -> Option<(u32, u32)> {
        Some((self.uids.outside(uid)?, self.gids.outside(gid)?))
    }
}

/// Which user namespace a container is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UserNamespace {
    /// The daemon's choice: its own, or one with the ids of `userns-remap`.
    #[default]
    Default,
    /// The host's.
    Host,
    /// One of its own, whose ids no other container has.
    Auto {
        /// How many ids.
        count: u32,
    },
    /// One of its own with these ids.
    Mapped(IdMaps),
}

/// Ids of a namespace whose size nobody told: as many as Debian gives a user.
const AUTO_IDS: u32 = 65_536;

impl UserNamespace {
    /// Docker's `host` and nothing; and moored's own words:
    ///
    /// ```text
    /// auto              65,536 ids of its own
    /// auto:size=N       N of them
    /// 0:200000:65536    these: the first inside, the first of the host, how many;
    ///                   several with commas, and `u:` or `g:` in front for users or groups alone
    /// ```
    ///
    /// # Errors
    /// 400, in Docker's words where it is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "" => return Ok(Self::Default),
            "host" => return Ok(Self::Host),
            "auto" => return Ok(Self::Auto { count: AUTO_IDS }),
            _ => {}
        }
        if let Some(size) = text.strip_prefix("auto:size=") {
            return match size.parse() {
                Ok(count @ 1..) => Ok(Self::Auto { count }),
                _ => Err(invalid(format_args!("{size:?} is no number of ids"))),
            };
        }
        if !text.starts_with(|c: char| c.is_ascii_digit() || "ug".contains(c))
            || !text.contains(':')
        {
            return Err(Error::invalid(format!("invalid userns mode: {text}")));
        }
        let (mut uids, mut gids) = (Vec::new(), Vec::new());
        for part in text.split(',') {
            match part.split_once(':') {
                Some(("u", range)) => uids.push(parse_range(range)?),
                Some(("g", range)) => gids.push(parse_range(range)?),
                _ => {
                    uids.push(parse_range(part)?);
                    gids.push(parse_range(part)?);
                }
            }
        }
        let maps = IdMaps {
            uids: IdMap::new(uids)?,
            gids: IdMap::new(gids)?,
        };
        if maps.uids.outside(0).is_none() || maps.gids.outside(0).is_none() {
            // Whoever makes the container becomes its root first.
            return Err(invalid(format_args!("user 0 and group 0 must be in it")));
        }
        Ok(Self::Mapped(maps))
    }
}

fn parse_range(text: &str) -> Result<IdRange> {
    let numbers: Option<Vec<u32>> = text.split(':').map(|n| n.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[inside, outside, count]) => Ok(IdRange {
            inside,
            outside,
            count,
        }),
        _ => Err(invalid(format_args!(
            "{text:?} is no range: it must be the first id inside, the first of the host and how \
             many, as in 0:200000:65536"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inside: u32, outside: u32, count: u32) -> IdRange {
        IdRange {
            inside,
            outside,
            count,
        }
    }

    fn refused(ranges: &[(u32, u32, u32)]) -> String {
        let ranges = ranges.iter().map(|r| range(r.0, r.1, r.2)).collect();
        IdMap::new(ranges).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_map_has_no_id_twice() {
        let map = IdMap::new(vec![range(10, 500, 5), range(0, 1000, 10)]).unwrap();
        assert_eq!(map.kernel_text(), "0 1000 10\n10 500 5\n");
        assert_eq!(map.outside(9), Some(1009));
        assert_eq!(map.outside(14), Some(504));
        assert_eq!(map.outside(15), None);
        let overlap = "invalid id mapping: ranges 0:1000:10 and 9:5:5 overlap";
        assert_eq!(refused(&[(9, 5, 5), (0, 1000, 10)]), overlap);
        let overlap = "invalid id mapping: ranges 0:1000:10 and 20:1009:1 overlap";
        assert_eq!(refused(&[(0, 1000, 10), (20, 1009, 1)]), overlap);
        assert_eq!(
            refused(&[(0, 1, 0)]),
            "invalid id mapping: range 0:1:0 is empty"
        );
        assert!(refused(&[]).contains("0 ranges"));
        assert!(refused(&[(0, u32::MAX, 1)]).contains("beyond the last id"));
        assert!(refused(&[(2, 1, u32::MAX)]).contains("beyond the last id"));
        let many: Vec<_> = (0..341).map(|n| (n, n, 1)).collect();
        assert!(refused(&many).contains("341 ranges"));
        let long: Vec<_> = (0..340).map(|n| (n, n + 4_000_000_000, 1)).collect();
        assert!(refused(&long).contains("too long a text"));
    }

    #[test]
    fn what_is_no_map_does_not_come_from_the_ledger() {
        let map = IdMap::new(vec![range(0, 1000, 10)]).unwrap();
        assert_eq!(IdMap::try_from(Vec::from(map.clone())).unwrap(), map);
        assert!(IdMap::try_from(Vec::new()).is_err());
    }

    #[test]
    fn words_of_user_namespaces() {
        let parse = |text| UserNamespace::parse(text).unwrap();
        assert_eq!(parse(""), UserNamespace::Default);
        assert_eq!(parse("host"), UserNamespace::Host);
        assert_eq!(parse("auto"), UserNamespace::Auto { count: 65_536 });
        assert_eq!(parse("auto:size=7"), UserNamespace::Auto { count: 7 });
        let UserNamespace::Mapped(maps) = parse("0:100:2,g:2:50:1,u:7:1:3") else {
            panic!("mapped");
        };
        assert_eq!(maps.uids.kernel_text(), "0 100 2\n7 1 3\n");
        assert_eq!(maps.gids.kernel_text(), "0 100 2\n2 50 1\n");
        for (bad, said) in [
            ("private", "invalid userns mode: private"),
            ("container:x", "invalid userns mode: container:x"),
            ("auto:size=0", "\"0\" is no number of ids"),
            ("auto:size=", "\"\" is no number of ids"),
            ("0:1", "\"0:1\" is no range"),
            ("0:1:2:3", "is no range"),
            ("0:1:2,", "\"\" is no range"),
            ("u:0:1:2", "0 ranges"),
            ("0:-1:2", "is no range"),
            ("1:1:2", "user 0 and group 0 must be in it"),
            ("u:0:1:2,g:1:1:2", "user 0 and group 0 must be in it"),
        ] {
            let error = UserNamespace::parse(bad).unwrap_err();
            assert!(error.message().contains(said), "{bad}: {error}");
        }
    }
}
