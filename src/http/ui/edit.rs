//! `/app/new` and `/app/links/{slug}/edit`: every field of a link.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::super::problem::Problem;
use super::super::{Services, origin, rate};
use super::form::{self, Form};
use super::guest::Guest;
use super::layout::{Place, page};
use super::link_form::{Shown, Typed, fields};
use super::{link_in_path, member, taken, visible};
use crate::domain::{Fault, Link, LinkDraft, LinkPatch};
use crate::service::{Error, Origin, Scope};

/// `GET /app/new`
pub(super) async fn new(
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::LinksCreate).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let form = Form::of_query(request.query_string());
    Ok(show(&guest, StatusCode::OK, None, &form, &[], &html! {}))
}

/// `POST /app/new`
pub(super) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::LinksCreate).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let form = Form::read(&request, payload, form::LIMIT, &guest, &services).await?;
    if !form.is_ours {
        return Ok(show(
            &guest,
            StatusCode::FORBIDDEN,
            None,
            &form,
            &[],
            &notice(form::STALE),
        ));
    }
    rate::create(&request, &services, &guest.caller)
        .await
        .map_err(visible)?;
    let typed = Typed::of(&form);
    let draft = LinkDraft {
        url: typed.url,
        slug: form.text("slug").map(str::to_owned),
        title: typed.title,
        tags: typed.tags,
        redirect_status: typed.redirect_status,
        cache_seconds: typed.cache_seconds,
        forward_query: form.has("forward_query"),
        valid_from: typed.valid_from,
        expires_at: typed.expires_at,
        max_clicks: typed.max_clicks,
        ..LinkDraft::default()
    };
    let result = if typed.faults.is_empty() {
        let host = origin::host(&request);
        services.links.create(&guest.caller, draft, Origin { host }).await
    } else {
        Err(Error::InvalidLink(typed.faults))
    };
    match result {
        Ok(link) => Ok(guest.see_other(&format!("/app/links/{}?made", link.slug))),
        Err(err) => refused(&guest, None, &form, err),
    }
}

/// `GET /app/links/{slug}/edit`
pub(super) async fn edit(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::LinksWrite).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let link = link_in_path(&guest, &services, &path).await?;
    let shown = Shown::of_link(&link);
    let of = Some((&link, &shown));
    Ok(show(&guest, StatusCode::OK, of, shown.values(), &[], &html! {}))
}

/// `POST /app/links/{slug}/edit`: changes what differs from what was shown. If the link itself differs from what was shown,
/// nothing is changed, and the form comes back with both.
pub(super) async fn update(
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::LinksWrite).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let form = Form::read(&request, payload, form::LIMIT, &guest, &services).await?;
    let link = link_in_path(&guest, &services, &path).await?;
    let shown = Shown::of_form(&form);
    if !form.is_ours {
        let (status, of) = (StatusCode::FORBIDDEN, Some((&link, &shown)));
        return Ok(show(&guest, status, of, &form, &[], &notice(form::STALE)));
    }
    let mut typed = Typed::of(&form);
    let faults = std::mem::take(&mut typed.faults);
    let patch = shown.patch(&form, typed);
    let result = if !faults.is_empty() {
        Err(Error::InvalidPatch(faults))
    } else if patch == LinkPatch::default() && form.expected().admits(link.revision) {
        Ok(link.clone())
    } else {
        let origin = Origin {
            host: origin::host(&request),
        };
        services
            .links
            .update(&guest.caller, &link.slug, patch, origin, form.expected())
            .await
    };
    match result {
        Ok(link) => Ok(guest.see_other(&format!("/app/links/{}?saved", link.slug))),
        Err(Error::Stale) => {
            let link = link_in_path(&guest, &services, &path).await?;
            Ok(conflict(&guest, &link, &shown, &form))
        }
        Err(err) => refused(&guest, Some((&link, &shown)), &form, err),
    }
}

/// The form with what was typed over the link as it is now. It is saved by sending it once more.
fn conflict(guest: &Guest, link: &Link, shown: &Shown, form: &Form) -> HttpResponse {
    let now = Shown::of_link(link);
    let notice = html! {
        div.notice.bad role="alert" {
            div {
                p {
                    "This link was changed while you edited it. Nothing is saved yet: what you typed is kept below, and the \
                     other fields show the link as it is now. Save again to apply your changes."
                }
                (shown.changes_since(form, &now))
            }
        }
    };
    let merged = shown.merged(form, &now);
    let status = StatusCode::PRECONDITION_FAILED;
    show(guest, status, Some((link, &now)), &merged, &[], &notice)
}

fn refused(
    guest: &Guest,
    of: Option<(&Link, &Shown)>,
    form: &Form,
    err: Error,
) -> Result<HttpResponse, Problem> {
    let (status, faults) = match err {
        Error::InvalidLink(faults) | Error::InvalidPatch(faults) => {
            (StatusCode::UNPROCESSABLE_ENTITY, faults)
        }
        Error::SlugTaken => (StatusCode::CONFLICT, vec![taken()]),
        err => return Err(visible(err)),
    };
    Ok(show(guest, status, of, form, &faults, &html! {}))
}

fn notice(text: &str) -> Markup {
    html! { div.notice.bad role="alert" { p { (text) } } }
}

fn show(
    guest: &Guest,
    status: StatusCode,
    of: Option<(&Link, &Shown)>,
    form: &Form,
    faults: &[Fault],
    notice: &Markup,
) -> HttpResponse {
    let (title, action, back) = match of {
        Some((link, _)) => (
            format!("Edit /{}", link.slug),
            format!("/app/links/{}/edit", link.slug),
            format!("/app/links/{}", link.slug),
        ),
        None => ("New link".to_owned(), "/app/new".to_owned(), "/app".to_owned()),
    };
    let body = html! {
        h1 { (title) }
        (notice)
        @if !faults.is_empty() {
            div.notice.bad role="alert" { p { @if of.is_some() { "Nothing was changed" } @else { "Nothing was made" } ": see what is marked below." } }
        }
        form.card method="post" action=(action) {
            (form::token(guest))
            @if let Some((_, shown)) = of { (shown.hidden()) }
            (fields(of.is_none(), form, faults))
            div.row {
                button.main { @if of.is_some() { "Save" } @else { "Make link" } }
                a.button href=(back) { "Cancel" }
            }
        }
    };
    guest.page(status, page(guest, Place::Elsewhere, &title, true, &body))
}
