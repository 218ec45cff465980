//! `GET /api/v1/links/{slug}/stats`

use std::str::FromStr;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde::Serialize;
use url::form_urlencoded;

use super::link::answer;
use super::slug_in_path;
use crate::domain::{Dimension, Interval, Ranked, Statistics};
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::problem::Problem;
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
                "from" => once(&mut from, "from", time(&value)?)?,
                "to" => once(&mut to, "to", time(&value)?)?,
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

fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| "from and to are RFC 3339 times, such as 2026-11-21T00:00:00Z.".to_owned())
}

/// Field names are part of the contract.
#[derive(Serialize)]
struct Body<'a> {
    slug: &'a str,
    from: Timestamp,
    to: Timestamp,
    interval: &'static str,
    clicks: i64,
    bots: i64,
    visitors: i64,
    scans: i64,
    series: Vec<BodyBucket>,
    referrers: Vec<BodyValue<'a>>,
    browsers: Vec<BodyValue<'a>>,
    systems: Vec<BodyValue<'a>>,
    devices: Vec<BodyValue<'a>>,
    countries: Vec<BodyValue<'a>>,
    languages: Vec<BodyValue<'a>>,
}

#[derive(Serialize)]
struct BodyBucket {
    start: Timestamp,
    clicks: i64,
    bots: i64,
    scans: i64,
}

#[derive(Serialize)]
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
