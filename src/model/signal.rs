//! Signals by name and number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A Linux signal number, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Signal(u8);

/// Names as moby's `signal` package spells them, without `SIG`. The numbers are those of every
/// architecture but alpha, mips, parisc and sparc, which this daemon does not run on.
const NAMES: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    /// SIGTERM, the stop signal of a container that names no other.
    pub const TERM: Self = Self(15);
    /// SIGHUP, by which a server reads its files again.
    pub const HUP: Self = Self(1);
    /// SIGKILL.
    pub const KILL: Self = Self(9);

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The name with its `SIG` prefix, or the number where there is none.
    pub fn name(self) -> String {
        match NAMES.iter().find(|(_, n)| *n == self.0) {
            Some((name, _)) => format!("SIG{name}"),
            None => self.0.to_string(),
        }
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self::TERM
    }
}

impl FromStr for Signal {
    type Err = Error;

    /// `KILL`, `SIGKILL`, `sigkill`, `9`, `RTMIN+3`. The message for the rest is Docker's.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            let shown: String = text.chars().take(64).collect();
            Error::invalid(format!("invalid signal: {shown}"))
        };
        if let Ok(number) = text.parse::<u8>() {
            return if (1..=RTMAX).contains(&number) {
                Ok(Self(number))
            } else {
                Err(invalid())
            };
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = NAMES.iter().find(|(n, _)| *n == name) {
            return Ok(Self(*number));
        }
        let offset = |rest: &str, sign: char| -> Option<u8> {
            if rest.is_empty() {
                Some(0)
            } else {
                rest.strip_prefix(sign)?.parse().ok()
            }
        };
        let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(rest), _) => offset(rest, '+').and_then(|n| RTMIN.checked_add(n)),
            (_, Some(rest)) => offset(rest, '-').and_then(|n| RTMAX.checked_sub(n)),
            _ => None,
        };
        real_time
            .filter(|n| (RTMIN..=RTMAX).contains(n))
            .map(Self)
            .ok_or_else(invalid)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_signals_parse() {
        let cases = [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
        ];
        for (text, number) in cases {
            assert_eq!(text.parse::<Signal>().unwrap().number(), number, "{text}");
        }
    }

    #[test]
    fn rubbish_is_refused_in_dockers_words() {
        for bad in ["", "0", "65", "-1", "SIG", "NOPE", "RTMIN+99", "RTMIN-1"] {
            let e = bad.parse::<Signal>().unwrap_err();
            assert_eq!(e.message(), format!("invalid signal: {bad}"));
        }
    }
}
