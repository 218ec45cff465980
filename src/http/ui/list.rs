//! `/app`: the links, newest first.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use url::form_urlencoded::Serializer;

use super::super::problem::Problem;
use super::super::{Services, origin};
use super::form::{self, Form, Line};
use super::guest::Guest;
use super::layout::{Place, page};
use super::shorten::without_scheme;
use super::{member, visible};
use crate::domain::{Link, LinkPage, LinkState, Slug};
use crate::service::{ListRequest, Scope};

/// Links of a page.
const LIMIT: u8 = 25;

/// The states, with what people read.
const STATES: [(&str, &str); 5] = [
    ("", "Any state"),
    ("live", "Live"),
    ("scheduled", "Scheduled"),
    ("expired", "Expired"),
    ("disabled", "Disabled"),
];

/// `GET /app`
pub(super) async fn show(
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::LinksRead).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let query = Form::of_query(request.query_string());
    // No text that is kept has NUL in it, and no database takes one.
    let short = |name: &str, most: usize| {
        let text = query.text(name).filter(|text| !text.contains('\0'));
        text.map(|text| text.chars().take(most).collect())
    };
    let wanted = ListRequest {
        limit: LIMIT,
        after: query.get("cursor").parse().ok(),
        text: short("q", Link::MAX_TITLE_CHARS),
        tag: short("tag", Link::MAX_TAG_CHARS),
        state: query.get("state").parse().ok(),
        host: origin::host(&request).map(str::to_owned),
    };
    let found = services
        .links
        .list(&guest.caller, wanted)
        .await
        .map_err(visible)?;
    let body = html! {
        (notice(&guest, &query))
        div.head {
            h1 { "Links" }
            @if guest.may(Scope::LinksCreate) {
                div.row {
                    a.button.main href="/app/new" { "New link" }
                    a.button href="/app/bulk" { "Paste many" }
                }
            }
        }
        (filters(&query))
        (rows(&guest, &services, &found, &query))
    };
    Ok(guest.page(StatusCode::OK, page(&guest, Place::Links, "Links", false, &body)))
}

fn notice(guest: &Guest, query: &Form) -> Markup {
    let deleted = query.get("deleted").parse::<Slug>().ok();
    html! {
        @if let Some(slug) = deleted {
            div.notice role="status" {
                p { "/" (slug) " was deleted." }
                form method="post" action={ "/app/links/" (slug) "/undo" } {
                    (form::token(guest))
                    button { "Undo" }
                }
            }
        }
        @if query.has("lost") {
            div.notice.bad role="alert" {
                p { "This link could not be brought back: a minute has passed, or another link has its name now." }
            }
        }
    }
}

fn filters(query: &Form) -> Markup {
    html! {
        form.grid.filters method="get" action="/app" role="search" {
            (Line { name: "q", label: "Search", kind: "search", ..Line::default() }.show(query, &[]))
            (Line { name: "tag", label: "Tag", ..Line::default() }.show(query, &[]))
            (form::choice("state", "State", "", &STATES, query, &[]))
            div.field.end { button { "Find" } }
        }
    }
}

fn rows(guest: &Guest, services: &Services, found: &LinkPage, query: &Form) -> Markup {
    let filtered = ["q", "tag", "state", "cursor"]
        .iter()
        .any(|name| query.text(name).is_some());
    let with = |cursor: &str| {
        let mut target = Serializer::for_suffix("/app?".to_owned(), "/app?".len());
        for name in ["q", "tag", "state"] {
            if let Some(text) = query.text(name) {
                target.append_pair(name, text);
            }
        }
        target.append_pair("cursor", cursor).finish()
    };
    html! {
        @if found.links.is_empty() {
            div.card {
                @if found.next.is_some() {
                    p { "No match among the links examined so far. Continue with the older ones." }
                } @else if filtered {
                    p { "No link is like that." }
                    a.button href="/app" { "Show all" }
                } @else {
                    p { "There are no links yet." }
                }
            }
        } @else {
            ul.links {
                @for link in &found.links { (row(guest, link, services.links.state_of(link))) }
            }
        }
        nav.row aria-label="Pages" {
            @if query.text("cursor").is_some() { a.button href="/app" { "Newest" } }
            @if let Some(next) = found.next { a.button href=(with(&next.to_string())) rel="next" { "Older" } }
        }
    }
}

fn row(guest: &Guest, link: &Link, state: LinkState) -> Markup {
    let short = format!("{}{}", guest.base, link.slug);
    let tag_path = |tag: &str| {
        Serializer::for_suffix("/app?".to_owned(), "/app?".len())
            .append_pair("tag", tag)
            .finish()
    };
    html! {
        li {
            div {
                a.title href={ "/app/links/" (link.slug) } {
                    @match &link.title { Some(title) => (title), None => span.mono { (without_scheme(&short)) } }
                }
                " "
                (badge(state))
                @if link.title.is_some() { div.mono { (without_scheme(&short)) } }
                div.target { (link.target) }
                @if !link.tags.is_empty() {
                    div.tags { @for tag in &link.tags { a.tag href=(tag_path(tag)) { (tag) } } }
                }
            }
            div.count { b { (link.clicks) } small { @if link.clicks == 1 { "click" } @else { "clicks" } } }
        }
    }
}

/// A state as people read it.
pub(super) fn badge(state: LinkState) -> Markup {
    let (class, text) = match state {
        LinkState::Live => ("state live", "Live"),
        LinkState::Scheduled => ("state", "Scheduled"),
        LinkState::Expired => ("state", "Expired"),
        LinkState::Disabled => ("state", "Disabled"),
    };
    html! { span class=(class) { (text) } }
}
