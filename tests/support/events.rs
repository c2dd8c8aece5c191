//! Following a daemon's events.

use serde_json::Value;

use crate::{Client, Streaming};

/// A stream of events.
#[derive(Debug)]
pub struct Events {
    stream: Streaming,
}

impl Client {
    /// Follows `path`, `/events` or one like it.
    ///
    /// # Panics
    /// When it is refused.
    pub fn events(&self, path: &str) -> Events {
        let stream = self.stream("GET", path, &[], b"");
        assert_eq!(stream.status, 200, "GET {path}");
        assert_eq!(stream.header("content-type"), Some("application/json"));
        Events { stream }
    }
}

impl Events {
    /// The number of the newest event when the stream began.
    ///
    /// # Panics
    /// When the head does not say so.
    pub fn began_at(&self) -> u64 {
        let number = self.stream.header("moored-event-number");
        number.expect("in the head").parse().expect("a number")
    }

    /// The next event, which is a chunk of its own as in Docker; `None` at the end.
    ///
    /// # Panics
    /// When none comes in time, or what comes is no whole event.
    pub fn next_event(&mut self) -> Option<Value> {
        let chunk = self.stream.body.piece()?;
        let text = String::from_utf8(chunk).expect("JSON is UTF-8");
        assert!(text.ends_with("}\n"), "{text}");
        Some(serde_json::from_str(&text).expect("one event"))
    }

    /// Events up to one with this action, which is the last of them.
    ///
    /// # Panics
    /// When it does not come.
    pub fn up_to(&mut self, action: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let event = self.next_event().expect("more events");
            let is_last = event["Action"] == action;
            all.push(event);
            if is_last {
                return all;
            }
        }
    }

    /// All that is left of a stream that ends.
    ///
    /// # Panics
    /// As [`Events::next_event`].
    pub fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.next_event()).collect()
    }

    /// Whether nothing is there to be read now.
    ///
    /// # Panics
    /// When the socket fails.
    pub fn is_waiting(&mut self) -> bool {
        self.stream.body.is_waiting()
    }
}
