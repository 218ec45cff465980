//! What the clicks of a load cost Postgres: batches, rows, and how long they wait for one another.

use super::parameters::Parameters;
use super::popularity::Bin;

/// Clicks on their way to Postgres.
#[derive(Debug, Clone, Copy)]
pub struct Clicks {
    /// Clicks in a batch, and batches a second of all instances.
    pub batch: f64,
    pub batches: f64,
    /// Different links in a batch.
    pub links: f64,
    /// Rows a second that are inserted, updated or deleted; the sums by value are among them.
    pub rows: f64,
    /// Sums by value a second.
    pub sums: f64,
    /// The share of batches that hold the most visited link, whose row they wait for.
    pub together: f64,
    /// The most clicks a second that Postgres takes, and what bounds them.
    pub most: f64,
    pub bound: &'static str,
    /// The most clicks a second that are summed by value as fast as they come; of more, some wait.
    pub summed: f64,
    /// Connections that are taken, of those for clicks.
    pub connections: f64,
}

/// Visits of different people: no two clicks are alike.
pub fn clicks(parameters: &Parameters, bins: &[Bin], rate: f64, instances: f64) -> Clicks {
    let each = rate / instances;
    let batch = each.min(parameters.batch);
    let batches = rate / batch;
    let links: f64 = bins.iter().map(|bin| bin.links * some(bin.share * batch)).sum();
    // The click, its visitor, what waits to be summed and its deletion; the sum of its hour and the total of its link.
    let rows = |rate: f64| rate * (4.0 + 2.0 * links / batch) + sums(parameters, bins, rate);
    let together = bins.first().map_or(0.0, |bin| some(bin.share * batch));
    let seconds = parameters.batch_seconds * batch / parameters.batch;
    let bounds = [
        (reached(parameters.click_rows, rows), "rows"),
        // One after another, for as many as hold the link.
        (batch / (seconds * together), "the first link's row"),
    ];
    let (most, bound) = bounds
        .into_iter()
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .unwrap_or((0.0, ""));
    Clicks {
        batch,
        batches,
        links,
        rows: rows(rate),
        sums: sums(parameters, bins, rate),
        together,
        most,
        bound,
        // One process at a time sums.
        summed: reached(parameters.sum_rows, |rate| sums(parameters, bins, rate)),
        connections: batches * seconds,
    }
}

/// Sums by value a second, of hours and of days. Of `n` clicks of a link that come together, and of `values` equal
/// values, so many are different.
fn sums(parameters: &Parameters, bins: &[Bin], rate: f64) -> f64 {
    let gathered = rate * parameters.sum_wait;
    bins.iter()
        .map(|bin| {
            let different = parameters.values * some(bin.share * gathered / parameters.values);
            bin.links * parameters.dimensions * different * 2.0
        })
        .sum::<f64>()
        / parameters.sum_wait
}

/// The rate at which what grows with it reaches a limit, to a thousandth.
fn reached(limit: f64, of: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, limit);
    while high - low > high / 1000.0 {
        let middle = f64::midpoint(low, high);
        if of(middle) < limit {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The chance of one or more, where so many are expected.
fn some(expected: f64) -> f64 {
    -(-expected).exp_m1()
}
