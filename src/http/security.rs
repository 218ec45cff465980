//! `GET /.well-known/security.txt` (RFC 9116): whom to tell of a fault or of abuse.

use std::fmt::Write;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::{HttpResponse, web};
use jiff::{SignedDuration, Timestamp};

use super::Services;
use super::openapi::Operation;
use super::problem::Problem;

/// How long the page is good for. The RFC asks for less than a year.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(180 * 24);

/// The end of the page changes once a day, not at each request.
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Whom to tell; nothing is here if nobody was named.
pub(super) async fn security_txt(services: web::Data<Services>) -> Result<HttpResponse, Problem> {
    let security = &services.security;
    if security.contacts.is_empty() {
        return Err(Problem::not_found().for_visitor());
    }
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing into a text does not fail.
        let _ = write!(text, "{name}: {value}\r\n");
    };
    for contact in &security.contacts {
        line("Contact", contact);
    }
    line("Expires", &expires(services.clock.now()));
    if let Some(policy) = &security.policy {
        line("Policy", policy);
    }
    if !security.languages.is_empty() {
        line("Preferred-Languages", &security.languages.join(", "));
    }
    if let Some(base) = &services.config.base_url {
        line("Canonical", &base.join(".well-known/security.txt"));
    }
    Ok(HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .insert_header((CACHE_CONTROL, "public, max-age=86400"))
        .body(text))
}

fn expires(now: Timestamp) -> Timestamp {
    let second = now.as_second();
    let today = Timestamp::from_second(second - second.rem_euclid(DAY_SECONDS)).unwrap_or(now);
    today.checked_add(GOOD_FOR).unwrap_or(Timestamp::MAX)
}

pub(super) fn described() -> Operation {
    Operation::new(
        "GET",
        "/.well-known/security.txt",
        "securityTxt",
        "Whom to tell of a fault or of abuse",
    )
    .group("operations")
    .answers_any(StatusCode::OK, "text/plain", "RFC 9116")
    .problems(&["not_found"])
    .for_visitors()
}
