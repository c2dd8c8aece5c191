//! One connection: writes a request, reads a response's head, lines and bytes. Checks the framing;
//! knows nothing of what is asked.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// The head of a response.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
    Done,
}

/// A stream and what was read from it beyond what was asked for.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    pub(crate) ahead: Vec<u8>,
}

impl Head {
    pub(crate) fn framing(&self, method: &str) -> Framing {
        let bodiless = method == "HEAD" || matches!(self.status, 100..200 | 204 | 304);
        let chunked = find(&self.headers, "Transfer-Encoding") == Some("chunked");
        let length = find(&self.headers, "Content-Length");
        assert!(
            !(chunked && length.is_some()),
            "both chunked and of a length: {self:?}"
        );
        match length {
            _ if bodiless => Framing::Done,
            _ if chunked => Framing::Chunked,
            Some("0") => Framing::Done,
            Some(length) => Framing::Length(length.parse().expect("Content-Length is a number")),
            None => Framing::UntilClose,
        }
    }
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub(crate) fn write_request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: api.moby.localhost\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("a String takes all");
        }
        if !body.is_empty() || method != "GET" {
            write!(head, "Content-Length: {}\r\n", body.len()).expect("a String takes all");
        }
        head.push_str("\r\n");
        // A daemon that refuses early may close before it read everything; its answer counts.
        let _ = self
            .stream
            .write_all(head.as_bytes())
            .and_then(|()| self.stream.write_all(body));
    }

    pub(crate) fn read_head(&mut self, what: &str) -> Head {
        let status_line = self.read_line();
        let mut words = status_line.splitn(3, ' ');
        let status = match (words.next(), words.next()) {
            (Some("HTTP/1.1"), Some(code)) => code.parse().ok(),
            _ => None,
        };
        let Some(status) = status else {
            panic!("{what}: no HTTP response but {status_line:?}");
        };
        let reason = words.next().unwrap_or_default().to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.read_line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("{what}: no header: {line:?}"));
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Head {
            status,
            reason,
            headers,
        }
    }

    /// A line without its CR LF; what there is at the end of the stream.
    pub(crate) fn read_line(&mut self) -> String {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            if !self.fill() {
                return String::from_utf8_lossy(&std::mem::take(&mut self.ahead)).into_owned();
            }
        }
    }

    pub(crate) fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count {
            assert!(self.fill(), "the stream ended inside a chunk");
        }
        self.ahead.drain(..count).collect()
    }

    /// A whole answer: status and body. `None` when the stream ends before it does.
    pub(crate) fn read_answer(&mut self, method: &str) -> Option<(u16, Vec<u8>)> {
        while !self.ahead.windows(4).any(|w| w == b"\r\n\r\n") {
            self.filled()?;
        }
        let head = self.read_head(method);
        let mut body = Vec::new();
        match head.framing(method) {
            Framing::Done => {}
            Framing::Length(count) => body = self.read_whole(count)?,
            Framing::UntilClose => {
                while self.fill() {}
                body = std::mem::take(&mut self.ahead);
            }
            Framing::Chunked => loop {
                while !self.ahead.windows(2).any(|w| w == b"\r\n") {
                    self.filled()?;
                }
                let size = self.read_line();
                let size = usize::from_str_radix(&size, 16).expect("the size of a chunk");
                let chunk = self.read_whole(size + 2)?;
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    break;
                }
            },
        }
        Some((head.status, body))
    }

    fn read_whole(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.ahead.len() < count {
            self.filled()?;
        }
        Some(self.ahead.drain(..count).collect())
    }

    fn filled(&mut self) -> Option<()> {
        self.fill().then_some(())
    }

    /// At least one byte and at most `max`; none at the end of the stream.
    pub(crate) fn read_some(&mut self, max: usize) -> Vec<u8> {
        if self.ahead.is_empty() && !self.fill() {
            return Vec::new();
        }
        let count = self.ahead.len().min(max);
        self.ahead.drain(..count).collect()
    }

    /// Reads more; false at the end. A reset is an end too: the tests tell them apart by content.
    pub(crate) fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(count) => {
                    self.ahead.extend_from_slice(&buffer[..count]);
                    return count > 0;
                }
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return false,
                // With a time-out a read is not begun again by the kernel.
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => panic!("reading the response (so far {:?}): {e}", self.shown()),
            }
        }
    }

    /// Whether a read would block now.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.stream
            .set_nonblocking(true)
            .expect("the socket is open");
        let mut buffer = [0; 16 << 10];
        let got = self.stream.read(&mut buffer);
        self.stream
            .set_nonblocking(false)
            .expect("the socket is open");
        match got {
            Ok(count) => {
                self.ahead.extend_from_slice(&buffer[..count]);
                false
            }
            Err(e) => e.kind() == std::io::ErrorKind::WouldBlock && self.ahead.is_empty(),
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.ahead).into_owned()
    }
}

/// A header, by its name in any case.
pub(crate) fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}
