//! What crawlers and browsers ask for by themselves.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::{HttpResponse, Responder};

use super::openapi::Operation;

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
