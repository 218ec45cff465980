//! Documents that are the same for everybody: rendered once, compressed once, and not sent to a client that has them already.

use std::sync::{Arc, OnceLock};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, EntityTag, VARY};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::{compress, conditions};
use crate::service::{Error, Rendering};

/// The base URLs for which a page is kept. Where `BASE_URL` is unset, a client names the base URL in `Host`.
const BASES: usize = 8;

/// A document in both forms that it is sent in. Clones share the bytes.
#[derive(Debug, Clone)]
pub(super) struct Document {
    kind: &'static str,
    plain: Bytes,
    gzip: Bytes,
    digest: String,
}

impl Document {
    fn new(kind: &'static str, plain: impl Into<Bytes>) -> Self {
        let plain = plain.into();
        Self {
            kind,
            gzip: compress::gzip(&plain).expect("a vector takes every byte").into(),
            digest: digest(&[&plain]),
            plain,
        }
    }

    /// The document for `request`: compressed for a client that takes gzip, and 304 for one that has it.
    pub(super) fn answer(&self, request: &HttpRequest, caching: &'static str) -> HttpResponse {
        let compressed = compress::is_accepted(request);
        let tag = if compressed {
            EntityTag::new_strong(format!("{}-gzip", self.digest))
        } else {
            EntityTag::new_strong(self.digest.clone())
        };
        let (mut response, known) = conditions::tagged(request, tag);
        response
            .insert_header((CACHE_CONTROL, caching))
            .insert_header((VARY, "Accept-Encoding"));
        if known {
            return response.finish();
        }
        response.content_type(self.kind);
        if compressed {
            response.insert_header((CONTENT_ENCODING, "gzip"));
            return response.body(self.gzip.clone());
        }
        response.body(self.plain.clone())
    }
}

/// The documents that were rendered so far.
#[derive(Debug)]
pub struct Documents {
    rendering: Rendering,
    openapi: Arc<OnceLock<Document>>,
    docs: Arc<Cache<String, Document>>,
}

impl Documents {
    /// Nothing is rendered until it is asked for.
    #[must_use]
    pub fn new(rendering: Rendering) -> Self {
        Self {
            rendering,
            openapi: Arc::default(),
            docs: Arc::new(Cache::new(BASES)),
        }
    }

    /// The description of the API, whose text is `text`. [`Error::Overloaded`] if it has to be rendered and too many wait.
    pub(super) async fn openapi(&self, text: &'static str) -> Result<Document, Error> {
        if let Some(rendered) = self.openapi.get() {
            return Ok(rendered.clone());
        }
        let openapi = Arc::clone(&self.openapi);
        let render = move || {
            openapi
                .get_or_init(|| Document::new("application/json", text))
                .clone()
        };
        self.rendering.run(render).await
    }

    /// The page `/docs` for the short URLs that begin with `base`, made by `page`. Errors as above.
    pub(super) async fn docs(&self, base: String, page: fn(&str) -> String) -> Result<Document, Error> {
        if let Some(rendered) = self.docs.get(&base) {
            return Ok(rendered);
        }
        let docs = Arc::clone(&self.docs);
        let render = move || {
            // Another request may have rendered it while this one waited for its turn.
            docs.get(&base).unwrap_or_else(|| {
                let rendered = Document::new("text/html; charset=utf-8", page(&base));
                docs.insert(base, rendered.clone());
                rendered
            })
        };
        self.rendering.run(render).await
    }
}

/// 16 hexadecimal digits that change with any of `parts`.
pub(super) fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}
