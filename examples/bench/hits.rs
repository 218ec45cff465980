//! Redirects: what a hit costs, and what clicks, traces, metrics and connections add to it.

use crate::load::Traffic;
use crate::process::free_port;
use crate::prometheus::Prometheus;
use crate::report::Report;
use crate::{Bench, EVEN, FEW, MIX, Pair, Result, agree};

// Targets.
const HIT_P99: f64 = 1.5;
const CLICKS: f64 = 0.08;
const TRACES: f64 = 0.95;
const TRACES_P99: f64 = 1.05;
const METRICS: f64 = 0.05;

impl Bench {
    pub fn rate(&self, connections: u32, report: &mut Report) -> Result<()> {
        let redis = [("REDIS_URL", self.redis.as_str())];
        let no_memory = [("REDIS_URL", self.redis.as_str()), ("MEMORY_CACHE_MIB", "0")];
        let bare = self.bare("fixed")?;
        let bare_postgres = self.bare("postgres")?;
        let service = self.service(&self.database, &redis)?;
        let from_redis = self.service(&self.database, &no_memory)?;
        let from_postgres = self.service(&self.database, &[("MEMORY_CACHE_MIB", "0")])?;
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
        let load = self.load(connections);
        let cells = self.rounds(&rows, load)?;
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
            let mut pair = Pair::of(&rows, &cells, at, base_of[at], load);
            let target = targets[at].filter(|_| connections == 64);
            if let Some(target) = target {
                self.ratios(&mut pair, |cell| cell.per_second, target)?;
            }
            report.rate(row.0, connections, &pair.cells, &pair.base_cells, target);
            if at == 1 && connections == 64 {
                let p99 = self.ratios(&mut pair, |cell| cell.p99_us, HIT_P99)?;
                report.at_most("memory hit: p99, of the bare handler's", &p99, HIT_P99, "x");
            }
        }
        Ok(())
    }

    /// What recording a click takes of a memory hit's throughput: `GET` against `HEAD`, which counts none, over the
    /// same of the bare handler.
    pub fn clicks(&self, report: &mut Report) -> Result<()> {
        let bare = self.bare("fixed")?;
        let service = self.service(&self.database, &[("REDIS_URL", &self.redis)])?;
        let rows = [
            ("memory hit", &service, Traffic::Hot),
            ("memory hit, HEAD", &service, Traffic::HotHead),
            ("bare handler", &bare, Traffic::Hot),
            ("bare handler, HEAD", &bare, Traffic::HotHead),
        ];
        let mut shares = Vec::new();
        let round = || -> Result<f64> {
            let mut rates = [0.0; 4];
            for (row, rate) in rows.iter().zip(&mut rates) {
                *rate = self.cell(*row, self.load(64))?.per_second;
            }
            let [get, head, bare_get, bare_head] = rates;
            Ok(1.0 - (get / head) / (bare_get / bare_head))
        };
        for _ in 0..self.rounds {
            shares.push(round()?);
        }
        agree("click recording", CLICKS, &mut shares, round)?;
        let name = "click recording, of a memory hit's throughput";
        report.at_most(name, &shares, CLICKS, "");
        Ok(())
    }

    /// What traces at the default sampling take of a memory hit, and what a receiver that accepts and never answers
    /// adds to its slowest answers.
    pub fn traces(&self, report: &mut Report) -> Result<()> {
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
        let load = self.load(64);
        let cells = self.rounds(&rows, load)?;
        let mut pair = Pair::of(&rows, &cells, 1, 0, load);
        self.ratios(&mut pair, |cell| cell.per_second, TRACES)?;
        let p99 = self.ratios(&mut pair, |cell| cell.p99_us, TRACES_P99)?;
        report.rate(rows[0].0, 64, &pair.base_cells, &pair.base_cells, None);
        report.rate(rows[1].0, 64, &pair.cells, &pair.base_cells, Some(TRACES));
        let name = "traces to a receiver that never answers: p99, of that without traces";
        report.at_most(name, &p99, TRACES_P99, "x");
        Ok(())
    }

    /// What metrics take of a memory hit's throughput: shown, and read every two seconds. They are always counted, so
    /// the base is another build (`BENCH_OTHER`), one that does not count; without one, this build with nothing shown.
    pub fn metrics(&self, report: &mut Report) -> Result<()> {
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
        let base = if other.is_some() { 3 } else { 0 };
        let prometheus = Prometheus::start(port);
        let load = self.load(64);
        let cells = self.rounds(&rows, load)?;
        let mut pair = Pair::of(&rows, &cells, 1, base, load);
        let ratios = self.ratios(&mut pair, |cell| cell.per_second, 1.0 - METRICS)?;
        let pages = prometheus.stop()?;
        for (at, (name, _, _)) in rows.iter().enumerate() {
            report.rate(name, 64, &cells[at], &cells[base], None);
        }
        let shares: Vec<f64> = ratios.iter().map(|ratio| 1.0 - ratio).collect();
        let name = format!("metrics, of a memory hit's throughput ({pages} pages were read)");
        report.at_most(&name, &shares, METRICS, "");
        Ok(())
    }

    /// How latency grows with the connections of one instance.
    pub fn concurrency(&self, report: &mut Report) -> Result<()> {
        let service = self.service(&self.database, &[("REDIS_URL", &self.redis)])?;
        let below = self.service(&self.database, &[("MEMORY_CACHE_MIB", "0")])?;
        let even = Traffic::Uniform(EVEN);
        for connections in [8, 64, 250, 500] {
            let rows = [
                ("memory, 10,000 links", &service, even),
                ("Postgres hit", &below, even),
            ];
            let cells = self.rounds(&rows, self.load(connections))?;
            for (at, (name, _, _)) in rows.iter().enumerate() {
                report.rate(name, connections, &cells[at], &cells[0], None);
            }
        }
        Ok(())
    }
}
