//! What a container says of itself by sd_notify(3).

use serde::{Deserialize, Serialize};

/// The longest status that is kept, in bytes.
const STATUS_BYTES_MAX: usize = 1024;

/// What a container that speaks sd_notify has said in this run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// It is ready (`READY=1`), and is not reloading or stopping.
    pub ready: bool,
    /// What it does (`STATUS=`), in its own words.
    pub status: String,
}

impl Readiness {
    /// Takes in a message: assignments, one a line (sd_notify(3)); what is not known is passed over.
    #[must_use]
    pub fn after(&self, message: &[u8]) -> Self {
        let mut next = self.clone();
        for line in String::from_utf8_lossy(message).lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => next.ready = true,
                Some(("RELOADING" | "STOPPING", "1")) => next.ready = false,
                Some(("STATUS", status)) => next.status = shortened(status).to_owned(),
                _ => {}
            }
        }
        next
    }
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(STATUS_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_sd_notify() {
        let said = |texts: &[&str]| {
            let start = Readiness::default();
            let texts = texts.iter();
            let end = texts.fold(start, |r, text| r.after(text.as_bytes()));
            (end.ready, end.status)
        };
        assert_eq!(said(&["READY=1"]), (true, String::new()));
        assert_eq!(
            said(&["STATUS=up=1\nREADY=1\nMAINPID=7"]),
            (true, "up=1".into())
        );
        assert_eq!(
            said(&["READY=1", "RELOADING=1\nSTATUS=x"]),
            (false, "x".into())
        );
        assert!(said(&["READY=1", "RELOADING=1", "READY=1"]).0);
        assert!(!said(&["READY=1", "STOPPING=1"]).0);
        assert_eq!(
            said(&["READY=0", "READY", "WATCHDOG=1", "\u{0}", "=", ""]),
            (false, String::new())
        );
        let long = format!("STATUS={}é", "x".repeat(STATUS_BYTES_MAX - 1));
        assert_eq!(said(&[&long]).1, "x".repeat(STATUS_BYTES_MAX - 1));
        assert!(Readiness::default().after(b"STATUS=\xff\nREADY=1").ready);
    }
}
