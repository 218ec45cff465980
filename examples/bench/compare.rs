//! This build against another one, in turns: what a change costs.

use std::path::Path;

use crate::load::{BULK, Traffic, sql};
use crate::process::Server;
use crate::report::Report;
use crate::{Bench, FEW, Pair, Result, agree};

/// A figure may be this much of the other build's at the least.
const LEAST: f64 = 0.97;

/// A build at work: with all caches, and with the shared one alone.
struct Side {
    all: Server,
    shared: Server,
}

impl Bench {
    /// Memory hit, negative hit, Redis hit, create and bulk create of this build and of `BENCH_OTHER`.
    pub fn compare(&self, report: &mut Report) -> Result<()> {
        let other = self.other.as_ref().ok_or("compare needs BENCH_OTHER")?;
        let (ours, theirs) = (self.side(&self.curtail, "ours")?, self.side(other, "theirs")?);
        let few = Traffic::Uniform(FEW);
        for side in [&ours, &theirs] {
            // Puts each of the links into Redis.
            self.loader.run(&side.shared, few, 64, 4)?;
        }
        let hits = [
            ("memory hit", &ours.all, &theirs.all, Traffic::Hot),
            ("negative hit", &ours.all, &theirs.all, Traffic::Absent),
            ("Redis hit", &ours.shared, &theirs.shared, few),
            ("create", &ours.all, &theirs.all, Traffic::Create),
        ];
        for (name, ours, theirs, traffic) in hits {
            let rows = [(name, ours, traffic), (name, theirs, traffic)];
            let load = self.load(64);
            let cells = self.rounds(&rows, load)?;
            let mut pair = Pair::of(&rows, &cells, 0, 1, load);
            let ratios = self.ratios(&mut pair, |cell| cell.per_second, LEAST)?;
            report.at_least(&format!("{name}, of the other build's"), &ratios, LEAST, "");
        }
        let bulk = |side: &Side| -> Result<f64> {
            let cell = self.loader.run(&side.all, Traffic::CreateBulk, 1, 2)?;
            Ok(cell.per_second * f64::from(BULK))
        };
        let round = || Ok(bulk(&ours)? / bulk(&theirs)?);
        let mut ratios = Vec::new();
        for number in 1..=self.rounds {
            eprintln!("bench: bulk create, round {number} of {}", self.rounds);
            ratios.push(round()?);
        }
        agree("bulk create", LEAST, &mut ratios, round)?;
        report.at_least("bulk create, of the other build's", &ratios, LEAST, "");
        Ok(())
    }

    /// A build with a schema and a prefix in Redis to itself, both called `name`.
    fn side(&self, program: &Path, name: &str) -> Result<Side> {
        let database = self.schema_of(program, name)?;
        // Neither build needs revisions that its migrations would draw: no link of these is changed.
        let insert = format!(
            "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
            SELECT 'b' || lpad(i::text, 7, '0'), 1 + i, 'https://example.org/articles/' || i || '?utm_source=bench', '{{}}',
                302, false, false, now(), now()
            FROM generate_series(0, {FEW} - 1) AS i"
        );
        sql(&self.postgres, &database, &insert)?;
        sql(&self.postgres, &database, "VACUUM (ANALYZE) links")?;
        let redis = [("REDIS_URL", self.redis.as_str()), ("REDIS_KEY_PREFIX", name)];
        // Builds of before memory was bounded in bytes know the other name.
        let no_memory = [
            redis[0],
            redis[1],
            ("MEMORY_CACHE_MIB", "0"),
            ("MEMORY_CACHE_ENTRIES", "0"),
        ];
        Ok(Side {
            all: self.service_of(program, &database, &redis)?,
            shared: self.service_of(program, &database, &no_memory)?,
        })
    }
}
