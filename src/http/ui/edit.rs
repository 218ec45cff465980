//! `/app/new` and `/app/links/{slug}/edit`: every field of a link.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use maud::{Markup, html};

use super::super::problem::Problem;
use super::super::{Services, origin, rate};
use super::form::{self, Form, Line};
use super::guest::Guest;
use super::layout::{Place, page};
use super::{link_in_path, member, taken, visible};
use crate::domain::{Change, Fault, FaultCode, Link, LinkDraft, LinkPatch};
use crate::service::{Error, Origin, Scope};

const STATUSES: [(&str, &str); 4] = [
    ("302", "302 Found (not kept by browsers)"),
    ("307", "307 Temporary"),
    ("301", "301 Moved permanently (kept by browsers)"),
    ("308", "308 Permanent (kept by browsers)"),
];

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
    Ok(show(&guest, StatusCode::OK, None, &form, &[], None))
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
            Some(form::STALE),
        ));
    }
    rate::create(&request, &services, &guest.caller)
        .await
        .map_err(visible)?;
    let typed = Typed::of(&form, None);
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
    Ok(show(
        &guest,
        StatusCode::OK,
        Some(&link),
        &filled(&link),
        &[],
        None,
    ))
}

/// `POST /app/links/{slug}/edit`
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
    if !form.is_ours {
        return Ok(show(
            &guest,
            StatusCode::FORBIDDEN,
            Some(&link),
            &form,
            &[],
            Some(form::STALE),
        ));
    }
    let typed = Typed::of(&form, Some(&link));
    let patch = LinkPatch {
        url: Change::Set(typed.url),
        title: Change::Set(typed.title),
        tags: Change::Set(typed.tags),
        redirect_status: Change::Set(typed.redirect_status),
        cache_seconds: Change::Set(typed.cache_seconds),
        forward_query: Change::Set(form.has("forward_query")),
        valid_from: Change::Set(typed.valid_from),
        expires_at: Change::Set(typed.expires_at),
        max_clicks: Change::Set(typed.max_clicks),
        disabled: Change::Set(form.has("disabled")),
    };
    let result = if typed.faults.is_empty() {
        let origin = Origin {
            host: origin::host(&request),
        };
        services
            .links
            .update(&guest.caller, &link.slug, patch, origin)
            .await
    } else {
        Err(Error::InvalidPatch(typed.faults))
    };
    match result {
        Ok(link) => Ok(guest.see_other(&format!("/app/links/{}?saved", link.slug))),
        Err(err) => refused(&guest, Some(&link), &form, err),
    }
}

fn refused(guest: &Guest, link: Option<&Link>, form: &Form, err: Error) -> Result<HttpResponse, Problem> {
    let (status, faults) = match err {
        Error::InvalidLink(faults) | Error::InvalidPatch(faults) => {
            (StatusCode::UNPROCESSABLE_ENTITY, faults)
        }
        Error::SlugTaken => (StatusCode::CONFLICT, vec![taken()]),
        err => return Err(visible(err)),
    };
    Ok(show(guest, status, link, form, &faults, None))
}

/// What was typed, as the fields of a link.
#[derive(Default)]
struct Typed {
    url: String,
    title: Option<String>,
    tags: Vec<String>,
    redirect_status: Option<i64>,
    cache_seconds: Option<i64>,
    max_clicks: Option<i64>,
    valid_from: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    faults: Vec<Fault>,
}

impl Typed {
    fn of(form: &Form, link: Option<&Link>) -> Self {
        let mut faults = Vec::new();
        let mut number = |name: &str| match form.text(name).map(str::parse::<i64>) {
            Some(Err(_)) => {
                faults.push(fault(name, "a whole number"));
                None
            }
            number => number.and_then(Result::ok),
        };
        let (redirect_status, cache_seconds, max_clicks) = (
            number("redirect_status"),
            number("cache_seconds"),
            number("max_clicks"),
        );
        let mut time = |name: &str, kept: Option<Timestamp>| match form.text(name) {
            // What is shown has no fractions of a second; what was left as it stood keeps them.
            Some(text) if kept.is_some_and(|kept| shown(kept) == text) => kept,
            Some(text) => {
                let time = text
                    .parse::<DateTime>()
                    .ok()
                    .and_then(|time| time.to_zoned(TimeZone::UTC).ok());
                if time.is_none() {
                    faults.push(fault(name, "a day and a time, such as 2030-01-31T12:00"));
                }
                time.map(|time| time.timestamp())
            }
            None => None,
        };
        let valid_from = time("valid_from", link.and_then(|link| link.valid_from));
        let expires_at = time("expires_at", link.and_then(|link| link.expires_at));
        let tags = form
            .get("tags")
            .split(',')
            .map(str::trim)
            .filter(|tag| !tag.is_empty());
        Self {
            url: form::target(form.get("url")),
            title: form.text("title").map(str::to_owned),
            tags: tags.map(str::to_owned).collect(),
            redirect_status,
            cache_seconds,
            max_clicks,
            valid_from,
            expires_at,
            faults,
        }
    }
}

fn fault(name: &str, wanted: &str) -> Fault {
    Fault::new(
        format!("/{name}"),
        FaultCode::WrongType,
        format!("this has to be {wanted}"),
    )
}

/// A time as browsers write it into a field.
fn shown(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// The form with what is kept.
fn filled(link: &Link) -> Form {
    let number = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    let time = |time: Option<Timestamp>| time.map_or_else(String::new, shown);
    let mut fields = vec![
        ("url", link.target.as_str().to_owned()),
        ("title", link.title.clone().unwrap_or_default()),
        ("tags", link.tags.join(", ")),
        ("redirect_status", link.redirect_status.to_string()),
        ("cache_seconds", number(link.cache_seconds.map(i64::from))),
        ("valid_from", time(link.valid_from)),
        ("expires_at", time(link.expires_at)),
        ("max_clicks", number(link.max_clicks)),
    ];
    let ticked = [("forward_query", link.forward_query), ("disabled", link.disabled)];
    fields.extend(
        ticked
            .iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| (*name, "on".to_owned())),
    );
    Form::filled(fields)
}

fn show(
    guest: &Guest,
    status: StatusCode,
    link: Option<&Link>,
    form: &Form,
    faults: &[Fault],
    notice: Option<&str>,
) -> HttpResponse {
    let (title, action, back) = match link {
        Some(link) => (
            format!("Edit /{}", link.slug),
            format!("/app/links/{}/edit", link.slug),
            format!("/app/links/{}", link.slug),
        ),
        None => ("New link".to_owned(), "/app/new".to_owned(), "/app".to_owned()),
    };
    let body = html! {
        h1 { (title) }
        @if let Some(notice) = notice { div.notice.bad role="alert" { p { (notice) } } }
        @if !faults.is_empty() {
            div.notice.bad role="alert" { p { @if link.is_some() { "Nothing was changed" } @else { "Nothing was made" } ": see what is marked below." } }
        }
        form.card method="post" action=(action) {
            (form::token(guest))
            (fields(link, form, faults))
            div.row {
                button.main { @if link.is_some() { "Save" } @else { "Make link" } }
                a.button href=(back) { "Cancel" }
            }
        }
    };
    guest.page(status, page(guest, Place::Elsewhere, &title, true, &body))
}

fn fields(link: Option<&Link>, form: &Form, faults: &[Fault]) -> Markup {
    let line = |line: Line<'_>| line.show(form, faults);
    html! {
        (line(Line { name: "url", label: "Target", class: "mono", mode: Some("url"), required: true, ..Line::default() }))
        @if link.is_none() {
            (line(Line { name: "slug", label: "Name", before: "/", class: "mono",
                hint: "Letters, digits, - and _. Empty: one is made up.", ..Line::default() }))
        }
        (line(Line { name: "title", label: "Title", hint: "For you, and for who looks at the preview.", ..Line::default() }))
        (line(Line { name: "tags", label: "Tags", hint: "Separated by commas.", ..Line::default() }))
        div.grid {
            (line(Line { name: "valid_from", label: "Valid from", kind: "datetime-local", hint: "UTC. Before it, the link is not found.", ..Line::default() }))
            (line(Line { name: "expires_at", label: "Expires", kind: "datetime-local", hint: "UTC. Empty: never.", ..Line::default() }))
            (line(Line { name: "max_clicks", label: "Click limit", mode: Some("numeric"), hint: "Gone after this many. Empty: no limit.", ..Line::default() }))
            (form::choice("redirect_status", "Status", "", &STATUSES, form, faults))
            (line(Line { name: "cache_seconds", label: "Kept by browsers", mode: Some("numeric"),
                hint: "Seconds, with 301 and 308. Empty: 300.", ..Line::default() }))
        }
        fieldset {
            legend.hidden { "Behaviour" }
            (form::tick("forward_query", "Add the visitor's query string to the target", form))
            @if link.is_some() { (form::tick("disabled", "Disabled: visitors are told that it was taken down", form)) }
        }
    }
}
