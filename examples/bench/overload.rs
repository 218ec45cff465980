//! More clicks than PostgreSQL takes on the same cores: none may be lost, at the stop either.

use std::time::Duration;

use crate::load::{Traffic, number};
use crate::process::free_port;
use crate::prometheus::value;
use crate::report::Report;
use crate::{Bench, EVEN, Result};

/// From SIGTERM to the end of the process.
const STOP: f64 = 8.0;

impl Bench {
    /// Redirects as fast as they are answered, to many links, then SIGTERM: clicks stored against redirects sent.
    pub fn overload(&self, report: &mut Report) -> Result<()> {
        eprintln!(
            "bench: {} s of visits to {EVEN} links, then SIGTERM",
            self.overload_seconds
        );
        let port = free_port()?;
        let shown = port.to_string();
        let service = self.service(
            &self.database,
            &[("REDIS_URL", &self.redis), ("METRICS_PORT", &shown)],
        )?;
        let stored = || {
            let sql = "SELECT coalesce(sum(clicks), 0)::bigint FROM click_hours";
            number(&self.postgres, &self.database, sql)
        };
        let before = stored()?;
        let seconds = self.overload_seconds;
        let cell = self.loader.run(&service, Traffic::Uniform(EVEN), 64, seconds)?;
        let redirects = settled(|| value(port, "curtail_clicks_taken_total"))?;
        let dropped = value(port, "curtail_clicks_dropped_total")?;
        let resident = service.resident_mib()?;
        let (code, took) = service.stop()?;
        let lost = redirects - (stored()? - before);
        println!(
            "overload: {:.0} redirects/s for {seconds} s, {redirects:.0} redirects, {dropped:.0} dropped before the stop, \
             {resident:.0} MiB resident, exit code {code} after {took:.1} s",
            cell.per_second
        );
        report.at_most(
            "overload: redirects that were not counted",
            &[lost.abs()],
            0.0,
            "",
        );
        report.at_most("overload: from SIGTERM to the end", &[took], STOP, " s");
        report.at_most("overload: exit code", &[f64::from(code)], 0.0, "");
        Ok(())
    }
}

/// The figure once it has stopped growing: what `wrk` had sent when it ended is still answered.
fn settled(figure: impl Fn() -> Result<f64>) -> Result<f64> {
    let mut last = figure()?;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = figure()?;
        if now == last {
            return Ok(now);
        }
        last = now;
    }
}
