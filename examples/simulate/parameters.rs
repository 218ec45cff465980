//! Every number that the simulation is given, with where it comes from. `--set NAME=VALUE` changes one.

use std::fmt::Write as _;

macro_rules! parameters {
    ($($name:ident = $value:expr, $unit:literal, $source:literal;)*) => {
        /// What the simulation is given.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Parameters {
            $(#[doc = $source] pub $name: f64,)*
        }

        impl Default for Parameters {
            fn default() -> Self {
                Self { $($name: $value,)* }
            }
        }

        impl Parameters {
            /// Changes one; `false` if there is none of this name.
            pub fn set(&mut self, name: &str, value: f64) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return false,
                }
                true
            }

            fn rows(&self) -> Vec<(&'static str, f64, &'static str, &'static str)> {
                vec![$((stringify!($name), self.$name, $unit, $source),)*]
            }
        }
    };
}

parameters! {
    // The workload.
    links = 1e9, "links", "the question";
    rate = 1e6, "redirects/s", "the question";
    exponent = 1.0, "", "assumed: the link of rank r is visited r^-exponent as often as the first; 0.8 and 1.2 stand beside it";
    // The caches.
    memory_entries = 1e5, "entries", "`MEMORY_CACHE_MIB`, `.env.example`: what 40 MiB hold of links with short URLs";
    memory_seconds = 300.0, "s", "`MEMORY_CACHE_SECONDS`, while the changes of links are read";
    unconfirmed_seconds = 5.0, "s", "`UNCONFIRMED` in `src/service/lifetimes.rs`: the same while they cannot be read";
    refresh_seconds = 1.0, "s", "`EARLY` in `src/service/lifetimes.rs`: before its end, an entry that is visited is looked up again";
    jitter = 0.1, "", "`jittered` in `src/service/lifetimes.rs`: up to so much less of a time";
    redis_seconds = 300.0, "s", "`REDIS_CACHE_SECONDS`";
    stale_seconds = 3600.0, "s", "`STALE_SECONDS`: Redis keeps an entry so long past its freshness";
    redis_entry_bytes = 261.0, "bytes", "measured: `used_memory` of Redis 7.0 over 200,000 keys of 20 bytes with an end, values of 120 bytes (a target of 60)";
    // Changes of links.
    changes_seconds = 2.0, "s", "`EVERY` in `src/service/change_tail.rs`: between two reads of the changes by an instance";
    changes_jitter = 0.2, "", "`src/service/change_tail.rs`: up to so much less of that time";
    changes_overlap = 15.0, "s", "`OVERLAP` in `src/service/change_tail.rs`: how far before the last read the next one begins";
    changes_known = 1e5, "changes", "`MOST` in `src/service/floors.rs`: with more within `REDIS_CACHE_SECONDS`, an instance empties its memory once and refuses what Redis has from before";
    changes_cost = 4.5, "look-ups", "measured: CPU of PostgreSQL 15 for a read of the changes that finds none, 292 us, and for a look-up, 65 us; pgbench, 300,000 changes, two busy cores";
    change_bytes = 213.0, "bytes", "measured: a row of `changes` for an update, 101 bytes, with its three indexes; slugs of 8 bytes, PostgreSQL 15";
    // What a visit costs an instance.
    cpu_memory_us = 9.4, "us", "measured: `scripts/bench`, memory hit, 64 connections: CPU of the server, with the click, where the bare handler takes 7.9; 9.0 to 12.0 in other runs";
    cpu_redis_us = 18.8, "us", "measured: the same run, Redis hit; 13.7 to 19.9 in other runs";
    cpu_postgres_us = 50.5, "us", "measured: the same run, Postgres hit; 40.3 to 78.8 in other runs";
    cpu_factor = 2.0, "", "assumed: a vCPU of Cloud Run is half a core, and its network costs more than loopback";
    round_trip_ms = 0.5, "ms", "assumed: to Redis and to Postgres within a region";
    postgres_ms = 0.5, "ms", "measured: `scripts/bench`, Postgres hit, 8 connections: p50 of the whole request, 0.53 ms; 0.72 in docs/PERFORMANCE.md";
    // Cloud Run.
    vcpus = 1.0, "vCPU", "`service.yaml`";
    memory_gib = 0.5, "GiB", "`service.yaml`";
    concurrency = 250.0, "requests", "`containerConcurrency`, `service.yaml`";
    utilization = 0.6, "", "Cloud Run's target for CPU and for concurrency [a]";
    window_seconds = 60.0, "s", "Cloud Run averages over one minute [a]";
    start_seconds = 5.0, "s", "assumed: from the decision to the first request; the process itself takes 8 ms (docs/PERFORMANCE.md)";
    idle_seconds = 900.0, "s", "Cloud Run keeps an idle instance for 15 minutes at most [a]";
    // Postgres and Redis.
    pool_size = 4.0, "connections", "`DATABASE_POOL_SIZE`: a quarter for writes, a quarter for clicks and maintenance, the rest for reads and searches";
    redis_connections = 6.0, "connections", "`src/cache`: look-ups, the same for the thread of the one vCPU, budgets, the channel, two for health";
    postgres_reads = 12e3, "reads/s per vCPU", "inferred from a Postgres hit: 13,042/s on two cores of which the service took 0.66; a look-up takes PostgreSQL 36 to 51 us of CPU (docs/PERFORMANCE.md)";
    postgres_vcpus = 32.0, "vCPU", "assumed: the primary of the ramps";
    redis_operations = 1e5, "commands/s per shard", "assumed: one thread of Redis without pipelining; the bench had 46,739 with the load on the same two cores";
    redis_shard_gib = 12.1, "GiB", "13 GB, a node of `redis-highmem-medium` [b]; 10.4 GB of it are to be filled by default";
    fill = 0.8, "", "assumed: how full Redis may be, and how busy Redis and Postgres may be, at the peak";
    // Clicks.
    batch = 1000.0, "clicks", "`MOST` in `src/service/clicks/batches.rs`";
    values = 6.0, "", "assumed: values that a busy link's clicks have in one dimension, each as often";
    dimensions = 5.0, "", "`click_values`: referrer, browser, system, device, language";
    batch_seconds = 0.080, "s", "measured: the statements of `record_clicks` for 1,000 clicks of 820 links by psql, one connection, mean of 25, the slowest of six runs; PostgreSQL 15, two cores, durable commits. Five statements then, one now: to be measured again";
    sum_wait = 10.0, "s", "`WAIT` in `src/service/clicks/sums.rs`";
    sum_rows = 70e3, "rows/s", "measured: `curtail worker --once` with 25 such batches waiting, 204,374 sums in 2.9 s";
    click_rows = 3e5, "rows/s", "assumed: what one primary writes over all connections";
    link_bytes = 1000.0, "bytes", "assumed: a row of `links` with its eleven indexes";
    // Prices, US dollars, us-central1, before discounts and free tiers.
    price_vcpu = 24e-6, "$/vCPU-s", "Cloud Run, request-based [c]";
    price_gib = 2.5e-6, "$/GiB-s", "Cloud Run, request-based [c]";
    price_requests = 0.40, "$/million", "Cloud Run, request-based; instance-based billing has no such price [c]";
    price_vcpu_always = 18e-6, "$/vCPU-s", "Cloud Run, instance-based [c]";
    price_gib_always = 2e-6, "$/GiB-s", "assumed: Cloud Run, instance-based";
    response_bytes = 450.0, "bytes", "assumed: a redirect's head on the wire";
    price_transfer = 0.08, "$/GiB", "internet, premium tier, above 10 TiB a month [d]";
    price_postgres_vcpu = 0.0413, "$/vCPU-h", "Cloud SQL Enterprise, May 2026 [e]; twice that with a standby";
    price_postgres_gib = 0.007, "$/GiB-h", "Cloud SQL Enterprise, May 2026 [e]; 8 GiB for each vCPU";
    price_storage = 0.17, "$/GiB-month", "assumed: Cloud SQL SSD";
    price_redis_shard = 0.25, "$/h", "assumed: a node of 13 GB";
}

impl Parameters {
    /// As `--set` has it: `NAME=VALUE`.
    pub fn assign(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
        let value: f64 = value
            .parse()
            .ok()
            .filter(|value: &f64| value.is_finite() && *value >= 0.0)
            .ok_or_else(|| format!("{value:?} is no number from 0 on"))?;
        if self.set(name, value) {
            Ok(())
        } else {
            Err(format!("there is no parameter {name:?}"))
        }
    }

    /// Whether the values can be computed with.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("links", self.links),
            ("rate", self.rate),
            ("memory_entries", self.memory_entries),
            ("memory_seconds", self.memory_seconds),
            ("redis_seconds", self.redis_seconds),
            ("pool_size", self.pool_size),
            ("batch", self.batch),
            ("values", self.values),
            ("utilization", self.utilization),
            ("fill", self.fill),
            ("vcpus", self.vcpus),
            ("concurrency", self.concurrency),
            ("postgres_reads", self.postgres_reads),
            ("redis_operations", self.redis_operations),
            ("redis_shard_gib", self.redis_shard_gib),
        ];
        match positive.iter().find(|(_, value)| *value <= 0.0) {
            Some((name, _)) => Err(format!("{name} has to be more than 0")),
            None => Ok(()),
        }
    }

    /// The mean of a time that is jittered.
    pub fn mean(&self, seconds: f64) -> f64 {
        seconds * (1.0 - self.jitter / 2.0)
    }

    /// How long an entry of memory is served before a visit has it looked up again, on average.
    pub fn quiet_seconds(&self) -> f64 {
        (self.mean(self.memory_seconds) - self.early_seconds()).max(0.0)
    }

    /// How long before its end a visit has it looked up again.
    pub fn early_seconds(&self) -> f64 {
        self.refresh_seconds.min(self.memory_seconds / 5.0)
    }

    /// The chance that an entry that was put into Redis and into memory at once is looked up again, because its time in
    /// memory ends, while Redis still has it.
    pub fn redis_outlasts_memory(&self) -> f64 {
        const STEPS: u32 = 16;
        let least = self.redis_seconds * (1.0 - self.jitter);
        let chance = |memory: f64| {
            let later = (self.redis_seconds - memory) / (self.redis_seconds - least).max(1e-9);
            later.clamp(0.0, 1.0)
        };
        let memory = |step: u32| {
            let part = (f64::from(step) + 0.5) / f64::from(STEPS);
            self.memory_seconds * (1.0 - self.jitter * part) - self.early_seconds()
        };
        (0..STEPS).map(|step| chance(memory(step))).sum::<f64>() / f64::from(STEPS)
    }

    /// What is in force while the changes of links cannot be read.
    pub fn unconfirmed(&self) -> Self {
        Self {
            // This time has no jitter.
            memory_seconds: self
                .memory_seconds
                .min(self.unconfirmed_seconds / (1.0 - self.jitter / 2.0)),
            ..self.clone()
        }
    }

    /// Connections that reads may use, as `store/postgres/class.rs` divides them.
    pub fn read_connections(&self) -> f64 {
        let writes = (self.pool_size / 4.0).floor().max(1.0);
        let clicks = if self.pool_size < 4.0 { 0.0 } else { writes };
        (self.pool_size - writes - clicks).max(1.0)
    }

    /// How long a connection is taken for one read, in seconds.
    pub fn read_seconds(&self) -> f64 {
        (self.round_trip_ms + self.postgres_ms) / 1e3
    }

    /// Reads of the changes a second by one instance.
    pub fn changes_reads(&self) -> f64 {
        1.0 / (self.changes_seconds * (1.0 - self.changes_jitter / 2.0) + self.read_seconds())
    }

    /// Rows of one such read at so many changes a second.
    pub fn changes_rows(&self, changes: f64) -> f64 {
        changes * (self.changes_overlap + 1.0 / self.changes_reads())
    }

    /// The table, in Markdown.
    pub fn table(&self) -> String {
        let mut out = String::from("| parameter | value | unit | where from |\n| --- | ---: | --- | --- |\n");
        for (name, value, unit, source) in self.rows() {
            let _ = writeln!(out, "| `{name}` | {value} | {unit} | {source} |");
        }
        out
    }
}
