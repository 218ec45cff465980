//! The API's description: an OpenAPI 3.1 document that is made from the code.
//!
//! Each handler describes its operation beside itself, in a function `described`; [`operations`] lists them.

mod operation;
mod problems;
mod types;

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Paths;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Server, Tag};

pub(super) use operation::Operation;
pub(super) use types::{number, text, word};

use super::problem::Problem;
use super::{Services, api, pages, probes, redirect, security, ui, yourls};

/// Every operation that the service has.
fn operations() -> Vec<Operation> {
    let mut all = vec![
        api::create::described(),
        api::bulk::described(),
        api::list::described(),
        api::read::described(),
        api::update::described(),
        api::delete::described(),
        api::disable::described(),
        api::stats::described(),
        api::export::described(),
        api::import::described(),
        api::keys_create::described(),
        api::keys_list::described(),
        api::keys_revoke::described(),
        api::audit::described(),
        api::log_level::show_described(),
        api::log_level::change_described(),
        redirect::described(),
        security::described(),
        described(),
    ];
    all.extend(ui::described());
    all.extend(yourls::described());
    all.extend(pages::described());
    all.extend(probes::described());
    all
}

const ABOUT: &str = "A URL shortener. Every error of a request that could be read is `application/problem+json` (RFC 9457) \
with a stable `code`; a visitor's browser gets a page instead. What is not HTTP (400), a head that is too large (431) and a \
head that does not arrive (408) are answered without a body, and the connection is closed. Answers of 1 KiB and more are \
compressed with gzip if `Accept-Encoding` allows it. `GET` stands for `HEAD` too. Methods that a path does not have are 405 \
`method_not_allowed`, paths that nothing answers are 404 `not_found`, and in trial mode a request for another host \
than this machine is 421 `foreign_host`.";

/// Names of the groups, and what is in them.
const TAGS: [(&str, &str); 6] = [
    ("links", "Make, find, change and delete links"),
    ("statistics", "What was clicked"),
    ("keys", "Who may do what"),
    ("visitors", "What people with a browser ask for"),
    ("yourls", "The API of YOURLS"),
    ("operations", "Health, version and this document"),
];

fn document() -> OpenApi {
    let mut paths = Paths::new();
    let mut components = Components::new();
    let mut schemas = BTreeMap::new();
    let problems = problems::all();
    problems::put_schemas(&mut schemas);
    for operation in operations() {
        operation.put(&problems, &mut paths, &mut components, &mut schemas);
    }
    components.schemas.extend(schemas);
    components.add_security_scheme(
        operation::KEY,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(
                    "`ADMIN_API_KEY`, or a key that was issued. Trial mode needs none, and neither does making one link \
                     where `ANONYMOUS_CREATE` is set.",
                ))
                .build(),
        ),
    );
    let id = HeaderBuilder::new()
        .schema(Some(
            text("The id of this request.").pattern(Some("^[0-9a-f]{32}$")),
        ))
        .description(Some(
            "The id of this request, on every answer. The log has it too.",
        ))
        .build();
    components
        .headers
        .insert(operation::REQUEST_ID.to_owned(), utoipa::openapi::RefOr::T(id));
    let mut licence = LicenseBuilder::new().name("Apache-2.0").build();
    licence.identifier = Some("Apache-2.0".to_owned());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Curtail")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(ABOUT))
                .license(Some(licence)),
        )
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components))
        .tags(Some(TAGS.map(|(name, about)| {
            let mut tag = Tag::new(name);
            tag.description = Some(about.to_owned());
            tag
        })))
        .build()
}

/// The document as JSON. It was made from the code before, by [`made_anew`]: what makes it is no part of the program
/// that serves it, and takes no room there.
pub fn text_of_document() -> &'static str {
    include_str!("../../../docs/openapi.json")
}

/// The document as the code has it now, as JSON. It ends with a line feed, as a file does. A test holds the document
/// to it.
#[must_use]
pub fn made_anew() -> String {
    let mut text = serde_json::to_string_pretty(&document()).expect("every key of the document is a string");
    text.push('\n');
    text
}

/// `GET /openapi.json`
pub(super) async fn openapi(
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let document = services.documents.openapi(text_of_document()).await?;
    Ok(document.answer(&request, "public, max-age=300"))
}

fn described() -> Operation {
    Operation::new("GET", "/openapi.json", "getOpenapi", "This document")
        .group("operations")
        .header_of_request("If-None-Match", text("An `ETag` that the client has."))
        .answers_any(StatusCode::OK, "application/json", "The document")
        .with_header("ETag", text("Changes with the document."))
        .answers_nothing(StatusCode::NOT_MODIFIED, "The client has it already")
        .problems(&["internal_error", "overloaded"])
}
