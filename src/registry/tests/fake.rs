//! A registry that does what a test says: a server of plain HTTP, one request a connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a client asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Where a `Range` begins.
    pub(crate) fn from(&self) -> usize {
        let range = self.header("range").unwrap_or("bytes=0-");
        let from = range.trim_start_matches("bytes=").trim_end_matches('-');
        from.parse().unwrap()
    }
}

/// What it is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Of the body so many bytes are sent, then the line drops.
    pub(crate) cut: Option<usize>,
    /// The line does not drop then, but nothing more comes.
    pub(crate) stalls: bool,
    /// Nothing comes at all.
    pub(crate) is_mute: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            body: body.into(),
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// `body` as the range that was asked for.
    pub(crate) fn range(asked: &Asked, body: &[u8]) -> Self {
        let from = asked.from();
        if asked.header("range").is_none() {
            return Self::new(200, body);
        }
        let range = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
        Self::new(206, &body[from..]).with("Content-Range", range)
    }
}

/// The server. It ends with the runtime of the test.
pub(crate) struct Fake {
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, seen) = (Arc::new(answer), asked.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, seen) = (answer.clone(), seen.clone());
                tokio::spawn(async move {
                    // A TLS greeting, or a client that left.
                    let Some((asked, stream)) = read(stream).await else {
                        return;
                    };
                    let answer = answer(&asked);
                    seen.lock().unwrap().push(asked);
                    write(stream, answer).await;
                });
            }
        });
        Self { host, asked }
    }

    /// What was asked so far.
    pub(crate) fn all(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// What was asked so far, but whether it is a registry at all.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .filter(|a| a.target != "/v2/")
            .cloned()
            .collect()
    }
}

async fn read(stream: TcpStream) -> Option<(Asked, TcpStream)> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).await.ok()?;
        let line = String::from_utf8(line).ok()?.trim_end().to_owned();
        match (read, line.is_empty()) {
            (0, _) => return None,
            (_, true) => break,
            _ => lines.push(line),
        }
    }
    let mut words = lines.first()?.split(' ');
    let mut asked = Asked {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        ..Asked::default()
    };
    words.next().filter(|v| v.starts_with("HTTP/"))?;
    for line in &lines[1..] {
        let (name, value) = line.split_once(':')?;
        let name = name.to_ascii_lowercase();
        asked.headers.insert(name, value.trim().to_owned());
    }
    if asked.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).await.ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).await.ok()?;
            if size == 0 {
                break;
            }
            asked.body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = asked.header("content-length") {
        asked.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut asked.body).await.ok()?;
    }
    Some((asked, reader.into_inner()))
}

async fn write(mut stream: TcpStream, answer: Answer) {
    if answer.is_mute {
        std::future::pending::<()>().await;
    }
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    let has_length = answer
        .headers
        .iter()
        .any(|(name, _)| *name == "Content-Length");
    if !has_length {
        head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let sent = answer.cut.unwrap_or(answer.body.len());
    // A client that has enough closes the line.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&answer.body[..sent]).await;
    let _ = stream.flush().await;
    if answer.stalls {
        std::future::pending::<()>().await;
    }
}
