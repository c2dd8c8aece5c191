//! A small blocking HTTP/1.1 client for unix sockets that hides nothing: exact status line,
//! headers, chunk borders and raw bytes. It checks the framing of what it reads, as a strict
//! client would; it decides nothing about Docker.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::DEADLINE;
use crate::connection::{Connection, Framing, find};
use crate::hijack::Hijacked;

/// Talks to one socket; each request has a connection of its own unless said otherwise.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Response {
    /// `GET /_ping`, for messages.
    pub request: String,
    /// The status code.
    pub status: u16,
    /// Headers as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
}

/// What became of a request to a daemon that may die on it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The status code.
    pub status: u16,
    /// The body.
    pub text: String,
}

/// A connection for one request after the other, to a daemon that may die on any of them.
#[derive(Debug)]
pub struct Kept {
    connection: Connection,
}

/// A response whose body is still to be read.
#[derive(Debug)]
pub struct Streaming {
    /// The status code.
    pub status: u16,
    /// Headers as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
}

/// A body being read.
#[derive(Debug)]
pub struct Body {
    connection: Connection,
    framing: Framing,
}

impl Kept {
    /// `None` when there was no whole answer. Errors are Docker's: JSON with a message.
    ///
    /// # Panics
    /// When one is not, and when nothing comes.
    pub fn attempt(&mut self, method: &str, path: &str, body: &Value) -> Option<Attempt> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let json = [("Content-Type", "application/json")];
        self.connection
            .write_request(method, path, &json, body.as_bytes());
        let (status, body) = self.connection.read_answer(method)?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status >= 400 {
            let said: Value = serde_json::from_str(&text).unwrap_or_default();
            assert!(said["message"].is_string(), "{method} {path}: {text}");
        }
        Some(Attempt { status, text })
    }
}

impl Client {
    /// A client of the daemon behind `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A bare connection with a read time-out of [`DEADLINE`].
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(stream)
    }

    /// Whether the daemon answers a ping now; one that listens and then gives up does not.
    pub fn answers(&self) -> bool {
        let Ok(mut stream) = self.connect() else {
            return false;
        };
        let mut said = Vec::new();
        let ping = b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n";
        let asked = stream
            .write_all(ping)
            .and_then(|()| stream.read_to_end(&mut said));
        asked.is_ok() && said.starts_with(b"HTTP/1.1 200 ")
    }

    /// A request to a daemon that may die on it: `None` when there was no whole answer.
    pub fn attempt(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Option<Attempt> {
        let mut stream = self.connect().ok()?;
        // HTTP/1.0 is answered without chunks.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: d\r\nContent-Type: {kind}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said).ok()?;
        let head_end = said.windows(4).position(|w| w == b"\r\n\r\n")?;
        let status = std::str::from_utf8(said.get(9..12)?).ok()?.parse().ok()?;
        Some(Attempt {
            status,
            text: String::from_utf8_lossy(&said[head_end + 4..]).into_owned(),
        })
    }

    /// A connection that is kept.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn keep(&self) -> Kept {
        let stream = self.connect().expect("the daemon listens");
        let connection = Connection::new(stream);
        Kept { connection }
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    /// `POST path` without a body.
    pub fn post(&self, path: &str) -> Response {
        self.send("POST", path, &[], b"")
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> Response {
        self.send("DELETE", path, &[], b"")
    }

    /// `POST path` with JSON.
    pub fn post_json(&self, path: &str, body: &Value) -> Response {
        let body = body.to_string();
        let json = [("Content-Type", "application/json")];
        self.send("POST", path, &json, body.as_bytes())
    }

    /// Any request, its whole response.
    ///
    /// # Panics
    /// When there is no well-formed response in time.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let mut streaming = self.stream(method, path, headers, body);
        let body = streaming.body.read_to_end();
        Response {
            request: format!("{method} {path}"),
            status: streaming.status,
            headers: streaming.headers,
            body,
        }
    }

    /// Any request, its response as soon as the head is there.
    ///
    /// # Panics
    /// When there is no well-formed head in time.
    pub fn stream(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Streaming {
        let what = format!("{method} {path}");
        let stream = self
            .connect()
            .unwrap_or_else(|e| panic!("{what}: connecting to {}: {e}", self.socket.display()));
        let mut connection = Connection::new(stream);
        let mut all = vec![("Connection", "close")];
        all.extend_from_slice(headers);
        connection.write_request(method, path, &all, body);
        let head = connection.read_head(&what);
        let framing = head.framing(method);
        Streaming {
            status: head.status,
            headers: head.headers,
            body: Body {
                connection,
                framing,
            },
        }
    }

    /// A request that turns the connection into a raw stream, with `Upgrade: tcp` or the older
    /// way without it. The response may still be a refusal: see [`Hijacked::status`].
    ///
    /// # Panics
    /// When there is no well-formed head in time.
    pub fn hijack(&self, path: &str, upgrade: bool) -> Hijacked {
        self.hijack_with(path, "text/plain", b"", upgrade)
    }

    /// The same with a JSON body, as an exec is started.
    ///
    /// # Panics
    /// When there is no well-formed head in time.
    pub fn hijack_json(&self, path: &str, body: &Value, upgrade: bool) -> Hijacked {
        let body = body.to_string();
        self.hijack_with(path, "application/json", body.as_bytes(), upgrade)
    }

    fn hijack_with(&self, path: &str, kind: &str, body: &[u8], upgrade: bool) -> Hijacked {
        let what = format!("POST {path}");
        let stream = self
            .connect()
            .unwrap_or_else(|e| panic!("{what}: connecting to {}: {e}", self.socket.display()));
        let mut connection = Connection::new(stream);
        let mut headers = vec![("Content-Type", kind)];
        if upgrade {
            headers.extend([("Connection", "Upgrade"), ("Upgrade", "tcp")]);
        }
        connection.write_request("POST", path, &headers, body);
        let head = connection.read_head(&what);
        Hijacked::new(head, connection)
    }
}

impl Response {
    /// Fails the test unless the status is this one; gives the response back for more.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.request, self.text());
        self
    }

    /// Fails the test unless this is Docker's error with that status and message.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect_error(self, status: u16, message: &str) {
        let said = self.error(status);
        assert_eq!(said, message);
    }

    /// The message of an error with that status, after checking its form: exact content type,
    /// one `message`, one line feed at the end.
    ///
    /// # Panics
    /// When the status or the form is another.
    #[track_caller]
    pub fn error(self, status: u16) -> String {
        let this = self.expect(status);
        assert_eq!(
            this.header("Content-Type"),
            Some("application/json"),
            "{}",
            this.request
        );
        let text = this.text();
        assert!(text.ends_with("}\n"), "{}: {text:?}", this.request);
        let json = this.json();
        let object = json.as_object().expect("an error is an object");
        assert_eq!(object.len(), 1, "{}: {text}", this.request);
        object["message"]
            .as_str()
            .expect("the message is text")
            .to_owned()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{}: {e}: {}", self.request, self.text()))
    }

    /// A header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

impl Streaming {
    /// A header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

impl Body {
    /// The next chunk of a chunked body, or the next bytes of another; `None` at its end.
    ///
    /// # Panics
    /// When the framing is broken or nothing comes in time.
    pub fn piece(&mut self) -> Option<Vec<u8>> {
        match self.framing {
            Framing::Done => None,
            Framing::Chunked => self.next_chunk(),
            Framing::Length(left) => {
                let bytes = self.connection.read_some(left);
                assert!(!bytes.is_empty(), "the body ended {left} bytes early");
                self.framing = match left - bytes.len() {
                    0 => Framing::Done,
                    left => Framing::Length(left),
                };
                Some(bytes)
            }
            Framing::UntilClose => {
                let bytes = self.connection.read_some(usize::MAX);
                if bytes.is_empty() {
                    self.framing = Framing::Done;
                    return None;
                }
                Some(bytes)
            }
        }
    }

    fn next_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.connection.read_line();
        let size = usize::from_str_radix(&line, 16)
            .unwrap_or_else(|_| panic!("not a chunk size: {line:?}"));
        let chunk = self.connection.read_exactly(size);
        assert_eq!(self.connection.read_line(), "", "after a chunk");
        if size == 0 {
            self.framing = Framing::Done;
            return None;
        }
        Some(chunk)
    }

    /// All that is left.
    ///
    /// # Panics
    /// As [`Body::piece`].
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(more) = self.piece() {
            all.extend(more);
        }
        all
    }

    /// Whether the body ended.
    pub fn is_done(&self) -> bool {
        self.framing == Framing::Done
    }

    /// Whether nothing is there to be read now: the response waits.
    ///
    /// # Panics
    /// When the socket fails.
    pub fn is_waiting(&mut self) -> bool {
        self.connection.is_idle()
    }
}

/// `path?k=v&...` with the values percent-encoded.
pub fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut whole = path.to_owned();
    for (n, (key, value)) in pairs.iter().enumerate() {
        whole.push(if n == 0 { '?' } else { '&' });
        whole.push_str(key);
        whole.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                whole.push(char::from(byte));
            } else {
                write!(whole, "%{byte:02X}").expect("a String takes all");
            }
        }
    }
    whole
}
