//! `/`: paste an address, get a short one.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::super::problem::Problem;
use super::super::{Services, origin, rate, redirect};
use super::form::{Form, Line};
use super::guest::Guest;
use super::layout::{Place, page};
use super::{form, qr, taken, visible};
use crate::domain::{Fault, LinkDraft, Redirect, Slug};
use crate::service::{Error, Origin, Scope, Visit};

/// The times that a link may be given here. More is on its own page.
const TIMES: [(&str, &str, u32); 5] = [
    ("hour", "In an hour", 3_600),
    ("day", "In a day", 86_400),
    ("week", "In a week", 7 * 86_400),
    ("month", "In 30 days", 30 * 86_400),
    ("year", "In a year", 365 * 86_400),
];

/// `GET /`, with the slug that was just made as `made`.
pub(in crate::http) async fn show(
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = Guest::of(&request, &services).await?;
    let query = Form::of_query(request.query_string());
    let made = match query.get("made").parse::<Slug>() {
        Ok(slug) => made(&slug, &request, &services).await?,
        Err(_) => None,
    };
    let body = body(&guest, &Form::default(), &[], made.as_ref(), None);
    Ok(guest.page(
        StatusCode::OK,
        page(&guest, Place::Shorten, "Shorten a link", true, &body),
    ))
}

/// What is shown of the link that was just created. Anybody may ask for any slug, so it is looked up like a visit.
async fn made(slug: &Slug, request: &HttpRequest, services: &Services) -> Result<Option<Markup>, Problem> {
    let admit = redirect::admission(request, services);
    let visit = services.resolver.look(slug, services.clock.now(), admit).await;
    match visit.map_err(visible)? {
        Visit::Follow(redirect) => Ok(Some(result(request, services, &redirect).await)),
        Visit::Unknown | Visit::Gone(_) => {
            redirect::miss(request, services).await?;
            Ok(None)
        }
    }
}

/// `POST /app/shorten`
pub(in crate::http) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = Guest::of(&request, &services).await?;
    let form = Form::read(&request, payload, form::LIMIT, &guest, &services).await?;
    guest.caller.require(Scope::LinksCreate).map_err(visible)?;
    let refused = |status, faults: &[Fault], notice| {
        let body = body(&guest, &form, faults, None, notice);
        let page = page(&guest, Place::Shorten, "Shorten a link", true, &body);
        Ok(guest.page(status, page))
    };
    if !form.is_ours {
        return refused(StatusCode::FORBIDDEN, &[], Some(form::STALE));
    }
    rate::create(&request, &services, &guest.caller)
        .await
        .map_err(visible)?;
    let seconds = TIMES.iter().find(|(name, ..)| *name == form.get("expires"));
    let draft = LinkDraft {
        url: form::target(form.get("url")),
        slug: form.text("slug").map(str::to_owned),
        expires_at: seconds.and_then(|(_, _, seconds)| services.links.in_seconds(*seconds)),
        ..LinkDraft::default()
    };
    let origin = Origin {
        host: origin::host(&request),
    };
    match services.links.create(&guest.caller, draft, origin).await {
        Ok(link) => Ok(guest.see_other(&format!("/?made={}", link.slug))),
        Err(Error::InvalidLink(faults)) => refused(StatusCode::UNPROCESSABLE_ENTITY, &faults, None),
        Err(Error::SlugTaken) => refused(StatusCode::CONFLICT, &[taken()], None),
        Err(err) => Err(visible(err)),
    }
}

fn body(
    guest: &Guest,
    typed: &Form,
    faults: &[Fault],
    made: Option<&Markup>,
    notice: Option<&str>,
) -> Markup {
    let times: Vec<(&str, &str)> = std::iter::once(("", "Never"))
        .chain(TIMES.iter().map(|(name, label, _)| (*name, *label)))
        .collect();
    let more = typed.text("slug").is_some() || typed.text("expires").is_some();
    html! {
        @if let Some(made) = made { (made) }
        h1.hero[made.is_none()] { "Shorten a link" }
        @if made.is_none() {
            p.lead { "A short address for a long one: to count its clicks, to change where it leads, and to take it down." }
        }
        @if let Some(notice) = notice { div.notice.bad role="alert" { p { (notice) } } }
        @if guest.may(Scope::LinksCreate) {
            form.card method="post" action="/app/shorten" {
                (form::token(guest))
                (Line { name: "url", label: "Long address", class: "big", mode: Some("url"), required: true,
                    focus: made.is_none(), ..Line::default() }.show(typed, faults))
                details.field open[more] {
                    summary { "Name and expiry" }
                    div.grid {
                        (Line { name: "slug", label: "Name of your own", before: "/", class: "mono",
                            hint: "Letters, digits, - and _. Empty: one is made up.", ..Line::default() }.show(typed, faults))
                        (form::choice("expires", "Expires", "", &times, typed, faults))
                    }
                }
                button.main { "Shorten" }
            }
        } @else {
            div.card {
                p { "Links are made here by people with a key." }
                a.button.main href="/app/sign-in" { "Sign in" }
            }
        }
    }
}

async fn result(request: &HttpRequest, services: &Services, link: &Redirect) -> Markup {
    let short = format!("{}{}", origin::base(request, &services.config), link.slug);
    let code = qr::inline(qr::address(request, services, &link.slug), services).await;
    html! {
        section.card.result aria-labelledby="made" {
            div {
                h2 #made { "Your short link" }
                a.short href=(short) { (without_scheme(&short)) }
                p.target { (link.target) }
                div.row {
                    button.main type="button" hidden data-copy=(short) { "Copy" }
                    a.button href={ "/" (link.slug) "/qr.png" } download={ (link.slug) ".png" } { "QR as PNG" }
                    a.button href={ "/" (link.slug) "/qr.svg" } download={ (link.slug) ".svg" } { "as SVG" }
                }
            }
            (code)
        }
    }
}

/// An address as people read it.
pub(super) fn without_scheme(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, rest)| rest)
}
