//! `/app/links/{slug}`: a link, its QR code and its statistics.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use maud::{Markup, html};

use super::super::Services;
use super::super::problem::Problem;
use super::form::{self, Form};
use super::guest::Guest;
use super::layout::{Place, page};
use super::shorten::without_scheme;
use super::{link_in_path, list, member, qr, statistics};
use crate::domain::{Link, LinkState};
use crate::service::Scope;

/// `GET /app/links/{slug}`
pub(super) async fn show(
    request: HttpRequest,
    path: web::Path<String>,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::LinksRead).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let link = link_in_path(&guest, &services, &path).await?;
    let query = Form::of_query(request.query_string());
    let statistics = if guest.may(Scope::StatsRead) {
        statistics::part(&services, &link.slug, query.get("span")).await?
    } else {
        html! {}
    };
    let title = link.title.clone().unwrap_or_else(|| format!("/{}", link.slug));
    let short = format!("{}{}", guest.base, link.slug);
    let code = qr::inline(qr::address(&request, &services, &link.slug), &services).await;
    let body = html! {
        @for (name, text) in [("made", "The link was made."), ("saved", "Your changes were saved."), ("restored", "The link is back, with its clicks.")] {
            @if query.has(name) { div.notice role="status" { p { (text) } } }
        }
        @if query.has("changed") { div.notice.bad role="alert" { p { (form::CHANGED) } } }
        div.head {
            h1 { (title) " " (list::badge(services.links.state_of(&link))) }
            @if guest.may(Scope::LinksWrite) { (actions(&guest, &link)) }
        }
        section.card.result aria-label="Short link" {
            div {
                a.short href=(short) { (without_scheme(&short)) }
                p.target { "leads to " a href=(link.target) rel="noreferrer nofollow" { (link.target) } }
                div.row {
                    button.main type="button" hidden data-copy=(short) { "Copy" }
                    a.button href={ "/" (link.slug) "+" } { "Preview" }
                    @if services.links.state_of(&link) == LinkState::Live {
                        a.button href={ "/" (link.slug) "/qr.png?size=1024" } download={ (link.slug) ".png" } { "QR as PNG" }
                        a.button href={ "/" (link.slug) "/qr.svg" } download={ (link.slug) ".svg" } { "as SVG" }
                    }
                }
            }
            (code)
        }
        (statistics)
        (facts(&link))
    };
    Ok(guest.page(
        StatusCode::OK,
        page(&guest, Place::Elsewhere, &title, false, &body),
    ))
}

fn actions(guest: &Guest, link: &Link) -> Markup {
    html! {
        div.row {
            a.button href={ "/app/links/" (link.slug) "/edit" } { "Edit" }
            form method="post" action={ "/app/links/" (link.slug) "/state" } {
                (form::token(guest))
                @if link.disabled {
                    (form::revision(link))
                    button { "Enable" }
                } @else {
                    button name="disabled" value="on" { "Disable" }
                }
            }
            a.button.danger href={ "/app/links/" (link.slug) "/delete" } { "Delete" }
        }
    }
}

fn facts(link: &Link) -> Markup {
    let time = |time: Timestamp| html! { time datetime=(time) { (time.strftime("%Y-%m-%d %H:%M")) " UTC" } };
    html! {
        section.card aria-labelledby="settings" {
            h2 #settings { "Settings" }
            dl.facts {
                @if !link.tags.is_empty() {
                    dt { "Tags" }
                    dd { div.tags { @for tag in &link.tags { span.tag { (tag) } } } }
                }
                dt { "Status" }
                dd {
                    (link.redirect_status)
                    @if let Some(seconds) = link.cache_seconds { ", kept for " (seconds) " s" }
                }
                @if link.forward_query { dt { "Query string" } dd { "handed on to the target" } }
                @if let Some(from) = link.valid_from { dt { "Valid from" } dd { (time(from)) } }
                @if let Some(end) = link.expires_at { dt { "Expires" } dd { (time(end)) } }
                @if let Some(most) = link.max_clicks { dt { "Click limit" } dd { (link.clicks) " of " (most) } }
                dt { "Made" }
                dd { (time(link.created_at)) }
                dt { "Changed" }
                dd { (time(link.updated_at)) }
            }
        }
    }
}
