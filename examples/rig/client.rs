//! An HTTP/1.1 client that hides nothing: each failure is told apart, and no request is sent twice in silence.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::proxy::{read, write};

/// When a client loses its patience.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The key of the API.
pub const ADMIN_KEY: &str = "rig-admin-key-rig-admin-key";

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No connection.
    Connect,
    /// The connection ended before a byte of the answer.
    Closed,
    /// The connection ended in the middle of the answer.
    Cut,
    /// Nothing in time.
    Timeout,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends requests to one address, over connections that are kept.
#[derive(Debug)]
pub struct Client {
    pub address: SocketAddr,
    idle: Mutex<Vec<TcpStream>>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            idle: Mutex::default(),
        }
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Result<Answer, Fault> {
        self.send(&get(path)).await
    }

    /// A request of the API with a body of JSON.
    pub async fn api(&self, method: &str, path: &str, body: &str, more: &str) -> Result<Answer, Fault> {
        self.send(&api(method, path, body, more)).await
    }

    /// Sends a request and waits for its answer, at most [`PATIENCE`].
    pub async fn send(&self, request: &str) -> Result<Answer, Fault> {
        timeout(PATIENCE, self.exchange(request))
            .await
            .unwrap_or(Err(Fault::Timeout))
    }

    async fn exchange(&self, request: &str) -> Result<Answer, Fault> {
        let kept = loop {
            let next = self.idle.lock().unwrap().pop();
            match next {
                // One that the server has closed is no connection any more: any client would see that.
                Some(stream) if is_over(&stream) => {}
                other => break other,
            }
        };
        let was_kept = kept.is_some();
        match self.once(kept, request).await {
            // Closed just as the request was sent: a client may send that again, on a connection of its own.
            Err(Fault::Closed) if was_kept => self.once(None, request).await,
            other => other,
        }
    }

    async fn once(&self, kept: Option<TcpStream>, request: &str) -> Result<Answer, Fault> {
        let stream = match kept {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)
                    .await
                    .map_err(|_| Fault::Connect)?;
                let _ = stream.set_nodelay(true);
                stream
            }
        };
        write(&stream, request.as_bytes())
            .await
            .map_err(|_| Fault::Closed)?;
        let answer = read_answer(&stream).await?;
        if !answer
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
        {
            self.idle.lock().unwrap().push(stream);
        }
        Ok(answer)
    }
}

/// Reads one answer.
pub async fn read_answer(stream: &TcpStream) -> Result<Answer, Fault> {
    let mut bytes = Vec::new();
    let end = loop {
        match read(stream).await {
            Some(more) => bytes.extend_from_slice(&more),
            None if bytes.is_empty() => return Err(Fault::Closed),
            None => return Err(Fault::Cut),
        }
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let mut answer = Answer {
        status: 0,
        head: String::from_utf8_lossy(&bytes[..end]).into_owned(),
        body: bytes[end..].to_vec(),
    };
    answer.status = answer
        .head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or(Fault::Cut)?;
    let length = answer
        .header("content-length")
        .and_then(|length| length.parse().ok());
    while answer.body.len() < length.unwrap_or(0) {
        answer.body.extend(read(stream).await.ok_or(Fault::Cut)?);
    }
    Ok(answer)
}

/// Whether the other side has closed.
fn is_over(stream: &TcpStream) -> bool {
    let mut byte = [0];
    !matches!(stream.try_read(&mut byte), Err(err) if err.kind() == std::io::ErrorKind::WouldBlock)
}

pub fn get(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: short.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\r\n"
    )
}

pub fn api(method: &str, path: &str, body: &str, more: &str) -> String {
    format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: short.example\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
