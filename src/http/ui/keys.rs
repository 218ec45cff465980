//! `/app/keys`: who may do what.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use maud::{Markup, html};
use secrecy::ExposeSecret;

use super::super::Services;
use super::super::problem::Problem;
use super::form::{self, Form, Line};
use super::guest::Guest;
use super::layout::{Place, page};
use super::{member, visible};
use crate::domain::{Fault, Key, KeyCursor, KeyDraft, KeyId, KeyPage};
use crate::service::{Error, IssuedKey, Keys, Scope};

/// The ends that a key may be given here.
const TIMES: [(&str, &str, u32); 3] = [
    ("month", "In 30 days", 30 * 86_400),
    ("quarter", "In 90 days", 90 * 86_400),
    ("year", "In a year", 365 * 86_400),
];

/// Keys of a page.
const KEYS_OF_A_PAGE: u8 = 50;

/// Where the list of keys begins, and what stands above it.
#[derive(Default)]
struct Above<'a> {
    after: Option<KeyCursor>,
    issued: Option<&'a IssuedKey>,
    notice: Option<&'a str>,
}

/// `GET /app/keys`
pub(super) async fn show(
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::KeysAdmin).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let above = Above {
        // A cursor that was mistyped is as good as none.
        after: Form::of_query(request.query_string()).get("cursor").parse().ok(),
        ..Above::default()
    };
    answer(&guest, &services, StatusCode::OK, &Form::default(), &[], &above).await
}

/// The field with the id that the new key will have: a form that is sent again creates no second key.
const ID: &str = "id";

/// The notice when it is sent again.
const CREATED_BEFORE: &str = "This key was created before. It was shown that once: if you did not copy it, revoke it and \
     create another one.";

/// `POST /app/keys`: shows the new key, this once.
pub(super) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::KeysAdmin).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let form = Form::read(&request, payload, form::LIMIT, &guest, &services).await?;
    if !form.is_ours {
        let above = Above {
            notice: Some(form::STALE),
            ..Above::default()
        };
        return answer(&guest, &services, StatusCode::FORBIDDEN, &form, &[], &above).await;
    }
    let seconds = TIMES.iter().find(|(name, ..)| *name == form.get("expires"));
    let draft = KeyDraft {
        name: form.get("name").trim().to_owned(),
        scopes: form.all("scopes").map(str::to_owned).collect(),
        own_links_only: form.has("own_links_only"),
        expires_at: seconds.and_then(|(_, _, seconds)| services.links.in_seconds(*seconds)),
    };
    let id = form.get(ID).parse::<KeyId>().unwrap_or_else(|_| Keys::new_id());
    match services.keys.create_once(&guest.caller, draft, id).await {
        Ok(None) => {
            let above = Above {
                notice: Some(CREATED_BEFORE),
                ..Above::default()
            };
            let form = Form::default();
            answer(&guest, &services, StatusCode::CONFLICT, &form, &[], &above).await
        }
        Ok(Some(issued)) => {
            let above = Above {
                issued: Some(&issued),
                ..Above::default()
            };
            answer(
                &guest,
                &services,
                StatusCode::CREATED,
                &Form::default(),
                &[],
                &above,
            )
            .await
        }
        Err(Error::InvalidKey(faults)) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            answer(&guest, &services, status, &form, &faults, &Above::default()).await
        }
        Err(err) => Err(visible(err)),
    }
}

/// `POST /app/keys/{id}/revoke`
pub(super) async fn revoke(
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::KeysAdmin).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let form = Form::read(&request, payload, form::LIMIT, &guest, &services).await?;
    if form.is_ours {
        match services.keys.revoke(&guest.caller, &path).await {
            // Somebody else was faster.
            Ok(()) | Err(Error::KeyNotFound) => {}
            Err(err) => return Err(visible(err)),
        }
    }
    Ok(guest.see_other("/app/keys"))
}

async fn answer(
    guest: &Guest,
    services: &Services,
    status: StatusCode,
    form: &Form,
    faults: &[Fault],
    above: &Above<'_>,
) -> Result<HttpResponse, Problem> {
    let page_of_keys = services.keys.list(above.after.as_ref(), KEYS_OF_A_PAGE).await;
    let KeyPage { keys, next } = page_of_keys.map_err(visible)?;
    let body = html! {
        h1 { "Keys" }
        @if let Some(notice) = above.notice { div.notice.bad role="alert" { p { (notice) } } }
        @if let Some(issued) = above.issued { (shown_once(issued)) }
        (table(guest, &keys))
        nav.row aria-label="Pages" {
            @if above.after.is_some() { a.button href="/app/keys" { "Newest" } }
            @if let Some(next) = next { a.button href={ "/app/keys?cursor=" (next) } rel="next" { "Older" } }
        }
        (form_of_new(guest, form, faults))
    };
    Ok(guest.page(status, page(guest, Place::Keys, "Keys", false, &body)))
}

fn shown_once(issued: &IssuedKey) -> Markup {
    let secret = issued.secret.expose_secret();
    html! {
        div.notice role="status" {
            div {
                p { "The key “" (issued.key.name) "” was made. It is shown this once: copy it now." }
                p { code { (secret) } }
            }
            button type="button" hidden data-copy=(secret) { "Copy" }
        }
    }
}

fn table(guest: &Guest, keys: &[Key]) -> Markup {
    let day = |time: Option<Timestamp>| {
        html! {
            @match time {
                Some(time) => time datetime=(time) { (time.strftime("%Y-%m-%d")) },
                None => "–",
            }
        }
    };
    html! {
        @if keys.is_empty() {
            div.card { p { "No key was issued yet. ADMIN_API_KEY is not listed: it has every scope." } }
        } @else {
            div.card.scroll tabindex="0" role="region" aria-label="Keys" {
                table {
                    thead {
                        tr { th { "Name" } th { "Scopes" } th { "Made" } th { "Last used" } th { "Ends" } th { span.hidden { "Revoke" } } }
                    }
                    tbody {
                        @for key in keys {
                            tr {
                                td { b { (key.name) } div.soft.mono { (key.id) } }
                                td {
                                    @for scope in &key.scopes { code { (scope.as_str()) } br; }
                                    @if key.own_links_only { small { "own links only" } }
                                }
                                td { (day(Some(key.created_at))) }
                                td { (day(key.last_used_at)) }
                                td { (day(key.expires_at)) }
                                td {
                                    details {
                                        summary { "Revoke" span.hidden { " " (key.name) } }
                                        form method="post" action={ "/app/keys/" (key.id) "/revoke" } {
                                            (form::token(guest))
                                            button.danger { "Revoke for good" }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn form_of_new(guest: &Guest, form: &Form, faults: &[Fault]) -> Markup {
    let times: Vec<(&str, &str)> = std::iter::once(("", "Never"))
        .chain(TIMES.iter().map(|(name, label, _)| (*name, *label)))
        .collect();
    let scopes = [
        (Scope::LinksCreate, "make links"),
        (Scope::LinksRead, "see links"),
        (Scope::LinksWrite, "change and delete links"),
        (Scope::StatsRead, "see statistics"),
        (Scope::KeysAdmin, "make and revoke keys"),
    ];
    let fault = form::fault_of(faults, "scopes");
    html! {
        form.card method="post" action="/app/keys" {
            h2 { "New key" }
            (form::token(guest))
            input type="hidden" name=(ID) value=(Keys::new_id());
            div.grid {
                (Line { name: "name", label: "Name", hint: "Who or what it is for.", required: true, ..Line::default() }.show(form, faults))
                (form::choice("expires", "Ends", "", &times, form, faults))
            }
            fieldset aria-describedby=[fault.map(|_| "scopes-fault")] {
                legend { "What it may be used for" }
                @for (scope, text) in scopes {
                    label.check {
                        input type="checkbox" name="scopes" value=(scope.as_str())
                            checked[form.all("scopes").any(|ticked| ticked == scope.as_str())];
                        span { (text) " " code.soft { (scope.as_str()) } }
                    }
                }
                (form::notes("scopes", "", fault))
            }
            fieldset {
                legend.hidden { "Which links" }
                (form::tick("own_links_only", "Only links that it made itself", form))
                (form::notes("own_links_only", "", form::fault_of(faults, "own_links_only")))
            }
            button.main { "Make key" }
        }
    }
}
