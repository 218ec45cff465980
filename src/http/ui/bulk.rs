//! `/app/bulk`: many addresses at once, each with its result.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use sha2::{Digest, Sha256};

use super::super::problem::Problem;
use super::super::{Services, address, origin, rate};
use super::form::{self, Form};
use super::guest::Guest;
use super::layout::{Place, page};
use super::{member, visible};
use crate::domain::{Fault, LinkDraft, trim_invisible};
use crate::service::{Answer, Batch, Error, Item, Origin, Render, RequestName, Scope};

/// The most links of a form.
const MAX_LINKS: usize = 1000;

/// The most bytes of the name of a request.
const MAX_REQUEST_LEN: usize = 64;

/// The most bytes of a form.
const LIMIT: usize = 4 * 1024 * 1024;

/// The field that names the request: a form that is sent again creates nothing, and shows what it created.
const REQUEST: &str = "request";

/// The short URL of a line, or the error.
type LineResult = Result<String, String>;

/// One line and what became of it.
struct Row {
    line: String,
    result: LineResult,
}

/// `GET /app/bulk`
pub(super) async fn show(
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::LinksCreate).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    Ok(answer(&guest, StatusCode::OK, &first(&guest, "", None)))
}

/// `POST /app/bulk`
pub(super) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::LinksCreate).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let sent = Form::read(&request, payload, LIMIT, &guest, &services).await?;
    let typed = sent.get("lines");
    let refused = |status, text: &str| Ok(answer(&guest, status, &first(&guest, typed, Some(text))));
    if !sent.is_ours {
        return refused(StatusCode::FORBIDDEN, form::STALE);
    }
    let lines: Vec<&str> = typed
        .lines()
        .map(trim_invisible)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() || lines.len() > MAX_LINKS {
        return refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Paste 1 to 1,000 addresses, one on each line.",
        );
    }
    rate::create(&request, &services, &guest.caller)
        .await
        .map_err(visible)?;
    let drafts = lines.iter().map(|line| Ok(draft(line))).collect();
    let client = address::client(&request, &services.config);
    let origin = Origin {
        host: origin::host(&request),
    };
    let made = services
        .links
        .create_all(
            &guest.caller,
            drafts,
            origin,
            request_name(&sent, client),
            render(&guest.base),
        )
        .await;
    let (Batch::Answered(stored) | Batch::Replayed(stored)) = made.map_err(visible)? else {
        return Err(Problem::unavailable().for_visitor());
    };
    let of_lines: Vec<LineResult> = serde_json::from_slice(&stored.body).unwrap_or_default();
    let rows: Vec<Row> = lines
        .iter()
        .zip(of_lines)
        .map(|(line, result)| Row {
            line: (*line).to_owned(),
            result,
        })
        .collect();
    Ok(answer(&guest, StatusCode::OK, &results(&guest, &rows)))
}

/// The name under which the results are stored. Another text in the same form is another request.
fn request_name(sent: &Form, client: IpAddr) -> Option<RequestName> {
    let name = sent.text(REQUEST).filter(|name| name.len() <= MAX_REQUEST_LEN)?;
    let request: [u8; 32] = Sha256::digest(sent.get("lines")).into();
    let digits: String = request.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(RequestName {
        key: format!("form:{name}:{digits}"),
        client,
        request,
    })
}

/// Renders the results, a [`LineResult`] for each line.
fn render(base: &str) -> Render {
    let base = base.to_owned();
    Arc::new(move |items| {
        let result = |item: &Item| match item {
            Item::Made(link) | Item::Reused(link) => Ok(format!("{base}{}", link.slug)),
            Item::Refused(err) => Err(reason(err)),
        };
        let results: Vec<LineResult> = items.iter().map(result).collect();
        Some(Answer {
            status: StatusCode::OK.as_u16(),
            location: None,
            body: serde_json::to_vec(&results).ok()?,
        })
    })
}

/// `POST /app/bulk/csv`: the results that the page shows, as a file.
pub(super) async fn csv(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = match member(&request, &services, Scope::LinksCreate).await? {
        Ok(guest) => guest,
        Err(elsewhere) => return Ok(elsewhere),
    };
    let sent = Form::read(&request, payload, LIMIT, &guest, &services).await?;
    if !sent.is_ours {
        return Ok(guest.see_other("/app/bulk"));
    }
    let mut file = "address,short_url,problem\r\n".to_owned();
    for ((line, short), problem) in sent.all("line").zip(sent.all("short")).zip(sent.all("problem")) {
        // Writing to a text does not fail.
        let _ = write!(file, "{},{},{}\r\n", cell(line), cell(short), cell(problem));
    }
    Ok(guest
        .answer(StatusCode::OK)
        .content_type("text/csv; charset=utf-8")
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"links.csv\""))
        .body(file))
}

/// A line: an address and, behind a space, perhaps a name.
fn draft(line: &str) -> LinkDraft {
    let mut parts = line.splitn(2, char::is_whitespace);
    LinkDraft {
        url: form::target(parts.next().unwrap_or_default()),
        slug: parts.next().map(|name| name.trim().to_owned()),
        ..LinkDraft::default()
    }
}

fn reason(err: &Error) -> String {
    match err {
        Error::InvalidLink(faults) => {
            let details: Vec<&str> = faults.iter().map(|fault: &Fault| fault.detail.as_str()).collect();
            details.join("; ")
        }
        Error::SlugTaken => "another link has this name".to_owned(),
        _ => "this could not be done right now".to_owned(),
    }
}

/// A cell of a CSV file (RFC 4180) that no spreadsheet takes for a formula.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn answer(guest: &Guest, status: StatusCode, body: &Markup) -> HttpResponse {
    guest.page(status, page(guest, Place::Bulk, "Paste many", false, body))
}

/// The page before any line was looked at.
fn first(guest: &Guest, typed: &str, fault: Option<&str>) -> Markup {
    html! {
        h1 { "Paste many addresses" }
        (form(guest, typed, fault))
    }
}

fn form(guest: &Guest, typed: &str, fault: Option<&str>) -> Markup {
    html! {
        form.card method="post" action="/app/bulk" {
            (form::token(guest))
            input type="hidden" name=(REQUEST) value=(nanoid::nanoid!());
            div.field {
                label for="lines" { "Addresses, one on each line" }
                textarea id="lines" name="lines" rows="12" required spellcheck="false" wrap="off"
                    aria-invalid=[fault.map(|_| "true")]
                    aria-describedby={ @if fault.is_some() { "lines-fault " } "lines-hint" } {
                    // A browser leaves out a first line break.
                    "\n" (typed)
                }
                @if let Some(fault) = fault { span.fault #lines-fault { (fault) } }
                small #lines-hint {
                    "Up to 1,000. A name of your own may stand behind an address, after a space. One that is refused keeps no other from being made."
                }
            }
            button.main { "Make links" }
        }
    }
}

fn results(guest: &Guest, rows: &[Row]) -> Markup {
    let made = rows.iter().filter(|row| row.result.is_ok()).count();
    let refused = rows.len() - made;
    let all: Vec<&str> = rows.iter().filter_map(|row| row.result.as_deref().ok()).collect();
    let left: Vec<&str> = rows
        .iter()
        .filter(|row| row.result.is_err())
        .map(|row| row.line.as_str())
        .collect();
    html! {
        div.head {
            h1 { (made) @if made == 1 { " link made" } @else { " links made" } @if refused > 0 { ", " (refused) " refused" } }
            form.row method="post" action="/app/bulk/csv" {
                (form::token(guest))
                @for row in rows {
                    input type="hidden" name="line" value=(row.line);
                    input type="hidden" name="short" value=(row.result.as_deref().unwrap_or_default());
                    input type="hidden" name="problem" value=(row.result.as_ref().err().map_or("", String::as_str));
                }
                @if made > 0 { button.main type="button" hidden data-copy=(all.join("\n")) { "Copy all" } }
                button { "Download CSV" }
            }
        }
        div.card.scroll tabindex="0" role="region" aria-label="Results" {
            table.results {
                thead { tr { th.n { "Line" } th { "Address" } th { "Result" } } }
                tbody {
                    @for (number, row) in rows.iter().enumerate() {
                        tr {
                            td.n { (number + 1) }
                            td.target { (row.line) }
                            td {
                                @match &row.result {
                                    Ok(short) => a.mono href=(short) { (short) },
                                    Err(reason) => span.fault { (reason) },
                                }
                            }
                        }
                    }
                }
            }
        }
        @if refused > 0 {
            h2 { "What was refused" }
            (self::form(guest, &left.join("\n"), Some("Mend these lines and send them again.")))
        } @else {
            a.button href="/app/bulk" { "Paste more" }
        }
    }
}
