//! Clicks over time, drawn as SVG, and as a table for who does not see it.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::domain::{Interval, Statistics};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 44.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 8.0;
/// The part of its place that a bar leaves free.
const GAP: f64 = 0.22;
/// About how many labels fit below.
const LABELS: usize = 7;

/// The chart, and its figures as a table.
pub(super) fn clicks(statistics: &Statistics) -> Markup {
    let interval = statistics.range.interval;
    let every = statistics.series.len().div_ceil(LABELS).max(1);
    let most = statistics
        .series
        .iter()
        .map(|bucket| bucket.counts.clicks + bucket.counts.bots)
        .max();
    let step = step(most.unwrap_or_default());
    let top = step * ((most.unwrap_or_default() + step - 1) / step).max(1);
    let place = (WIDTH - LEFT) / count(statistics.series.len().max(1));
    let height = |clicks: i64| (HEIGHT - BOTTOM - TOP) * float(clicks) / float(top);
    let floor = HEIGHT - BOTTOM;
    html! {
        div.scroll.late tabindex="0" role="group" aria-label="Chart" {
            svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ "Chart of " (statistics.total.clicks) " clicks and " (statistics.total.bots) " bots; the table below has its figures" } {
                @for level in (0..=top / step).map(|level| level * step) {
                    line x1=(LEFT) x2=(WIDTH) y1=(short(floor - height(level))) y2=(short(floor - height(level))) {}
                    text x=(LEFT - 8.0) y=(short(floor - height(level) + 4.0)) text-anchor="end" { (level) }
                }
                @for (number, bucket) in statistics.series.iter().enumerate() {
                    @let x = LEFT + place * (count(number) + GAP / 2.0);
                    @let (clicks, bots) = (height(bucket.counts.clicks), height(bucket.counts.bots));
                    @if bucket.counts.clicks + bucket.counts.bots > 0 {
                        g {
                            title { (label(bucket.start, interval)) ": " (bucket.counts.clicks) " clicks, " (bucket.counts.bots) " bots" }
                            @if bucket.counts.clicks > 0 {
                                rect.clicks x=(short(x)) y=(short(floor - clicks)) width=(short(place * (1.0 - GAP))) height=(short(clicks)) {}
                            }
                            @if bucket.counts.bots > 0 {
                                rect.bots x=(short(x)) y=(short(floor - clicks - bots)) width=(short(place * (1.0 - GAP))) height=(short(bots)) {}
                            }
                        }
                    }
                    @if number % every == 0 {
                        text x=(short(x + place * (1.0 - GAP) / 2.0)) y=(HEIGHT - 6.0) text-anchor="middle" { (label(bucket.start, interval)) }
                    }
                }
            }
        }
        p.legend { span.key {} "Clicks " span.key.bots {} "Bots" }
        details {
            summary { "Figures as a table" }
            div.scroll tabindex="0" role="region" aria-label="Figures" {
                table {
                    thead { tr { th { "From (UTC)" } th.n { "Clicks" } th.n { "QR scans" } th.n { "Bots" } } }
                    tbody {
                        @for bucket in statistics.series.iter().rev() {
                            tr {
                                td { (bucket.start.strftime("%Y-%m-%d %H:%M")) }
                                td.n { (bucket.counts.clicks) }
                                td.n { (bucket.counts.scans) }
                                td.n { (bucket.counts.bots) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The distance of two lines: 1, 2 or 5 with zeros, so that there are at most five.
fn step(most: i64) -> i64 {
    let mut power = 1_i64;
    loop {
        for factor in [1, 2, 5] {
            if most <= factor * power * 5 {
                return power * factor;
            }
        }
        power = power.saturating_mul(10).min(i64::MAX / 100);
    }
}

fn label(start: Timestamp, interval: Interval) -> String {
    let form = match interval {
        Interval::Hour => "%H:%M",
        Interval::Day => "%-d %b",
        Interval::Month => "%b %Y",
    };
    start.strftime(form).to_string()
}

/// A number with one digit behind the point: more cannot be seen.
fn short(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[expect(clippy::cast_precision_loss, reason = "a picture need not be as exact")]
fn float(number: i64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "a picture need not be as exact")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn lines_are_at_round_numbers() {
        for (most, expected) in [
            (0, 1),
            (1, 1),
            (5, 1),
            (6, 2),
            (10, 2),
            (11, 5),
            (26, 10),
            (51, 20),
            (101, 50),
            (1_000_000, 200_000),
        ] {
            assert_eq!(step(most), expected, "{most}");
        }
    }
}
