//! Compression of answers: gzip (RFC 1952) for what is large and shrinks, if the client accepts it.

use std::future::poll_fn;
use std::io::{self, Write};
use std::pin::Pin;

use actix_web::HttpRequest;
use actix_web::body::{BodySize, BodyStream, BoxBody, MessageBody};
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{
    AcceptEncoding, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, Encoding, Header, HeaderMap,
    HeaderName, HeaderValue, VARY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A smaller body fits into one packet as it is.
const LEAST_BYTES: u64 = 1024;

/// A part of this size is compressed on another thread: it would hold up the redirects on this one for some milliseconds.
const ELSEWHERE_BYTES: usize = 16 * 1024;

/// Whether the client prefers gzip to no coding.
pub(super) fn is_accepted(request: &HttpRequest) -> bool {
    AcceptEncoding::parse(request)
        .ok()
        .and_then(|accept| accept.negotiate([Encoding::gzip(), Encoding::identity()].iter()))
        .is_some_and(|coding| coding == Encoding::gzip())
}

/// Compresses the body of an answer, if that is of use.
pub(super) async fn compressed(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    if !is_of_use(&response) {
        return response;
    }
    let (request, mut response) = response.into_parts();
    response
        .headers_mut()
        .append(VARY, HeaderValue::from_static("Accept-Encoding"));
    if request.method() == Method::HEAD || !is_accepted(&request) || !is_safe(&request, response.headers()) {
        return ServiceResponse::new(request, response);
    }
    let (mut response, body) = response.into_parts();
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.remove(CONTENT_LENGTH);
    let body = match body.try_into_bytes() {
        Ok(bytes) => match whole(bytes).await {
            Ok(bytes) => BoxBody::new(bytes),
            Err(err) => BoxBody::new(BodyStream::new(stream::iter([Err::<Bytes, _>(err)]))),
        },
        Err(body) => BoxBody::new(BodyStream::new(parts(body))),
    };
    ServiceResponse::new(request, response.set_body(body))
}

/// The bytes as gzip.
pub(super) fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn is_of_use(response: &ServiceResponse<BoxBody>) -> bool {
    let (headers, size) = (response.headers(), response.response().body().size());
    let large = match size {
        BodySize::None => false,
        BodySize::Sized(bytes) => bytes >= LEAST_BYTES,
        BodySize::Stream => true,
    };
    large
        && response.status() != StatusCode::PARTIAL_CONTENT
        && !headers.contains_key(CONTENT_ENCODING)
        // A strong tag names these very bytes (RFC 9110, section 8.8.3): what has one compresses itself, or not at all.
        && !headers.contains_key(ETAG)
        && headers.get(CONTENT_TYPE).is_some_and(shrinks)
}

/// Text shrinks, pictures do not.
fn shrinks(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/") || kind.ends_with("json") || kind.ends_with("xml") || kind == "image/svg+xml"
}

/// A page holds the token of its forms beside what was searched for. Another site that
/// makes a browser ask for such pages, and sees their lengths, could guess the token, letter by letter (<https://breachattack.com>): pages that another site
/// asks for are not compressed.
fn is_safe(request: &HttpRequest, headers: &HeaderMap) -> bool {
    let is_page = headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let site = request.headers().get(FETCH_SITE).map(HeaderValue::as_bytes);
    !is_page || matches!(site, Some(b"same-origin" | b"none"))
}

async fn whole(bytes: Bytes) -> io::Result<Vec<u8>> {
    if bytes.len() < ELSEWHERE_BYTES {
        return gzip(&bytes);
    }
    let elsewhere = tokio::task::spawn_blocking(move || gzip(&bytes)).await;
    elsewhere.map_err(io::Error::other)?
}

/// A stream that is compressed part by part.
struct Parts {
    body: BoxBody,
    /// `None` once the last part was given.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

fn parts(body: BoxBody) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let parts = Parts {
        body,
        encoder: Some(encoder),
    };
    stream::try_unfold(parts, |mut parts| async move {
        // What is too small to fill a block of the encoder comes out later.
        while let Some(encoder) = parts.encoder.take() {
            let next = poll_fn(|context| Pin::new(&mut parts.body).poll_next(context)).await;
            let bytes = match next {
                None => encoder.finish()?,
                Some(part) => {
                    let part = part.map_err(|err| io::Error::other(err.to_string()))?;
                    let (encoder, bytes) = step(encoder, part).await?;
                    parts.encoder = Some(encoder);
                    bytes
                }
            };
            if !bytes.is_empty() {
                return Ok(Some((Bytes::from(bytes), parts)));
            }
        }
        Ok(None)
    })
}

async fn step(mut encoder: GzEncoder<Vec<u8>>, part: Bytes) -> io::Result<(GzEncoder<Vec<u8>>, Vec<u8>)> {
    let write = move || {
        encoder.write_all(&part)?;
        let bytes = std::mem::take(encoder.get_mut());
        Ok((encoder, bytes))
    };
    tokio::task::spawn_blocking(write)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use actix_web::HttpResponse;
    use actix_web::http::header::{CONTENT_ENCODING, ETAG};
    use actix_web::test::TestRequest;

    use super::compressed;

    #[actix_web::test]
    async fn what_is_tagged_or_encoded_already_is_left_as_it_is() {
        let coding = async |header: Option<(&'static str, &'static str)>| {
            let request = TestRequest::default().insert_header(("Accept-Encoding", "gzip"));
            let mut response = HttpResponse::Ok();
            response.content_type("application/json");
            if let Some(header) = header {
                response.insert_header(header);
            }
            let response = request.to_srv_response(response.body("x".repeat(4096)));
            let response = compressed(response).await;
            let coding = response.headers().get(CONTENT_ENCODING);
            coding.map(|coding| coding.to_str().unwrap().to_owned())
        };

        assert_eq!(coding(None).await.as_deref(), Some("gzip"));
        assert_eq!(coding(Some((ETAG.as_str(), "\"1\""))).await, None);
        assert_eq!(
            coding(Some(("content-encoding", "br"))).await.as_deref(),
            Some("br")
        );
    }
}
