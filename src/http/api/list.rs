//! `GET /api/v1/links`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::link::{LinkBody, answer};
use crate::domain::{Cursor, Link, LinkPage, LinkState};
use crate::http::auth::Sender;
use crate::http::openapi::{Operation, number, text, word};
use crate::http::problem::Problem;
use crate::http::query::{MalformedQuery, Parameters};
use crate::http::{Services, origin};
use crate::service::{ListRequest, Scope};

/// Links of a page, if the client does not say.
const DEFAULT_LIMIT: u8 = 50;
/// The most links of a page.
const MAX_LIMIT: u8 = 200;
/// The most characters to search for: those of the longest title.
const MAX_SEARCH_CHARS: usize = Link::MAX_TITLE_CHARS;

/// A page of links, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Links)]
struct Body<'a> {
    links: Vec<LinkBody<'a>>,
    /// The `cursor` of the next page; `null` on the last. A page may be short, or empty, and still have a next one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Lists links, newest first.
pub(in crate::http) async fn list(
    request: HttpRequest,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LinksRead)?;
    let mut wanted = wanted(request.query_string())?;
    wanted.host = origin::host(&request).map(str::to_owned);
    let LinkPage { links, next } = services.links.list(&caller, wanted).await?;
    let base = origin::base(&request, &services.config);
    Ok(answer(StatusCode::OK).json(Body {
        links: links.iter().map(|link| LinkBody::new(link, &base)).collect(),
        next_cursor: next.map(|cursor| cursor.to_string()),
    }))
}

fn wanted(query: &str) -> Result<ListRequest, MalformedQuery> {
    let mut parameters = Parameters::of(query)?;
    let limit = parameters.parsed::<u8>("limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(MalformedQuery(format!("limit is 1 to {MAX_LIMIT}.")));
    }
    let wanted = ListRequest {
        limit,
        after: parameters.parsed::<Cursor>("cursor")?,
        text: parameters.text("q", MAX_SEARCH_CHARS)?,
        tag: parameters.text("tag", Link::MAX_TAG_CHARS)?,
        state: parameters.parsed::<LinkState>("state")?,
        host: None,
    };
    parameters.finish()?;
    Ok(wanted)
}

pub(in crate::http) fn described() -> Operation {
    let limit = number(1, MAX_LIMIT.into(), "The most links of a page.").default(Some(DEFAULT_LIMIT.into()));
    let search = text(
        "A part of slug, url or title, in any case. A url is found as people write it, and a link by its short URL.",
    );
    let tag = text("One of the tags.");
    Operation::of_api(
        "GET",
        "/links",
        "listLinks",
        "List and search links, newest first",
        Scope::LinksRead,
    )
    .group("links")
    .in_query("limit", limit)
    .in_query(
        "cursor",
        text("The `next_cursor` of the page before.").pattern(Some("^[0-9a-f]{24}$")),
    )
    .in_query("q", search.min_length(Some(1)).max_length(Some(MAX_SEARCH_CHARS)))
    .in_query(
        "tag",
        tag.min_length(Some(1)).max_length(Some(Link::MAX_TAG_CHARS)),
    )
    .in_query(
        "state",
        word(
            ["live", "scheduled", "expired", "disabled"],
            "What a visitor would meet now.",
        ),
    )
    .answers::<Body<'_>>(
        StatusCode::OK,
        "A page of links",
        r#"{"links": [], "next_cursor": null}"#,
    )
    .problems(&["malformed_query"])
}
