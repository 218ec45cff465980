//! One gRPC call after the other, over one connection: what OTLP needs of <https://grpc.io> and no more.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use h2::client::{Connection, ResponseFuture, SendRequest};
use http::{HeaderMap, HeaderValue, Request, header};
use prost::bytes::{Buf, BufMut, Bytes, BytesMut};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::failure::Failure;
use crate::config;

/// A connection that was idle for this long is not used again: firewalls drop them in silence.
const IDLE: Duration = Duration::from_secs(240);
/// An answer has a few bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// Where calls go.
pub(super) struct Grpc {
    endpoint: Url,
    tls: Option<TlsConnector>,
    /// How long a call may take, with connecting: the caller keeps to it, and the receiver reads it in `grpc-timeout`.
    timeout: Duration,
    open: Option<Open>,
}

/// A connection. It is driven by the calls themselves: between them nothing happens on it.
struct Open {
    requests: SendRequest<Bytes>,
    connection: Connection<Box<dyn Stream>, Bytes>,
    last_used: Instant,
}

/// What is wrong with the certificate's file.
pub(super) fn faults(config: &config::Traces) -> Vec<String> {
    match roots(config) {
        Ok(_) => Vec::new(),
        Err(reason) => vec![format!("OTEL_EXPORTER_OTLP_CERTIFICATE {reason}")],
    }
}

fn roots(config: &config::Traces) -> Result<RootCertStore, &'static str> {
    let mut roots = RootCertStore::empty();
    let Some(file) = &config.certificate else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let certificates = CertificateDer::pem_file_iter(file).map_err(|_| "names a file that cannot be read")?;
    for certificate in certificates {
        let certificate = certificate.map_err(|_| "names a file that is not PEM")?;
        roots
            .add(certificate)
            .map_err(|_| "names a file with a certificate that cannot be used")?;
    }
    if roots.is_empty() {
        return Err("names a file without a certificate");
    }
    Ok(roots)
}

fn tls(config: &config::Traces) -> Option<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots(config).ok()?)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Some(TlsConnector::from(Arc::new(tls)))
}

impl Grpc {
    /// Calls to the endpoint of the settings, if there is one.
    pub(super) fn new(config: &config::Traces) -> Option<Self> {
        let endpoint = config.endpoint.clone()?;
        let tls = match endpoint.scheme() {
            "https" => Some(tls(config)?),
            _ => None,
        };
        Some(Self {
            endpoint,
            tls,
            timeout: config.timeout,
            open: None,
        })
    }

    /// Forgets the connection: the answer to a call that was given up may still be on its way.
    pub(super) fn disconnect(&mut self) {
        self.open = None;
    }

    /// Makes a call, and answers the message that came back.
    pub(super) async fn call(
        &mut self,
        method: &str,
        headers: HeaderMap,
        message: Bytes,
    ) -> Result<Bytes, Failure> {
        let kept = self.open.take().filter(|open| open.last_used.elapsed() < IDLE);
        let reused = kept.is_some();
        let open = match kept {
            Some(open) => open,
            None => self.connect().await?,
        };
        match self.exchange(open, method, &headers, &message).await {
            // Closed meanwhile by the other side, as it may be at any time.
            Err(failure) if reused && failure.passes && self.open.is_none() => {
                let open = self.connect().await?;
                self.exchange(open, method, &headers, &message).await
            }
            result => result,
        }
    }

    async fn connect(&self) -> Result<Open, Failure> {
        let port = self.endpoint.port_or_known_default().unwrap_or(4317);
        let (stream, name) = match self.endpoint.host() {
            Some(Host::Domain(name)) => (
                TcpStream::connect((name, port)).await,
                ServerName::try_from(name.to_owned()).ok(),
            ),
            Some(Host::Ipv4(address)) => {
                let address = std::net::IpAddr::V4(address);
                (TcpStream::connect((address, port)).await, Some(address.into()))
            }
            Some(Host::Ipv6(address)) => {
                let address = std::net::IpAddr::V6(address);
                (TcpStream::connect((address, port)).await, Some(address.into()))
            }
            None => return Err(Failure::lost("the endpoint has no host")),
        };
        let stream = stream.map_err(|err| Failure::lost(format!("it cannot be reached: {err}")))?;
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Stream> = match (&self.tls, name) {
            (Some(tls), Some(name)) => {
                let encrypted = tls.connect(name, stream).await;
                Box::new(encrypted.map_err(|err: io::Error| Failure::lost(format!("TLS failed: {err}")))?)
            }
            (Some(_), None) => return Err(Failure::lost("the endpoint's host cannot have a certificate")),
            (None, _) => Box::new(stream),
        };
        let (requests, connection) = h2::client::handshake(stream).await.map_err(Failure::lost)?;
        Ok(Open {
            requests,
            connection,
            last_used: Instant::now(),
        })
    }

    /// Keeps the connection only if the call came to its end.
    async fn exchange(
        &mut self,
        mut open: Open,
        method: &str,
        headers: &HeaderMap,
        message: &Bytes,
    ) -> Result<Bytes, Failure> {
        let request = self.request(method, headers)?;
        let Open {
            requests, connection, ..
        } = &mut open;
        let answer = async {
            let mut ready = requests.clone().ready().await.map_err(Failure::lost)?;
            let (response, mut body) = ready.send_request(request, false).map_err(Failure::lost)?;
            body.send_data(framed(message), true).map_err(Failure::lost)?;
            read(response).await
        };
        let result = tokio::select! {
            result = answer => result,
            ended = connection => Err(match ended {
                Ok(()) => Failure::lost("the connection was closed"),
                Err(err) => Failure::lost(err),
            }),
        };
        let answer = result?;
        open.last_used = Instant::now();
        self.open = Some(open);
        if answer.status == 0 {
            Ok(answer.message)
        } else {
            Err(Failure::of_status(answer.status, &answer.cause, &answer.details))
        }
    }

    fn request(&self, method: &str, headers: &HeaderMap) -> Result<Request<()>, Failure> {
        let uri = format!("{}{method}", self.endpoint.as_str().trim_end_matches('/'));
        let mut request = Request::post(uri).body(()).map_err(Failure::lost)?;
        let all = request.headers_mut();
        all.insert(header::TE, HeaderValue::from_static("trailers"));
        all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        // A receiver need not work on what is given up.
        all.insert("grpc-timeout", grpc_timeout(self.timeout));
        all.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("curtail/", env!("CARGO_PKG_VERSION"))),
        );
        all.extend(headers.clone());
        Ok(request)
    }
}

/// What came back.
struct Answer {
    status: u16,
    cause: String,
    details: String,
    message: Bytes,
}

async fn read(response: ResponseFuture) -> Result<Answer, Failure> {
    let (head, mut body) = response.await.map_err(Failure::lost)?.into_parts();
    if !head.status.is_success() {
        return Err(Failure::of_http(head.status));
    }
    let mut bytes = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(Failure::lost)?;
        if bytes.len() + part.len() > LONGEST_ANSWER {
            return Err(Failure::lost("the answer is too long"));
        }
        let _ = body.flow_control().release_capacity(part.len());
        bytes.extend_from_slice(&part);
    }
    let trailers = body.trailers().await.map_err(Failure::lost)?;
    // An answer without a message has its status in its head.
    let last = trailers.unwrap_or(head.headers);
    let text = |name: &str| last.get(name).and_then(|value| value.to_str().ok());
    let status = text("grpc-status")
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| Failure::lost("the answer is not gRPC"))?;
    Ok(Answer {
        status,
        cause: text("grpc-message").unwrap_or_default().to_owned(),
        details: text("grpc-status-details-bin").unwrap_or_default().to_owned(),
        message: unframed(bytes),
    })
}

/// The time of a call, as gRPC writes it.
fn grpc_timeout(timeout: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("{}m", timeout.as_millis())).expect("digits are ASCII")
}

/// A message on its way: not compressed, its length, itself.
fn framed(message: &Bytes) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(message);
    frame.freeze()
}

fn unframed(mut frame: BytesMut) -> Bytes {
    frame.advance(frame.len().min(5));
    frame.freeze()
}

impl fmt::Debug for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grpc")
            .field("endpoint", &self.endpoint.as_str())
            .field("connected", &self.open.is_some())
            .finish_non_exhaustive()
    }
}
