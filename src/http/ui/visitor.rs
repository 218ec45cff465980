//! Pages for visitors of links, in their language: what is wrong with a link, and where it leads.

use actix_web::http::header::{CACHE_CONTROL, VARY};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use maud::{Markup, html};
use url::Url;

use super::super::openapi::Operation;
use super::super::problem::{Page, Problem};
use super::super::{Services, origin, redirect};
use super::qr::Format;
use super::words::Words;
use super::{layout, qr, words};
use crate::domain::{GoneReason, Link, Slug};
use crate::service::Preview;

/// The page of a problem. Its length depends on the problem and the language alone: a request id is always as long.
pub(in crate::http) fn problem(page: Page<'_>, request: &HttpRequest, request_id: &str) -> String {
    let words = words::of(request);
    let [title, text] = match page {
        Page::NotFound => words.not_found,
        Page::Gone(reason) => [
            words.gone,
            match reason {
                GoneReason::Expired => words.expired,
                GoneReason::LimitReached => words.limit,
                GoneReason::Disabled => words.disabled,
            },
        ],
        Page::Unavailable => words.unavailable,
        Page::Busy => words.busy,
        Page::Other(title, detail) => [title, detail],
    };
    let body = html! {
        p.lead { (text) }
        p { small { (words.request) " " code { (request_id) } } }
    };
    layout::visitor_page(words, title, &body).into_string()
}

/// What stands beside a slug: its preview and its QR codes.
enum Beside {
    Preview(Slug),
    Qr(Slug, Format),
}

impl Beside {
    fn of(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        if let Some(slug) = path.strip_suffix('+') {
            return slug.parse().ok().map(Self::Preview);
        }
        let (slug, file) = path.split_once('/')?;
        let format = match file {
            "qr.svg" => Format::Svg,
            "qr.png" => Format::Png,
            _ => return None,
        };
        Some(Self::Qr(slug.parse().ok()?, format))
    }
}

/// Answers the paths beside a slug; `None` if this is no such path. They count no click.
pub(in crate::http) async fn beside(
    request: &HttpRequest,
    services: &Services,
) -> Option<Result<HttpResponse, Problem>> {
    let wanted = Beside::of(request.match_info().as_str())?;
    Some(answer(wanted, request, services).await)
}

async fn answer(wanted: Beside, request: &HttpRequest, services: &Services) -> Result<HttpResponse, Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::method_not_allowed(redirect::METHODS).for_visitor());
    }
    let (Beside::Preview(slug) | Beside::Qr(slug, _)) = &wanted;
    let preview = services.links.preview(slug).await;
    match preview.map_err(|err| Problem::from(err).for_visitor())? {
        Preview::Unknown => Err(redirect::unknown(request, services).await),
        Preview::Gone(reason) => Err(Problem::gone(reason).for_visitor()),
        Preview::Link(link) => match wanted {
            Beside::Preview(_) => Ok(preview_page(&link, request, services)),
            Beside::Qr(slug, format) => qr::draw(&slug, format, request, services),
        },
    }
}

fn preview_page(link: &Link, request: &HttpRequest, services: &Services) -> HttpResponse {
    let words = words::of(request);
    let short = format!("{}{}", origin::base(request, &services.config), link.slug);
    let page = layout::visitor_page(words, words.preview, &preview(words, link, &short));
    HttpResponse::build(StatusCode::OK)
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((VARY, "Accept-Language"))
        .content_type("text/html; charset=utf-8")
        .body(page.into_string())
}

fn preview(words: &Words, link: &Link, short: &str) -> Markup {
    let url = Url::parse(link.target.as_str()).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let (readable, _) = idna::domain_to_unicode(host);
    html! {
        @if let Some(title) = &link.title { p.lead { (title) } }
        dl.facts {
            dt { (words.short) }
            dd { code { (short) } }
            dt { (words.target) }
            dd { code { (link.target) } }
            dt { (words.host) }
            dd { code { (host) } }
            @if readable != host {
                dt { (words.reads_as) }
                dd { code { (readable) } }
            }
            dt { (words.created) }
            dd { time datetime=(link.created_at) { (link.created_at.strftime("%Y-%m-%d")) } }
        }
        p { a.button.main href=(link.target) rel="noreferrer nofollow" { (words.proceed) } }
        p { small { (words.preview_note) } }
    }
}

/// What the description of the API says of this.
pub(super) fn described() -> Operation {
    Operation::new("GET", "/{slug}+", "preview", "Where a link leads")
        .says("Target, title and day of creation, in the visitor's language. This is no click.")
        .group("visitors")
        .for_visitors()
        .answers_any(StatusCode::OK, "text/html", "A page")
        .problems(&[
            "not_found",
            "link_gone",
            "rate_limited",
            "internal_error",
            "unavailable",
            "overloaded",
        ])
}
