//! Measures the service against the least that could do the same, and prints ratios within one run.
//!
//! `scripts/bench` builds it and runs it with private servers; see there for how to call it.

#![expect(unreachable_pub, reason = "a program exports nothing")]

mod load;
mod process;
mod prometheus;
mod report;

use std::path::{Path, PathBuf};

use load::{BULK, Cell, Loader, Traffic, settle, sql};
use process::{Server, cold_start, free_port};
use prometheus::Prometheus;
use report::{Report, is_clear, median, ratios};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Links of the rows that look up in Redis or PostgreSQL. Many more than wrk has connections, so that look-ups do not
/// coincide; and no more, so that what is measured is the look-up, and not PostgreSQL storing clicks of many links on
/// the same cores. `EVEN` and `MIX` have that.
const FEW: u32 = 1_000;
/// Links of the row that draws evenly from more.
const EVEN: u32 = 10_000;
/// Links of the row that fills the memory cache to its default size.
const FULL: u32 = 100_000;
const MIX: u32 = 1_000_000;
const LARGE: u32 = 5_000_000;
const STARTS: usize = 20;
/// The most rounds of a row whose rounds do not agree on whether it meets its target.
const MOST_ROUNDS: usize = 31;
/// Connections for writes that a `DATABASE_POOL_SIZE` of 32 leaves, and clients of pgbench.
const POOL: &str = "32";
const WRITERS: u32 = 8;
/// Connections for reads that the default `DATABASE_POOL_SIZE` of 4 leaves.
const READERS: &str = "2";

/// What to measure with.
struct Bench {
    curtail: PathBuf,
    /// Another build of the service, to compare with.
    other: Option<PathBuf>,
    bare: PathBuf,
    postgres: PathBuf,
    database: String,
    redis: String,
    loader: Loader,
    rounds: usize,
    seconds: u32,
}

fn main() -> Result<()> {
    let sections: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str, by_default: bool| {
        sections.iter().any(|section| section == name) || (sections.is_empty() && by_default)
    };
    let bench = Bench::read()?;
    let mut report = Report::new(&bench.curtail, bench.rounds, bench.seconds);
    bench.prepare(&wanted)?;
    // First: what loads leave to the database, it does beside the starts.
    if wanted("start", true) {
        bench.start(&mut report)?;
    }
    if wanted("rate", true) {
        bench.rate(64, &mut report)?;
        bench.rate(8, &mut report)?;
    }
    if wanted("clicks", true) {
        bench.clicks(&mut report)?;
    }
    if wanted("metrics", false) {
        bench.metrics(&mut report)?;
    }
    if wanted("create", true) {
        bench.create(&mut report)?;
    }
    if wanted("memory", true) {
        bench.memory(&mut report)?;
    }
    if wanted("traces", false) {
        bench.traces(&mut report)?;
    }
    if wanted("concurrency", false) {
        bench.concurrency(&mut report)?;
    }
    if wanted("growth", false) {
        bench.growth(&mut report)?;
    }
    report.print()
}

impl Bench {
    fn read() -> Result<Self> {
        let set = |name: &str| std::env::vars().find_map(|(key, value)| (key == name).then_some(value));
        let needed = |name: &str| set(name).ok_or_else(|| format!("{name} is unset: scripts/bench sets it"));
        let number = |name: &str, default: u32| {
            set(name).map_or(Ok(default), |text| {
                text.parse().map_err(|_| format!("{name} is no number"))
            })
        };
        let folder = std::env::temp_dir().join(format!("curtail-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let built = PathBuf::from(needed("BENCH_BUILT")?);
        Ok(Self {
            curtail: built.join("curtail"),
            other: set("BENCH_OTHER").map(PathBuf::from),
            bare: built.join("examples/bare"),
            postgres: needed("TEST_POSTGRES_BIN")?.into(),
            database: needed("TEST_DATABASE_URL")?,
            redis: needed("TEST_REDIS_URL")?,
            loader: Loader {
                folder,
                key: "a-key-for-benchmarks-alone".to_owned(),
            },
            rounds: usize::try_from(number("BENCH_ROUNDS", 5)?)?.max(1),
            seconds: number("BENCH_SECONDS", 1)?.max(1),
        })
    }

    fn prepare(&self, wanted: &impl Fn(&str, bool) -> bool) -> Result<()> {
        let links = if wanted("rate", true) || wanted("memory", true) {
            MIX
        } else {
            EVEN
        };
        eprintln!("bench: making {links} links");
        self.command(&self.database, &["migrate"])?;
        self.fill(&self.database, links)
    }

    /// Runs a command of the service to its end.
    fn command(&self, database: &str, arguments: &[&str]) -> Result<()> {
        let status = std::process::Command::new(&self.curtail)
            .args(arguments)
            .env_clear()
            .env("DATABASE_URL", database)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()?;
        status
            .success()
            .then_some(())
            .ok_or_else(|| format!("curtail {} failed", arguments.join(" ")).into())
    }

    /// Waits until the clicks of a load on `server` are stored, and sums them by value: the service would do that ten
    /// seconds later, in the middle of another row.
    fn settle(&self, server: &Server) -> Result<()> {
        settle(&self.postgres, &self.database)?;
        self.command(&server.database, &["worker", "--once"])
    }

    fn fill(&self, database: &str, links: u32) -> Result<()> {
        let insert = format!(
            "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
            SELECT 'b' || lpad(i::text, 7, '0'), nextval('link_revision'),
                'https://example.org/articles/' || i || '?utm_source=bench', '{{}}', 302, false, false, now(), now()
            FROM generate_series(0, {links} - 1) AS i"
        );
        sql(&self.postgres, database, &insert)?;
        sql(&self.postgres, database, "VACUUM (ANALYZE) links")?;
        sql(&self.postgres, database, "CHECKPOINT").or(Ok(()))
    }

    /// The service with all defaults but `more`.
    fn service(&self, database: &str, more: &[(&str, &str)]) -> Result<Server> {
        self.service_of(&self.curtail, database, more)
    }

    fn service_of(&self, program: &Path, database: &str, more: &[(&str, &str)]) -> Result<Server> {
        // One address sends all the load: its budget of new links and of unknown slugs would be gone at once.
        let mut environment = vec![
            ("DATABASE_URL", database),
            ("ADMIN_API_KEY", &self.loader.key),
            ("CREATE_RATE_PER_MINUTE", "0"),
            ("MISS_RATE_PER_MINUTE", "0"),
        ];
        environment.extend_from_slice(more);
        let mut server = Server::start(program, &["serve"], &environment)?;
        server.await_answer("/b0000000", "302")?;
        Ok(server)
    }

    fn bare(&self, mode: &str) -> Result<Server> {
        let environment = [
            ("DATABASE_URL", self.database.as_str()),
            ("REDIS_URL", &self.redis),
            ("CONNECTIONS", READERS),
        ];
        let mut server = Server::start(&self.bare, &["{PORT}", mode], &environment)?;
        server.await_answer("/b0000000", "302")?;
        Ok(server)
    }

    /// Every cell in every round; answers the cells of each row, a round each.
    fn rounds(
        &self,
        rows: &[(&str, &Server, Traffic)],
        connections: u32,
        seconds: u32,
    ) -> Result<Vec<Vec<Cell>>> {
        let mut cells = vec![Vec::new(); rows.len()];
        for round in 1..=self.rounds {
            eprintln!(
                "bench: {connections} connections, round {round} of {}",
                self.rounds
            );
            for ((name, server, traffic), row) in rows.iter().zip(&mut cells) {
                let cell = self
                    .loader
                    .run(server, *traffic, connections, seconds)
                    .map_err(|err| format!("{name}: {err}"))?;
                row.push(cell);
                if traffic.leaves_clicks() {
                    self.settle(server)?;
                }
            }
        }
        Ok(cells)
    }

    fn rate(&self, connections: u32, report: &mut Report) -> Result<()> {
        let redis = [("REDIS_URL", self.redis.as_str())];
        let no_memory = [("REDIS_URL", self.redis.as_str()), ("MEMORY_CACHE_ENTRIES", "0")];
        let bare = self.bare("fixed")?;
        let bare_postgres = self.bare("postgres")?;
        let service = self.service(&self.database, &redis)?;
        let from_redis = self.service(&self.database, &no_memory)?;
        let from_postgres = self.service(&self.database, &[("MEMORY_CACHE_ENTRIES", "0")])?;
        // Puts each of the links into Redis.
        self.loader
            .run(&from_redis, Traffic::Uniform(EVEN), connections, 4)?;
        let bare_redis = self.bare("redis")?;
        let even = Traffic::Uniform(EVEN);
        let few = Traffic::Uniform(FEW);
        let rows = [
            ("bare handler", &bare, Traffic::Hot),
            ("memory hit", &service, Traffic::Hot),
            ("negative hit", &service, Traffic::Absent),
            ("10,000 links", &service, even),
            ("Zipf mix of 1,000,000 links", &service, Traffic::Zipf(MIX)),
            ("bare handler + Redis GET", &bare_redis, few),
            ("Redis hit", &from_redis, few),
            ("Redis hit, HEAD", &from_redis, Traffic::UniformHead(FEW)),
            ("bare handler + Postgres SELECT", &bare_postgres, few),
            ("Postgres hit", &from_postgres, few),
        ];
        let cells = self.rounds(&rows, connections, self.seconds)?;
        let targets = [
            None,
            Some(0.85),
            Some(0.80),
            None,
            None,
            None,
            Some(0.90),
            None,
            None,
            Some(0.90),
        ];
        let base_of = [0, 0, 0, 0, 0, 5, 5, 5, 8, 8];
        for (at, row) in rows.iter().enumerate() {
            let target = targets[at].filter(|_| connections == 64);
            let (mut own, mut base) = (cells[at].clone(), cells[base_of[at]].clone());
            while let Some(target) = target
                && own.len() < MOST_ROUNDS
                && !is_clear(&ratios(&own, &base), target)
            {
                eprintln!("bench: {}, round {}", row.0, own.len() + 1);
                for ((_, server, traffic), cells) in [(&rows[base_of[at]], &mut base), (row, &mut own)] {
                    cells.push(self.loader.run(server, *traffic, connections, self.seconds)?);
                }
            }
            report.rate(row.0, connections, &own, &base, target);
        }
        if connections == 64 {
            let ratios: Vec<f64> = (0..self.rounds)
                .map(|round| cells[1][round].p99_us / cells[0][round].p99_us)
                .collect();
            report.at_most(
                "memory hit: p99, of the bare handler's",
                median(&ratios),
                1.5,
                "x",
            );
        }
        Ok(())
    }

    /// What recording a click takes of a memory hit's throughput: `GET` against `HEAD`, which counts none, over the
    /// same of the bare handler.
    fn clicks(&self, report: &mut Report) -> Result<()> {
        let bare = self.bare("fixed")?;
        let service = self.service(&self.database, &[("REDIS_URL", &self.redis)])?;
        let rows = [
            ("memory hit", &service, Traffic::Hot),
            ("memory hit, HEAD", &service, Traffic::HotHead),
            ("bare handler", &bare, Traffic::Hot),
            ("bare handler, HEAD", &bare, Traffic::HotHead),
        ];
        let cells = self.rounds(&rows, 64, self.seconds)?;
        let ratios: Vec<f64> = (0..self.rounds)
            .map(|round| {
                let rate = |row: usize| cells[row][round].per_second;
                (rate(0) / rate(1)) / (rate(2) / rate(3))
            })
            .collect();
        report.at_most(
            "click recording, of a memory hit's throughput",
            1.0 - median(&ratios),
            0.08,
            "",
        );
        Ok(())
    }

    /// What traces at the default sampling take of a memory hit, and what a receiver that accepts and never answers
    /// adds to its slowest answers.
    fn traces(&self, report: &mut Report) -> Result<()> {
        // Its backlog accepts.
        let frozen = std::net::TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("http://{}", frozen.local_addr()?);
        let redis = ("REDIS_URL", self.redis.as_str());
        let to = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str());
        let plain = self.service(&self.database, &[redis])?;
        let traced = self.service(&self.database, &[redis, to])?;
        let rows = [
            ("memory hit, no traces", &plain, Traffic::Hot),
            ("memory hit, traces to nobody", &traced, Traffic::Hot),
        ];
        let cells = self.rounds(&rows, 64, self.seconds)?;
        report.rate(rows[0].0, 64, &cells[0], &cells[0], None);
        report.rate(rows[1].0, 64, &cells[1], &cells[0], Some(0.95));
        let ratios: Vec<f64> = (0..self.rounds)
            .map(|round| cells[1][round].p99_us / cells[0][round].p99_us)
            .collect();
        report.at_most(
            "traces to a receiver that never answers: p99, of that without traces",
            median(&ratios),
            1.05,
            "x",
        );
        Ok(())
    }

    /// What metrics take of a memory hit's throughput: shown, and read every two seconds. They are always counted, so
    /// the base is another build (`BENCH_OTHER`), one that does not count; without one, this build with nothing shown.
    fn metrics(&self, report: &mut Report) -> Result<()> {
        let redis = ("REDIS_URL", self.redis.as_str());
        let port = free_port()?;
        let number = port.to_string();
        let bare = self.bare("fixed")?;
        let hidden = self.service(&self.database, &[redis])?;
        let shown = self.service(&self.database, &[redis, ("METRICS_PORT", &number)])?;
        let other = (self.other.as_ref())
            .map(|program| self.service_of(program, &self.database, &[redis]))
            .transpose()?;
        let mut rows = vec![
            ("memory hit, metrics not shown", &hidden, Traffic::Hot),
            ("memory hit, metrics read every 2 s", &shown, Traffic::Hot),
            ("bare handler", &bare, Traffic::Hot),
        ];
        rows.extend(
            other
                .as_ref()
                .map(|other| ("memory hit, other build", other, Traffic::Hot)),
        );
        let prometheus = Prometheus::start(port);
        let cells = self.rounds(&rows, 64, self.seconds)?;
        let pages = prometheus.stop()?;
        let base = if other.is_some() { 3 } else { 0 };
        for (at, (name, _, _)) in rows.iter().enumerate() {
            report.rate(name, 64, &cells[at], &cells[base], None);
        }
        let ratios: Vec<f64> = (0..self.rounds)
            .map(|round| cells[1][round].per_second / cells[base][round].per_second)
            .collect();
        report.at_most(
            &format!("metrics, of a memory hit's throughput ({pages} pages were read)"),
            1.0 - median(&ratios),
            0.05,
            "",
        );
        Ok(())
    }

    fn create(&self, report: &mut Report) -> Result<()> {
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
        while bulk_ratios.len() < MOST_ROUNDS && !is_clear(&bulk_ratios, report::BULK_TARGET) {
            eprintln!("bench: bulk create, round {}", bulk_ratios.len() + 1);
            bulk_ratios.push(bulk_ratio()?);
        }
        report.create(WRITERS, median(&inserts), &cells, median(&ratios));
        report.bulk(&bulk_ratios, median(&bulk_rates));
        Ok(())
    }

    fn start(&self, report: &mut Report) -> Result<()> {
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
        report.start(median(&bare), median(&service));
        Ok(())
    }

    fn memory(&self, report: &mut Report) -> Result<()> {
        eprintln!("bench: resident memory");
        let server = self.service(&self.database, &[("REDIS_URL", &self.redis)])?;
        report.at_most("resident memory, idle", server.resident_mib()?, 15.0, " MiB");
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
            after_million.unwrap_or_default(),
            64.0,
            " MiB",
        );
        report.at_most(
            "the same after 2,000,000 requests",
            server.resident_mib()?,
            64.0,
            " MiB",
        );
        Ok(())
    }

    /// How latency grows with the connections of one instance.
    fn concurrency(&self, report: &mut Report) -> Result<()> {
        let service = self.service(&self.database, &[("REDIS_URL", &self.redis)])?;
        let below = self.service(&self.database, &[("MEMORY_CACHE_ENTRIES", "0")])?;
        let even = Traffic::Uniform(EVEN);
        for connections in [8, 64, 250, 500] {
            let rows = [
                ("memory, 10,000 links", &service, even),
                ("Postgres hit", &below, even),
            ];
            let cells = self.rounds(&rows, connections, self.seconds)?;
            for (at, (name, _, _)) in rows.iter().enumerate() {
                report.rate(name, connections, &cells[at], &cells[0], None);
            }
        }
        Ok(())
    }

    /// What 500 times as many links cost a look-up. A schema each, measured in turns.
    fn growth(&self, report: &mut Report) -> Result<()> {
        let mut servers = Vec::new();
        for (schema, links) in [("few", EVEN), ("many", LARGE)] {
            eprintln!("bench: making {links} links in a schema of their own");
            sql(&self.postgres, &self.database, &format!("CREATE SCHEMA {schema}"))?;
            let separator = if self.database.contains('?') { '&' } else { '?' };
            let database = format!("{}{separator}options=-csearch_path%3D{schema}", self.database);
            self.command(&database, &["migrate"])?;
            self.fill(&database, links)?;
            servers.push(self.service(&database, &[("MEMORY_CACHE_ENTRIES", "0")])?);
        }
        let rows = [
            ("Postgres hit, 10,000 links", &servers[0], Traffic::Zipf(EVEN)),
            ("Postgres hit, 5,000,000 links", &servers[1], Traffic::Zipf(LARGE)),
        ];
        let cells = self.rounds(&rows, 8, self.seconds.max(3))?;
        for (at, (name, _, _)) in rows.iter().enumerate() {
            report.rate(name, 8, &cells[at], &cells[0], None);
        }
        let ratios: Vec<f64> = cells[0]
            .iter()
            .zip(&cells[1])
            .map(|(few, many)| many.p50_us / few.p50_us)
            .collect();
        report.at_most(
            "growth: p50 at 5,000,000 links, of that at 10,000",
            median(&ratios),
            1.2,
            "x",
        );
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.loader.folder);
    }
}

/// The file name of a path, for messages.
fn name(path: &Path) -> String {
    path.display().to_string()
}
