//! What conmon says on its sync pipe. Pure.
//!
//! Exactly `{"data": N}` or `{"data": N, "message": "..."}` with `--api-version`; a positive N is
//! the pid of the container's first process. The end of the pipe without a word is a failure of
//! its own and is not seen here.

use model::Pid;
use serde::Deserialize;

/// Characters of an unreadable packet shown in an error.
const SHOWN_MAX: usize = 200;

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The container is created; this is its first process.
    Created(Pid),
    /// The runtime failed; conmon may know its words.
    Failed(Option<String>),
    /// Not what conmon says.
    Unreadable(String),
}

/// Reads one packet, whatever is in it.
pub(crate) fn parse(packet: &[u8]) -> Report {
    #[derive(Deserialize)]
    struct Message {
        data: i64,
        message: Option<String>,
    }
    // conmon escapes quotes and control characters, but passes on bytes that are not UTF-8.
    let text = String::from_utf8_lossy(packet);
    let unreadable = || Report::Unreadable(text.trim().chars().take(SHOWN_MAX).collect());
    let Ok(message) = serde_json::from_str::<Message>(&text) else {
        return unreadable();
    };
    if message.data < 0 {
        let said = message.message.filter(|m| !m.trim().is_empty());
        return Report::Failed(said);
    }
    Pid::new(message.data).map_or_else(unreadable, Report::Created)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rows_of_the_protocol() {
        let failed = |text: &str| Report::Failed(Some(text.to_owned()));
        assert_eq!(
            parse(b"{\"data\": 3350}\n"),
            Report::Created(Pid::new(3350).unwrap())
        );
        assert_eq!(
            parse(b"{\"data\": -1, \"message\": \"a \\\"b\\\"\\n\"}\n"),
            failed("a \"b\"\n")
        );
        assert_eq!(
            parse(b"{\"data\": -1, \"message\": \"\\/etc\"}\n"),
            failed("/etc")
        );
        assert_eq!(parse(b"{\"data\": -127}\n"), Report::Failed(None));
        assert_eq!(
            parse(b"{\"data\": -1, \"message\": \" \"}"),
            Report::Failed(None)
        );
        assert_eq!(
            parse(b"{\"data\": -1, \"message\": \"\xff\"}"),
            failed("\u{fffd}")
        );
    }

    #[test]
    fn what_conmon_never_says_is_unreadable() {
        for packet in [
            "",
            "{",
            "{}",
            "{\"data\": 0}",
            "{\"data\": 99999999}",
            "{\"data\": 1}{\"data\": 2}",
            "{\"data\": 1.5}",
        ] {
            assert!(
                matches!(parse(packet.as_bytes()), Report::Unreadable(_)),
                "{packet}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_packet_panics_and_errors_stay_short(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Report::Unreadable(shown) = parse(&packet) {
                prop_assert!(shown.chars().count() <= SHOWN_MAX);
            }
        }

        #[test]
        fn every_pid_and_message_survives_the_trip(pid in 1_i64..=4_194_304, said in "\\PC{1,100}") {
            let packet = format!("{{\"data\": {pid}}}\n");
            prop_assert_eq!(parse(packet.as_bytes()), Report::Created(Pid::new(pid).unwrap()));
            let message = serde_json::to_string(&format!("x{said}")).unwrap();
            let packet = format!("{{\"data\": -1, \"message\": {message}}}\n");
            prop_assert_eq!(parse(packet.as_bytes()), Report::Failed(Some(format!("x{said}"))));
        }
    }
}
