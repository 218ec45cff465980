//! `GET /assets/...`: the style sheet, the script and the icon. Their names change with what is in them, so that
//! browsers may keep them for ever.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_ENCODING, VARY};
use actix_web::{HttpRequest, HttpResponse};

use super::super::compress;
use super::super::problem::Problem;

/// A file.
struct Asset {
    /// What is in it.
    body: &'static str,
    /// What it is.
    kind: &'static str,
    /// The ending of its name.
    ending: &'static str,
    /// The other part of its name.
    print: u64,
}

const STYLE: Asset = Asset {
    body: include_str!("style.css"),
    kind: "text/css; charset=utf-8",
    ending: "css",
    print: fingerprint(include_str!("style.css")),
};
const SCRIPT: Asset = Asset {
    body: include_str!("script.js"),
    kind: "text/javascript; charset=utf-8",
    ending: "js",
    print: fingerprint(include_str!("script.js")),
};
const ICON: Asset = Asset {
    body: include_str!("icon.svg"),
    kind: "image/svg+xml",
    ending: "svg",
    print: fingerprint(include_str!("icon.svg")),
};

const ALL: [Asset; 3] = [STYLE, SCRIPT, ICON];

/// Their bodies, compressed once.
static GZIP: LazyLock<[Option<Vec<u8>>; 3]> =
    LazyLock::new(|| ALL.map(|asset| compress::gzip(asset.body.as_bytes()).ok()));

/// FNV-1a, by the compiler: <https://www.rfc-editor.org/rfc/rfc9923.html>.
const fn fingerprint(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

impl Asset {
    fn path(&self) -> String {
        format!("/assets/{:016x}.{}", self.print, self.ending)
    }
}

/// The path of the style sheet.
pub(super) fn style() -> String {
    STYLE.path()
}

/// The path of the script.
pub(super) fn script() -> String {
    SCRIPT.path()
}

/// The path of the icon.
pub(super) fn icon() -> String {
    ICON.path()
}

/// Serves a file.
pub(in crate::http) async fn serve(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let place = ALL.iter().position(|asset| asset.path() == request.path());
    let place = place.ok_or_else(Problem::not_found)?;
    let asset = &ALL[place];
    let mut response = HttpResponse::Ok();
    response
        .content_type(asset.kind)
        .insert_header((CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .insert_header((VARY, "Accept-Encoding"));
    let compressed = GZIP[place].as_ref().filter(|_| compress::is_accepted(&request));
    Ok(match compressed {
        Some(gzip) => response
            .insert_header((CONTENT_ENCODING, "gzip"))
            .body(gzip.as_slice()),
        None => response.body(asset.body),
    })
}
