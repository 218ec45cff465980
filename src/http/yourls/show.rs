//! `action=expand`, `url-stats`, `stats` and `db-stats`

use actix_web::HttpRequest;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::parameters::Parameters;
use super::reply::Reply;
use crate::domain::{Link, Ranking, Slug};
use crate::http::{Services, origin};
use crate::service::{Caller, Error, Scope};

/// What the simple format has of statistics.
const NO_SIMPLE_STATISTICS: &str = "Need either XML or JSON format for stats";

const NOT_FOUND: &str = "Error: short URL not found";

/// The most links that are ranked at once, and the furthest that a ranking is left out.
const MAX_LIMIT: u32 = 1000;
const MAX_START: u32 = 100_000;

pub(super) async fn expand(
    request: &HttpRequest,
    services: &Services,
    caller: &Caller,
    parameters: &Parameters,
) -> Result<Reply, Error> {
    let keyword = keyword(request, services, parameters.get("shorturl"));
    let Some(link) = find(services, caller, &keyword).await? else {
        let mut reply = Reply::new(404, "not found");
        reply.text("keyword", keyword);
        reply.text("message", NOT_FOUND);
        reply.text("errorCode", 404);
        return Ok(reply);
    };
    let mut reply = Reply::new(200, link.target.as_str());
    reply.text("keyword", &link.slug);
    reply.text(
        "shorturl",
        shorturl(&link, &origin::base(request, &services.config)),
    );
    reply.text("longurl", &link.target);
    reply.text("title", title(&link));
    reply.text("message", "success");
    reply.text("statusCode", 200);
    Ok(reply)
}

pub(super) async fn url_stats(
    request: &HttpRequest,
    services: &Services,
    caller: &Caller,
    parameters: &Parameters,
) -> Result<Reply, Error> {
    let keyword = keyword(request, services, parameters.get("shorturl"));
    let link = find(services, caller, &keyword).await?;
    let status = if link.is_some() { 200 } else { 404 };
    let mut reply = Reply::new(status, NO_SIMPLE_STATISTICS);
    reply.text("statusCode", status);
    match link {
        Some(link) => {
            reply.text("message", "success");
            reply.group("link", of(&link, &origin::base(request, &services.config)));
        }
        None => reply.text("message", NOT_FOUND),
    }
    Ok(reply)
}

pub(super) async fn stats(
    request: &HttpRequest,
    services: &Services,
    caller: &Caller,
    parameters: &Parameters,
) -> Result<Reply, Error> {
    caller.require(Scope::LinksRead)?;
    let ranking = match parameters.get("filter") {
        "bottom" => Ranking::FewestClicks,
        "last" => Ranking::Newest,
        "rand" | "random" => Ranking::Random,
        _ => Ranking::MostClicks,
    };
    // A text that is no number is 0, as in PHP.
    let number = |name: &str| parameters.get(name).parse::<u32>().unwrap_or_default();
    let (limit, start) = (number("limit").min(MAX_LIMIT), number("start").min(MAX_START));
    let base = origin::base(request, &services.config);
    let mut reply = Reply::new(200, NO_SIMPLE_STATISTICS);
    if limit > 0 {
        let links = services.stats.ranked(caller, ranking, start, limit).await?;
        let links = links
            .iter()
            .enumerate()
            .map(|(at, link)| (format!("link_{}", at + 1), Value::Object(of(link, &base))));
        reply.group("links", links.collect());
    }
    reply.group("stats", totals(services, caller).await?);
    reply.text("statusCode", 200);
    reply.text("message", "success");
    Ok(reply)
}

pub(super) async fn db_stats(services: &Services, caller: &Caller) -> Result<Reply, Error> {
    caller.require(Scope::LinksRead)?;
    let mut reply = Reply::new(200, NO_SIMPLE_STATISTICS);
    reply.group("db-stats", totals(services, caller).await?);
    reply.text("statusCode", 200);
    reply.text("message", "success");
    Ok(reply)
}

/// The whole short URL.
pub(super) fn shorturl(link: &Link, base: &str) -> String {
    [base, link.slug.as_str()].concat()
}

/// YOURLS has no link without a title: it takes the address.
pub(super) fn title(link: &Link) -> &str {
    link.title.as_deref().unwrap_or_else(|| link.target.as_str())
}

/// When a link was made, as YOURLS writes it.
pub(super) fn date(link: &Link) -> String {
    let time = link.created_at.to_zoned(TimeZone::UTC);
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

async fn totals(services: &Services, caller: &Caller) -> Result<Map<String, Value>, Error> {
    let totals = services.stats.totals(caller).await?;
    Ok(Map::from_iter([
        ("total_links".to_owned(), totals.links.to_string().into()),
        ("total_clicks".to_owned(), totals.clicks.to_string().into()),
    ]))
}

fn of(link: &Link, base: &str) -> Map<String, Value> {
    Map::from_iter([
        ("shorturl".to_owned(), shorturl(link, base).into()),
        ("url".to_owned(), link.target.as_str().into()),
        ("title".to_owned(), title(link).into()),
        ("timestamp".to_owned(), date(link).into()),
        // No address is kept.
        ("ip".to_owned(), "".into()),
        ("clicks".to_owned(), link.clicks.to_string().into()),
    ])
}

/// The keyword in a short URL of this service, with or without its scheme, or the text itself. A slash at the end is no part
/// of a keyword.
fn keyword(request: &HttpRequest, services: &Services, text: &str) -> String {
    let text = text.trim_end_matches('/');
    let has_scheme = text.contains("://");
    let whole = if has_scheme {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let Some(url) = url::Url::parse(&whole).ok().filter(|_| text.contains('/')) else {
        return text.to_owned();
    };
    let base = services.config.base_url.as_ref().map(|base| base.host());
    let is_own = |host: &str| {
        [base, origin::host(request)]
            .into_iter()
            .flatten()
            .any(|own| own.eq_ignore_ascii_case(host))
    };
    match url.host_str() {
        Some(host) if is_own(host) => url.path().trim_matches('/').to_owned(),
        _ => text.to_owned(),
    }
}

async fn find(services: &Services, caller: &Caller, keyword: &str) -> Result<Option<Link>, Error> {
    caller.require(Scope::LinksRead)?;
    let Ok(slug) = keyword.parse::<Slug>() else {
        return Ok(None);
    };
    match services.links.link(caller, &slug).await {
        Ok(link) => Ok(Some(link)),
        Err(Error::LinkNotFound) => Ok(None),
        Err(err) => Err(err),
    }
}
