//! The parameters of a request: those of the address, and over them those of the body, as a form or in parts.

use std::collections::BTreeMap;
use std::convert::Infallible;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use futures_util::stream;
use multer::{Multipart, parse_boundary};
use sha2::{Digest, Sha256};

use crate::http::problem::Problem;
use crate::http::{body, payload};

/// The parameters by name. One that is not there is empty, as PHP's programs see it.
pub(super) struct Parameters {
    values: BTreeMap<String, String>,
    /// SHA-256 of all that was sent.
    sent: [u8; 32],
}

impl Parameters {
    /// Reads the parameters of a request. What is no form has none.
    pub(super) async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Self, Problem> {
        let body = payload::collect(request, payload, body::LINK_LIMIT).await?;
        let mut values: BTreeMap<String, String> = pairs(request.query_string().as_bytes());
        let kind = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        let sent = Sha256::new()
            .chain_update(request.query_string())
            .chain_update([0])
            .chain_update(&body)
            .finalize()
            .into();
        match parse_boundary(kind) {
            Ok(boundary) => values.extend(parts(body, &boundary).await?),
            Err(_) => values.extend(pairs(&body)),
        }
        Ok(Self { values, sent })
    }

    /// The parameter called `name`, without spaces round it.
    pub(super) fn get(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |value| value.trim())
    }

    /// What stands for the request as a whole.
    pub(super) fn sent(&self) -> [u8; 32] {
        self.sent
    }
}

fn pairs(text: &[u8]) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(text)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// The parts of a body that is whole already.
async fn parts(body: web::Bytes, boundary: &str) -> Result<BTreeMap<String, String>, Problem> {
    let malformed = |_| Problem::malformed_body("The body is not valid multipart/form-data.");
    let mut parts = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
    let mut values = BTreeMap::new();
    while let Some(part) = parts.next_field().await.map_err(malformed)? {
        if let Some(name) = part.name().map(str::to_owned) {
            values.insert(name, part.text().await.map_err(malformed)?);
        }
    }
    Ok(values)
}
