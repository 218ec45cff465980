//! The statistics of a link, within its page.

use jiff::SignedDuration;
use maud::{Markup, html};

use super::super::Services;
use super::super::problem::Problem;
use super::{chart, visible};
use crate::domain::{Dimension, Interval, Slug, Statistics};

/// The values of each dimension that are shown.
const VALUES: u16 = 8;

/// Seconds between two looks.
const REFRESH: u8 = 10;

/// The spans that can be looked at.
const SPANS: [(&str, &str, i64, Interval); 4] = [
    ("day", "24 hours", 1, Interval::Hour),
    ("week", "7 days", 6, Interval::Day),
    ("month", "30 days", 29, Interval::Day),
    ("year", "12 months", 335, Interval::Month),
];

/// The span of a page that asks for none.
const SPAN: &str = "month";

/// The statistics of `slug` over the span of this name.
pub(super) async fn part(services: &Services, slug: &Slug, name: &str) -> Result<Markup, Problem> {
    let named = |name: &str| SPANS.iter().find(|(span, ..)| *span == name);
    let Some((name, _, days, interval)) = named(name).or_else(|| named(SPAN)) else {
        return Err(Problem::not_found().for_visitor());
    };
    let range = services
        .stats
        .last(SignedDuration::from_hours(24 * days), *interval);
    let range = range.map_err(|err| Problem::malformed_query(format!("{err}.")).for_visitor())?;
    services.clicks.keep_up().await;
    let statistics = services.stats.of(slug, range, VALUES).await.map_err(visible)?;
    Ok(show(slug, name, &statistics))
}

fn show(slug: &Slug, name: &str, statistics: &Statistics) -> Markup {
    let total = &statistics.total;
    html! {
        section aria-labelledby="statistics" {
            div.head {
                h2 #statistics { "Clicks" }
                nav aria-label="Span" {
                    ul {
                        @for (span, label, ..) in SPANS {
                            li {
                                a href={ "/app/links/" (slug) "?span=" (span) } aria-current=[(span == name).then_some("true")] { (label) }
                            }
                        }
                    }
                }
            }
            div data-refresh=(REFRESH) {
                dl.figures {
                    div { dt { "Clicks" } dd { (total.clicks) } }
                    div { dt { "Visitors" } dd { (total.visitors) } }
                    div { dt { "QR scans" } dd { (total.scans) } }
                    div { dt { "Bots" } dd { (total.bots) } }
                }
                div.card { (chart::clicks(statistics)) }
                div.grid {
                    (values(statistics, Dimension::Referrer, "Referrers"))
                    (values(statistics, Dimension::Browser, "Browsers"))
                    (values(statistics, Dimension::System, "Systems"))
                    (values(statistics, Dimension::Device, "Devices"))
                    (values(statistics, Dimension::Country, "Countries"))
                    (values(statistics, Dimension::Language, "Languages"))
                }
            }
            p { small { "Times are UTC. Bots are not among the clicks, QR scans are. Visitors are told apart by day." } }
        }
    }
}

fn values(statistics: &Statistics, dimension: Dimension, title: &str) -> Markup {
    let most = statistics
        .values(dimension)
        .map(|value| value.clicks)
        .max()
        .unwrap_or_default();
    html! {
        @if most > 0 {
            section.card {
                h3 { (title) }
                ul.bars {
                    @for ranked in statistics.values(dimension) {
                        li {
                            svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true" {
                                rect width=(100 * ranked.clicks / most) height="1" {}
                            }
                            span { (ranked.value) }
                            span { (ranked.clicks) }
                        }
                    }
                }
            }
        }
    }
}
