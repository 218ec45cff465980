//! What a process takes: time to start, and memory.

use crate::load::{Traffic, settle};
use crate::process::cold_start;
use crate::report::{Report, median};
use crate::{Bench, FULL, Result};

const STARTS: usize = 20;
/// The default of `MEMORY_CACHE_MIB`, and a quarter of it for what the allocator and connections take besides.
const LONG_LINKS: f64 = 40.0 * 1.25;

impl Bench {
    /// From the start of a process to its first redirect.
    pub fn start(&self, report: &mut Report) -> Result<()> {
        eprintln!("bench: {STARTS} starts of each");
        let environment = [
            ("DATABASE_URL", self.database.as_str()),
            ("REDIS_URL", &self.redis),
        ];
        let (mut bare, mut service) = (Vec::new(), Vec::new());
        settle(&self.postgres, &self.database)?;
        // The link is in Redis, as that of a busy service is.
        let mut warm = self.service(&self.database, &environment[1..])?;
        warm.await_answer("/b0000000", "302")?;
        for _ in 0..STARTS {
            bare.push(cold_start(
                &self.bare,
                &["{PORT}", "fixed"],
                &environment,
                "/b0000000",
            )?);
            // As the image is started.
            service.push(cold_start(&self.curtail, &[], &environment, "/b0000000")?);
        }
        let (bare, service) = (median(&bare), median(&service));
        let name =
            format!("cold start to the first 302: {service:.2} ms, of the bare handler's {bare:.2} ms");
        report.at_most(&name, &[service / bare], 2.0, "x");
        Ok(())
    }

    /// Resident memory, idle and after many redirects.
    pub fn memory(&self, report: &mut Report) -> Result<()> {
        eprintln!("bench: resident memory");
        let server = self.service(&self.database, &[("REDIS_URL", &self.redis)])?;
        report.at_most("resident memory, idle", &[server.resident_mib()?], 15.0, " MiB");
        let (mut requests, mut after_million) = (0.0, None);
        while requests < 2e6 {
            let cell = self.loader.run(&server, Traffic::Uniform(FULL), 64, 5)?;
            requests += cell.requests;
            if requests >= 1e6 && after_million.is_none() {
                after_million = Some(server.resident_mib()?);
            }
        }
        report.at_most(
            "resident memory after 1,000,000 requests over 100,000 links",
            &[after_million.unwrap_or_default()],
            64.0,
            " MiB",
        );
        report.at_most(
            "the same after 2,000,000 requests",
            &[server.resident_mib()?],
            64.0,
            " MiB",
        );
        drop(server);
        self.memory_of_long_links(report)
    }

    /// What as many links as before take when each destination URL has 2,000 bytes: `MEMORY_CACHE_MIB` bounds it.
    fn memory_of_long_links(&self, report: &mut Report) -> Result<()> {
        eprintln!("bench: making {FULL} links with destination URLs of 2,000 bytes");
        let database = self.schema("long")?;
        self.fill_with(&database, FULL, "'?' || repeat('x', 1964)")?;
        let server = self.service(&database, &[])?;
        let idle = server.resident_mib()?;
        let mut requests = 0.0;
        while requests < f64::from(FULL) * 3.0 {
            requests += self
                .loader
                .run(&server, Traffic::UniformHead(FULL), 64, 5)?
                .requests;
        }
        report.at_most(
            "memory that 100,000 links with destination URLs of 2,000 bytes add to an idle instance",
            &[server.resident_mib()? - idle],
            LONG_LINKS,
            " MiB",
        );
        Ok(())
    }
}
