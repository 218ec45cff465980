//! Reads the content of a request: its `Content-Encoding` is undone, its length and its time are bounded.

use std::io::Write;
use std::time::Duration;

use actix_web::http::header::CONTENT_ENCODING;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{HttpRequest, web};
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt;

use super::problem::Problem;

/// The time in which a whole body must arrive. The server itself bounds only the time of a request's head.
const DEADLINE: Duration = Duration::from_secs(10);

/// So many compressed bytes are decoded at once. Deflate grows at most by a factor of 1,032, so the result stays below 5 MiB.
const STEP: usize = 4 * 1024;

/// Reads content of at most `limit` bytes, counted after decoding.
pub(super) async fn collect(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
) -> Result<Bytes, Problem> {
    let mut content = Content::of(request, payload)?;
    let whole = async {
        let mut bytes = BytesMut::new();
        while let Some(part) = content.next_part().await? {
            if bytes.len() + part.len() > limit {
                return Err(Problem::body_too_large(limit));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes.freeze())
    };
    tokio::time::timeout(DEADLINE, whole).await.unwrap_or_else(|_| {
        Err(Problem::request_timeout(
            "The body did not arrive within 10 seconds.",
        ))
    })
}

/// The content of a request, part by part.
pub(super) struct Content {
    payload: web::Payload,
    gzip: Option<Gzip>,
}

/// Decodes RFC 1952, with several members one after the other.
struct Gzip {
    decoder: MultiGzDecoder<Vec<u8>>,
    /// Compressed bytes that have arrived and are not decoded yet.
    waiting: Bytes,
    /// Whether any byte has arrived.
    begun: bool,
}

impl Content {
    /// The content that `request` announces. Only `gzip` and `identity` are read: RFC 9110, section 8.4.
    pub(super) fn of(request: &HttpRequest, payload: web::Payload) -> Result<Self, Problem> {
        let mut gzip = None;
        for value in request.headers().get_all(CONTENT_ENCODING) {
            let codings = value.to_str().map_err(|_| Problem::unsupported_encoding())?;
            for coding in codings.split(',').map(str::trim) {
                let is_gzip = ["gzip", "x-gzip"]
                    .iter()
                    .any(|name| coding.eq_ignore_ascii_case(name));
                if is_gzip && gzip.is_none() {
                    gzip = Some(Gzip {
                        decoder: MultiGzDecoder::new(Vec::new()),
                        waiting: Bytes::new(),
                        begun: false,
                    });
                } else if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
                    return Err(Problem::unsupported_encoding());
                }
            }
        }
        Ok(Self { payload, gzip })
    }

    /// The next decoded bytes; `None` at the end.
    pub(super) async fn next_part(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            if let Some(gzip) = &mut self.gzip
                && !gzip.waiting.is_empty()
            {
                let part = gzip.step()?;
                if !part.is_empty() {
                    return Ok(Some(part));
                }
                continue;
            }
            let arrived = match self.payload.next().await {
                None => None,
                Some(Ok(bytes)) => Some(bytes),
                Some(Err(_)) => {
                    return Err(Problem::malformed_body("The body could not be read to its end."));
                }
            };
            match (&mut self.gzip, arrived) {
                (None, arrived) => return Ok(arrived),
                (Some(gzip), Some(bytes)) => {
                    gzip.begun |= !bytes.is_empty();
                    gzip.waiting = bytes;
                }
                (Some(gzip), None) => {
                    let rest = gzip.finish()?;
                    self.gzip = None;
                    return Ok(rest);
                }
            }
        }
    }
}

impl Gzip {
    /// Decodes a part of what waits.
    fn step(&mut self) -> Result<Bytes, Problem> {
        let part = self.waiting.split_to(self.waiting.len().min(STEP));
        self.decoder.write_all(&part).map_err(malformed)?;
        Ok(Bytes::from(std::mem::take(self.decoder.get_mut())))
    }

    /// Decodes what is left, and checks that the last member is whole. No content at all is no gzip to be checked.
    fn finish(&mut self) -> Result<Option<Bytes>, Problem> {
        if !self.begun {
            return Ok(None);
        }
        self.decoder.try_finish().map_err(malformed)?;
        let rest = std::mem::take(self.decoder.get_mut());
        Ok((!rest.is_empty()).then(|| Bytes::from(rest)))
    }
}

fn malformed(_: std::io::Error) -> Problem {
    Problem::malformed_body("The body is not valid gzip, or not whole.")
}
