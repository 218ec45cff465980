//! `/app/links/{slug}/delete`, `/undo` and `/state`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;

use super::super::problem::Problem;
use super::super::{Services, origin};
use super::form::{self, Form};
use super::guest::Guest;
use super::layout::{Place, page};
use super::{link_in_path, member, slug_in_path, visible};
use crate::domain::{Change, Link, LinkPatch};
use crate::service::{Error, Expected, Origin, Scope};

/// `GET /app/links/{slug}/delete`: asks once more.
pub(super) async fn ask(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::LinksWrite).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let link = link_in_path(&guest, &services, &path).await?;
    Ok(question(&guest, &link, StatusCode::OK, None))
}

/// `POST /app/links/{slug}/delete`
pub(super) async fn delete(
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
    let slug = slug_in_path(&path)?;
    if !form.is_ours {
        let link = link_in_path(&guest, &services, &path).await?;
        return Ok(question(&guest, &link, StatusCode::FORBIDDEN, Some(form::STALE)));
    }
    let deleted = services.links.set_aside(&guest.caller, &slug, form.expected());
    match deleted.await {
        Ok(()) => Ok(guest.see_other(&format!("/app?deleted={slug}"))),
        Err(Error::Stale) => {
            let link = link_in_path(&guest, &services, &path).await?;
            let status = StatusCode::PRECONDITION_FAILED;
            Ok(question(&guest, &link, status, Some(form::CHANGED)))
        }
        Err(err) => Err(visible(err)),
    }
}

/// `POST /app/links/{slug}/undo`
pub(super) async fn undo(
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
    let slug = slug_in_path(&path)?;
    if !form.is_ours {
        return Ok(guest.see_other(&format!("/app?deleted={slug}")));
    }
    match services.links.restore(&guest.caller, &slug).await {
        Ok(link) => Ok(guest.see_other(&format!("/app/links/{}?restored", link.slug))),
        Err(Error::LinkNotFound | Error::SlugTaken) => Ok(guest.see_other("/app?lost")),
        Err(err) => Err(visible(err)),
    }
}

/// `POST /app/links/{slug}/state`: disables a link at once, or enables one that is still as it was shown: it may have been
/// disabled again for another reason.
pub(super) async fn set_state(
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
    let slug = slug_in_path(&path)?;
    if form.is_ours {
        let disable = form.has("disabled");
        let patch = LinkPatch {
            disabled: Change::Set(disable),
            ..LinkPatch::default()
        };
        let origin = Origin {
            host: origin::host(&request),
        };
        let expected = if disable { Expected::Any } else { form.expected() };
        let updated = services
            .links
            .update(&guest.caller, &slug, patch, origin, expected);
        match updated.await {
            Ok(_) => {}
            Err(Error::Stale) => return Ok(guest.see_other(&format!("/app/links/{slug}?changed"))),
            Err(err) => return Err(visible(err)),
        }
    }
    Ok(guest.see_other(&format!("/app/links/{slug}")))
}

fn question(guest: &Guest, link: &Link, status: StatusCode, notice: Option<&str>) -> HttpResponse {
    let title = format!("Delete /{}?", link.slug);
    let body = html! {
        h1 { (title) }
        @if let Some(notice) = notice { div.notice.bad role="alert" { p { (notice) } } }
        div.card {
            @if let Some(title) = &link.title { p { b { (title) } } }
            p.target { (link.target) }
            p {
                "Visitors will not find it any more, and its statistics of " (link.clicks)
                @if link.clicks == 1 { " click" } @else { " clicks" }
                " go with it. You can undo this for a minute."
            }
            form.row method="post" action={ "/app/links/" (link.slug) "/delete" } {
                (form::token(guest))
                (form::revision(link))
                button.danger { "Delete" }
                a.button href={ "/app/links/" (link.slug) } { "Keep it" }
            }
        }
    };
    guest.page(status, page(guest, Place::Elsewhere, &title, true, &body))
}
