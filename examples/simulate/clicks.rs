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
    /// Rows a second that are inserted or updated.
    pub rows: f64,
    /// The share of batches that hold the most visited link, whose row they wait for.
    pub together: f64,
    /// The most clicks a second that Postgres takes, and which of the two bounds them.
    pub most: f64,
    pub by_lock: bool,
    /// Connections that are taken, of those for bulk.
    pub connections: f64,
}

/// Visits of different people: no two clicks are alike.
pub fn clicks(parameters: &Parameters, bins: &[Bin], rate: f64, instances: f64) -> Clicks {
    let each = rate / instances;
    let batch = each.min(parameters.batch);
    let batches = rate / batch;
    let links: f64 = bins.iter().map(|bin| bin.links * some(bin.share * batch)).sum();
    // A link with n clicks of `values` equal values has so many different ones; in sums of hours and of days.
    let values: f64 = bins
        .iter()
        .map(|bin| {
            let different = parameters.values * some(bin.share * batch / parameters.values);
            bin.links * parameters.dimensions * different * 2.0
        })
        .sum();
    // The click, its visitor; the sum of its hour and the total of its link; and the values.
    let rows_of_batch = 2.0 * batch + 2.0 * links + values;
    let together = bins.first().map_or(0.0, |bin| some(bin.share * batch));
    let by_rows = batch * parameters.click_rows / rows_of_batch;
    let seconds = parameters.batch_seconds * batch / parameters.batch;
    // One after another, for as many as hold the link.
    let by_lock = batch / (seconds * together);
    Clicks {
        batch,
        batches,
        links,
        rows: batches * rows_of_batch,
        together,
        most: by_rows.min(by_lock),
        by_lock: by_lock < by_rows,
        connections: batches * seconds,
    }
}

/// The chance of one or more, where so many are expected.
fn some(expected: f64) -> f64 {
    -(-expected).exp_m1()
}
