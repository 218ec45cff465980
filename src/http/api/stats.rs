//! `GET /api/v1/links/{slug}/stats`

use std::str::FromStr;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde::Serialize;
use url::form_urlencoded;
use utoipa::ToSchema;
use utoipa::openapi::schema::{KnownFormat, SchemaFormat};

use super::link::answer;
use super::slug_in_path;
use crate::domain::{Dimension, Interval, Ranked, Slug, Statistics};
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::openapi::{Operation, number, text, word};
use crate::http::problem::Problem;
use crate::http::query::{self, MalformedQuery};
use crate::service::Scope;

/// The values of each dimension that are shown.
const DEFAULT_LIMIT: u16 = 10;
const MAX_LIMIT: u16 = 1000;

/// Shows what was clicked.
pub(in crate::http) async fn stats(
    request: HttpRequest,
    path: web::Path<String>,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::StatsRead)?;
    let slug = slug_in_path(&path)?;
    let question = Question::of(request.query_string()).map_err(Problem::malformed_query)?;
    let range = services
        .stats
        .range(question.from, question.to, question.interval)
        .map_err(|err| Problem::malformed_query(format!("{err}.")))?;
    // A key that is held to its own links sees no other's statistics.
    services.links.link(&caller, &slug).await?;
    services.clicks.keep_up().await;
    let statistics = services.stats.of(&slug, range, question.limit).await?;
    Ok(answer(StatusCode::OK).json(Body::new(slug.as_str(), &statistics)))
}

struct Question {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    interval: Interval,
    limit: u16,
}

impl Question {
    /// Reads the query string; each name once, and none that is not known.
    fn of(query: &str) -> Result<Self, String> {
        let (mut from, mut to, mut interval, mut limit) = (None, None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "from" => once(&mut from, "from", time("from", &value)?)?,
                "to" => once(&mut to, "to", time("to", &value)?)?,
                "interval" => {
                    let parsed = value.parse().map_err(|err| format!("{err}."))?;
                    once(&mut interval, "interval", parsed)?;
                }
                "limit" => {
                    let parsed = u16::from_str(&value).ok().filter(|n| (1..=MAX_LIMIT).contains(n));
                    let parsed = parsed.ok_or_else(|| format!("limit is a number from 1 to {MAX_LIMIT}."))?;
                    once(&mut limit, "limit", parsed)?;
                }
                _ => return Err("The parameters are from, to, interval and limit.".to_owned()),
            }
        }
        Ok(Self {
            from,
            to,
            interval: interval.unwrap_or(Interval::Day),
            limit: limit.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is there twice.")),
    }
}

fn time(name: &str, text: &str) -> Result<Timestamp, String> {
    query::time(name, text).map_err(|MalformedQuery(detail)| detail)
}

/// What was clicked. Field names are part of the contract.
#[derive(Serialize, ToSchema)]
#[schema(as = Statistics)]
struct Body<'a> {
    #[schema(value_type = Slug)]
    slug: &'a str,
    from: Timestamp,
    to: Timestamp,
    interval: &'static str,
    /// Clicks by people.
    clicks: i64,
    /// Clicks by crawlers and other programs, which are not among `clicks`.
    bots: i64,
    /// People, told apart by day.
    visitors: i64,
    /// Those of the clicks that came from a QR code.
    scans: i64,
    /// Every bucket of the range, empty ones too.
    series: Vec<BodyBucket>,
    referrers: Vec<BodyValue<'a>>,
    browsers: Vec<BodyValue<'a>>,
    systems: Vec<BodyValue<'a>>,
    devices: Vec<BodyValue<'a>>,
    countries: Vec<BodyValue<'a>>,
    languages: Vec<BodyValue<'a>>,
}

/// The sums of an hour, a day or a month.
#[derive(Serialize, ToSchema)]
#[schema(as = Bucket)]
struct BodyBucket {
    start: Timestamp,
    clicks: i64,
    bots: i64,
    scans: i64,
}

/// A value and its clicks.
#[derive(Serialize, ToSchema)]
#[schema(as = Ranked)]
struct BodyValue<'a> {
    value: &'a str,
    clicks: i64,
}

impl<'a> Body<'a> {
    fn new(slug: &'a str, statistics: &'a Statistics) -> Self {
        let values = |dimension| {
            let shown = |ranked: &'a Ranked| BodyValue {
                value: &ranked.value,
                clicks: ranked.clicks,
            };
            statistics.values(dimension).map(shown).collect()
        };
        let bucket = |bucket: &crate::domain::Bucket| BodyBucket {
            start: bucket.start,
            clicks: bucket.counts.clicks,
            bots: bucket.counts.bots,
            scans: bucket.counts.scans,
        };
        Self {
            slug,
            from: statistics.range.from,
            to: statistics.range.to,
            interval: statistics.range.interval.as_str(),
            clicks: statistics.total.clicks,
            bots: statistics.total.bots,
            visitors: statistics.total.visitors,
            scans: statistics.total.scans,
            series: statistics.series.iter().map(bucket).collect(),
            referrers: values(Dimension::Referrer),
            browsers: values(Dimension::Browser),
            systems: values(Dimension::System),
            devices: values(Dimension::Device),
            countries: values(Dimension::Country),
            languages: values(Dimension::Language),
        }
    }
}

pub(in crate::http) fn described() -> Operation {
    const STATISTICS: &str = r#"{
        "slug": "x7Kq2mP", "from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z", "interval": "day",
        "clicks": 60, "bots": 7, "visitors": 41, "scans": 12,
        "series": [{"start": "2026-11-20T00:00:00Z", "clicks": 60, "bots": 7, "scans": 12}],
        "referrers": [{"value": "news.example", "clicks": 40}, {"value": "(direct)", "clicks": 20}],
        "browsers": [], "systems": [], "devices": [], "countries": [], "languages": []
    }"#;
    let time = |about| text(about).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let limit =
        number(1, MAX_LIMIT.into(), "The most values of each kind.").default(Some(DEFAULT_LIMIT.into()));
    Operation::of_api(
        "GET",
        "/links/{slug}/stats",
        "getStatistics",
        "Show what was clicked",
        Scope::StatsRead,
    )
    .group("statistics")
    .in_query(
        "from",
        time("The beginning; widened to a whole bucket. Without it, 30 days before `to`."),
    )
    .in_query("to", time("The end, likewise. Without it, now."))
    .in_query(
        "interval",
        word(["hour", "day", "month"], "The length of a bucket.").default(Some("day".into())),
    )
    .in_query("limit", limit)
    .answers::<Body<'_>>(StatusCode::OK, "The statistics", STATISTICS)
    .problems(&["malformed_query", "link_not_found"])
}
