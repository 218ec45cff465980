//! Links: what making them costs, and what having many of them adds to a look-up.

use crate::load::{BULK, Traffic};
use crate::report::{Report, median, middle};
use crate::{Bench, EVEN, Load, Pair, READERS, Result, agree};

const LARGE: u32 = 5_000_000;
/// Connections for writes that a `DATABASE_POOL_SIZE` of 32 leaves, and clients of pgbench.
const POOL: &str = "32";
const WRITERS: u32 = 8;

// Targets.
const CREATE: f64 = 0.80;
const BULK_CREATE: f64 = 10.0;
const GROWTH: f64 = 1.2;

impl Bench {
    /// New links, one by one and in bulk, against the service's own insert by pgbench.
    pub fn create(&self, report: &mut Report) -> Result<()> {
        let server = self.service(
            &self.database,
            &[("REDIS_URL", &self.redis), ("DATABASE_POOL_SIZE", POOL)],
        )?;
        let (mut cells, mut inserts, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let (mut bulk_ratios, mut bulk_rates) = (Vec::new(), Vec::new());
        let seconds = self.seconds.max(2);
        // What one client gains. From many at once, single creates share statements too.
        let bulk_ratio = || -> Result<f64> {
            let single = self.loader.run(&server, Traffic::Create, 1, seconds)?;
            let bulk = self.loader.run(&server, Traffic::CreateBulk, 1, seconds)?;
            Ok(bulk.per_second * f64::from(BULK) / single.per_second)
        };
        for round in 1..=self.rounds {
            eprintln!("bench: create, round {round} of {}", self.rounds);
            let insert = self
                .loader
                .insert(&self.postgres, &self.database, WRITERS, seconds)?;
            let cell = self.loader.run(&server, Traffic::Create, 64, seconds)?;
            bulk_ratios.push(bulk_ratio()?);
            let many = self.loader.run(&server, Traffic::CreateBulk, 8, seconds)?;
            bulk_rates.push(many.per_second * f64::from(BULK));
            ratios.push(cell.per_second / insert);
            inserts.push(insert);
            cells.push(cell);
        }
        agree("bulk create", BULK_CREATE, &mut bulk_ratios, bulk_ratio)?;
        let name = format!(
            "create: {:.0} a second, of pgbench's {:.0}, {WRITERS} connections each; p99 {:.0} us, {:.2} CPU s per 100,000",
            middle(&cells, |cell| cell.per_second),
            median(&inserts),
            middle(&cells, |cell| cell.p99_us),
            middle(&cells, |cell| cell.cpu),
        );
        report.at_least(&name, &ratios, CREATE, "");
        let name = format!(
            "bulk create, links a second of single creates', one client each; 8 clients make {:.0} a second",
            median(&bulk_rates),
        );
        report.at_least(&name, &bulk_ratios, BULK_CREATE, "x");
        Ok(())
    }

    /// What 500 times as many links cost a look-up. A schema each, measured in turns.
    pub fn growth(&self, report: &mut Report) -> Result<()> {
        let mut servers = Vec::new();
        for (schema, links) in [("few", EVEN), ("many", LARGE)] {
            eprintln!("bench: making {links} links in a schema of their own");
            let database = self.schema(schema)?;
            self.fill(&database, links)?;
            servers.push(self.service(&database, &[("MEMORY_CACHE_MIB", "0")])?);
        }
        let rows = [
            ("Postgres hit, 10,000 links", &servers[0], Traffic::Zipf(EVEN)),
            ("Postgres hit, 5,000,000 links", &servers[1], Traffic::Zipf(LARGE)),
            (
                "the same by HEAD, 10,000 links",
                &servers[0],
                Traffic::ZipfHead(EVEN),
            ),
            (
                "the same by HEAD, 5,000,000 links",
                &servers[1],
                Traffic::ZipfHead(LARGE),
            ),
        ];
        // From as many connections as there are to the database: more of them wait for one another, and half of them have
        // waited as long as the throughput says.
        for connections in [READERS, 8] {
            let load = Load {
                connections,
                seconds: self.seconds.max(3),
            };
            let cells = self.rounds(&rows, load)?;
            let mut pair = Pair::of(&rows, &cells, 1, 0, load);
            if connections == READERS {
                let ratios = self.ratios(&mut pair, |cell| cell.p50_us, GROWTH)?;
                let name = "growth: p50 at 5,000,000 links, of that at 10,000";
                report.at_most(name, &ratios, GROWTH, "x");
            }
            report.rate(rows[0].0, connections, &pair.base_cells, &pair.base_cells, None);
            report.rate(rows[1].0, connections, &pair.cells, &pair.base_cells, None);
            report.rate(rows[2].0, connections, &cells[2], &cells[2], None);
            report.rate(rows[3].0, connections, &cells[3], &cells[2], None);
        }
        Ok(())
    }
}
