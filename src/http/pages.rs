//! The few pages that need no link: home, robots, icon, and problems for people.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::{HttpResponse, Responder};

use super::openapi::Operation;

/// What a page of ours may load: its own style, nothing else.
pub(super) const SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem;\
     color:#222;background:#fff}small{color:#555}\
     @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}small{color:#aaa}}";

/// A page. Every text in it is one of ours: nothing that a client sent.
fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>"
    )
}

/// The page of a problem. Its length depends on the problem alone: a request id is always as long.
pub(super) fn problem(title: &str, detail: &str, request_id: &str) -> String {
    page(
        title,
        &format!("<p>{detail}</p><p><small>Request {request_id}</small></p>"),
    )
}

/// `GET /`
pub(super) async fn home() -> impl Responder {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .body(page("Curtail", "<p>A URL shortener runs here.</p>"))
}

/// `GET /robots.txt`: crawlers are welcome to follow short links, and to nothing else.
pub(super) async fn robots() -> impl Responder {
    HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .insert_header((CACHE_CONTROL, "public, max-age=86400"))
        .body("User-agent: *\nDisallow: /api/\nDisallow: /app/\n")
}

/// `GET /favicon.ico`: browsers ask for it with every page; there is none.
pub(super) async fn favicon() -> impl Responder {
    HttpResponse::NoContent()
        .insert_header((CACHE_CONTROL, "public, max-age=86400"))
        .finish()
}

pub(super) fn described() -> [Operation; 3] {
    let page = |path, id, summary| Operation::new("GET", path, id, summary).group("visitors");
    [
        page("/", "home", "The front page").answers_any(StatusCode::OK, "text/html", "A page"),
        page("/robots.txt", "robots", "What crawlers may read").answers_any(
            StatusCode::OK,
            "text/plain",
            "The rules",
        ),
        page("/favicon.ico", "favicon", "The icon, which there is none of")
            .answers_nothing(StatusCode::NO_CONTENT, "There is none"),
    ]
}
