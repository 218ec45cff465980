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
use super::{layout, qr, visible, words};
use crate::domain::{GoneReason, Redirect, Slug, TargetUrl, TypedSlug};
use crate::service::{About, Preview, Visit};

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
        let qr = |path: &str| {
            let (slug, file) = path.strip_prefix('/')?.split_once('/')?;
            let format = match file {
                "qr.svg" => Format::Svg,
                "qr.png" => Format::Png,
                _ => return None,
            };
            Some(Self::Qr(slug.parse().ok()?, format))
        };
        let preview = || TypedSlug::of_path(path).filter(|typed| typed.preview);
        qr(path).or_else(|| preview().map(|typed| Self::Preview(typed.slug)))
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
    let admit = redirect::admission(request, services);
    match wanted {
        Beside::Preview(slug) => {
            let preview = services.links.preview(&slug, admit).await;
            match preview.map_err(visible)? {
                Preview::Unknown => Err(redirect::unknown(request, services).await),
                Preview::Gone(reason) => Err(redirect::gone(reason, request, services).await),
                Preview::Link { redirect, about } => {
                    Ok(preview_page(&redirect, about.as_ref(), request, services))
                }
            }
        }
        Beside::Qr(slug, format) => {
            let now = services.clock.now();
            let visit = services.resolver.look(&slug, now, admit).await;
            match visit.map_err(visible)? {
                Visit::Unknown => Err(redirect::unknown(request, services).await),
                Visit::Gone(reason) => Err(redirect::gone(reason, request, services).await),
                Visit::Follow(redirect) => qr::draw(&redirect, format, now, request, services).await,
            }
        }
    }
}

fn preview_page(
    redirect: &Redirect,
    about: Option<&About>,
    request: &HttpRequest,
    services: &Services,
) -> HttpResponse {
    let words = words::of(request);
    let short = format!("{}{}", origin::base(request, &services.config), redirect.slug);
    let body = preview(words, &redirect.target, about, &short);
    let page = layout::visitor_page(words, words.preview, &body);
    HttpResponse::build(StatusCode::OK)
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((VARY, "Accept-Language"))
        .content_type("text/html; charset=utf-8")
        .body(page.into_string())
}

fn preview(words: &Words, target: &TargetUrl, about: Option<&About>, short: &str) -> Markup {
    let url = Url::parse(target.as_str()).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let (readable, _) = idna::domain_to_unicode(host);
    html! {
        @if let Some(title) = about.and_then(|about| about.title.as_deref()) { p.lead { (title) } }
        dl.facts {
            dt { (words.short) }
            dd { code { (short) } }
            dt { (words.target) }
            dd { code { (target) } }
            dt { (words.host) }
            dd { code { (host) } }
            @if readable != host {
                dt { (words.reads_as) }
                dd { code { (readable) } }
            }
            @if let Some(about) = about {
                dt { (words.created) }
                dd { time datetime=(about.created_at) { (about.created_at.strftime("%Y-%m-%d")) } }
            }
        }
        p { a.button.main href=(target) rel="noreferrer nofollow" { (words.proceed) } }
        p { small { (words.preview_note) } }
    }
}

/// What the description of the API says of this.
pub(super) fn described() -> Operation {
    Operation::new("GET", "/{slug}+", "preview", "Where a link leads")
        .says("Target, title and day of creation, in the visitor's language. While the database is down, the target alone. This is no click.")
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
