//! `action=shorturl`

use std::sync::Arc;

use actix_web::HttpRequest;
use serde_json::Map;

use super::Outcome;
use super::parameters::Parameters;
use super::reply::{self, Format, Reply};
use super::show::{date, shorturl as short, title};
use crate::domain::{Fault, FaultCode, Link, LinkDraft, Slug, typed_target};
use crate::http::api::{replayed_header, request_name};
use crate::http::{Services, address, origin, rate};
use crate::service::{Answer, Batch, Caller, Error, Item, Origin, Render, Scope};

/// Makes a link, unless the caller has one to the same address already.
pub(super) async fn shorturl(
    request: &HttpRequest,
    services: &Services,
    caller: &Caller,
    parameters: &Parameters,
    format: Format,
) -> Result<Outcome, Error> {
    caller.require(Scope::LinksCreate)?;
    let address = address::client(request, &services.config);
    rate::create(request, services, caller).await?;
    let url = with_scheme(parameters.get("url"));
    if url.is_empty() {
        return Ok(Outcome::Reply(refused("error:nourl", "Missing or malformed URL")));
    }
    let Ok(name) = request_name(request, address, &parameters.sent()) else {
        let message = "There is one Idempotency-Key, of 1 to 255 visible ASCII characters.";
        return Ok(Outcome::Reply(Reply::failed(400, message)));
    };
    // As YOURLS does: what no keyword can hold is taken out.
    let asked = parameters.get("keyword");
    let keyword: String = asked.chars().filter(|char| Slug::may_hold(*char)).collect();
    if keyword.is_empty() && !asked.is_empty() {
        let message = "The keyword has none of the characters A-Z a-z 0-9 _ and -";
        return Ok(Outcome::Reply(refused("error:keyword", message)));
    }
    let draft = LinkDraft {
        url,
        slug: (!keyword.is_empty()).then(|| keyword.clone()),
        title: kept_title(parameters.get("title")),
        reuse_existing: true,
        ..LinkDraft::default()
    };
    let origin = Origin {
        host: origin::host(request),
    };
    let render = render(origin::base(request, &services.config), format);
    let batch = services
        .links
        .create_all(caller, vec![Ok(draft)], origin, name, render)
        .await?;
    let given = |answer: Answer| reply::response(answer.status, format, answer.body);
    Ok(match batch {
        Batch::Answered(answer) => Outcome::Response(given(answer)),
        Batch::Replayed(answer) => {
            let mut response = given(answer);
            let (name, value) = replayed_header();
            response.headers_mut().insert(name, value);
            Outcome::Response(response)
        }
        Batch::Items(items) => match items.into_iter().next() {
            Some(Item::Refused(Error::SlugTaken)) => Outcome::Reply(keyword_taken(&keyword)),
            Some(Item::Refused(Error::InvalidLink(faults))) => Outcome::Reply(fault(&faults, &keyword)),
            Some(Item::Refused(err)) => return Err(err),
            _ => Outcome::Reply(refused("error:db", "Error saving url to database")),
        },
    })
}

/// YOURLS puts `http://` before what has no scheme, be it a host or not.
fn with_scheme(typed: &str) -> String {
    let url = typed_target(typed, "http");
    match url::Url::parse(&url) {
        Err(url::ParseError::RelativeUrlWithoutBase) if !url.is_empty() => format!("http://{url}"),
        _ => url,
    }
}

/// A title that is too long is cut: YOURLS takes longer ones.
fn kept_title(title: &str) -> Option<String> {
    let title: String = title
        .chars()
        .filter(|c| *c != '\0')
        .take(Link::MAX_TITLE_CHARS)
        .collect();
    (!title.is_empty()).then_some(title)
}

fn render(base: String, format: Format) -> Render {
    Arc::new(move |items| {
        let reply = match items {
            [Item::Made(link)] => made(link, &base),
            [Item::Reused(link)] => there_already(link, &base),
            _ => return None,
        };
        Some(Answer {
            status: reply.status(),
            location: None,
            body: reply.body(format).into_bytes(),
        })
    })
}

fn made(link: &Link, base: &str) -> Reply {
    let mut reply = about(200, link, base);
    reply.text("status", "success");
    reply.text("code", "");
    reply.text("message", format!("{} added to database", link.target));
    reply.text("errorCode", "");
    reply.text("statusCode", 200);
    reply
}

/// As YOURLS, which has each address but once: a failure that names the link.
fn there_already(link: &Link, base: &str) -> Reply {
    let mut reply = about(400, link, base);
    reply.text("status", "fail");
    reply.text("code", "error:url");
    reply.text("message", format!("{} already exists in database", link.target));
    reply.text("errorCode", 400);
    reply.text("statusCode", 400);
    reply
}

fn about(status: u16, link: &Link, base: &str) -> Reply {
    let mut reply = Reply::new(status, short(link, base));
    let mut url = Map::new();
    let mut add = |name: &str, value: String| url.insert(name.to_owned(), value.into());
    add("keyword", link.slug.to_string());
    add("url", link.target.to_string());
    add("title", title(link).to_owned());
    add("date", date(link));
    // No address is kept.
    add("ip", String::new());
    if status != 200 {
        add("clicks", link.clicks.to_string());
    }
    reply.group("url", url);
    reply.text("title", title(link));
    reply.text("shorturl", short(link, base));
    reply
}

fn refused(code: &str, message: &str) -> Reply {
    let mut reply = Reply::failed(400, message);
    reply.text("status", "fail");
    reply.text("code", code);
    reply.text("statusCode", 400);
    // As in YOURLS: there is no short URL to print.
    reply.without_simple()
}

fn keyword_taken(keyword: &str) -> Reply {
    let message = format!("Short URL {keyword} already exists in database or is reserved");
    refused("error:keyword", &message)
}

fn fault(faults: &[Fault], keyword: &str) -> Reply {
    match faults.first() {
        Some(fault) if fault.code == FaultCode::SlugReserved => keyword_taken(keyword),
        Some(fault) if fault.pointer == "/slug" => refused(
            "error:keyword",
            &format!("The keyword cannot be used: {}", fault.detail),
        ),
        Some(fault) if fault.code == FaultCode::OwnHost => refused("error:noloop", "URL is a short URL"),
        Some(fault) => refused(
            "error:nourl",
            &format!("Missing or malformed URL: {}", fault.detail),
        ),
        None => refused("error:nourl", "Missing or malformed URL"),
    }
}
