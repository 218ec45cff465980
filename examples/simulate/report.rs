//! The tables, in Markdown.

use std::fmt::Write as _;

use super::clicks::{Clicks, clicks};
use super::cost::{cost, need};
use super::fleet::{Scenario, Second, play, settled_instances};
use super::model::{Load, steady};
use super::parameters::Parameters;
use super::popularity::{Bin, bins};

const GIB: f64 = 1_073_741_824.0;
/// How far the ends of a bin are apart: where every link counts, and where seconds are played one by one.
pub const FINE: f64 = 1.01;
pub const COARSE: f64 = 1.05;

/// A load of the tables: how many visits a second, and how many instances.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub rate: f64,
    pub instances: f64,
}

impl Case {
    pub(super) fn load(self) -> Load {
        Load {
            rate: self.rate,
            instances: self.instances,
            redis_entries: f64::INFINITY,
        }
    }
}

/// From one instance to a thousand with a thousand visits a second each; and all visits on as few as Cloud Run would choose.
pub fn cases(parameters: &Parameters, bins: &[Bin]) -> Vec<Case> {
    let of_thousand = |rate: f64| Case {
        rate,
        instances: (rate / 1e3).max(1.0),
    };
    let mut cases: Vec<Case> = [1e-3, 1e-2, 1e-1, 1.0]
        .into_iter()
        .map(|part| of_thousand(parameters.rate * part))
        .collect();
    cases.extend([
        Case {
            rate: parameters.rate,
            instances: 100.0,
        },
        Case {
            rate: parameters.rate,
            instances: settled_instances(parameters, bins, parameters.rate),
        },
    ]);
    cases
}

/// Who answers, and what Redis and Postgres have to do.
pub fn layers(parameters: &Parameters, bins: &[Bin], cases: &[Case]) -> String {
    let mut out = String::from(
        "| redirects/s | instances | from memory | from Redis | from Postgres | Redis commands/s | Redis holds | Postgres reads/s | \
         an instance's memory turns over in |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for case in cases {
        let of = steady(parameters, bins, &case.load());
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            count(case.rate),
            count(case.instances),
            percent(of.memory),
            percent(of.redis),
            percent(of.postgres),
            count(of.redis_reads + of.postgres_reads),
            gib(of.redis_held * parameters.redis_entry_bytes),
            count(of.postgres_reads),
            time(of.memory_stay),
        );
    }
    out
}

/// The same load with one thing changed.
pub fn changed(parameters: &Parameters, instances: f64) -> String {
    let mut out = String::from(
        "| changed | from memory | from Redis | from Postgres | Redis commands/s | Redis holds | Postgres reads/s |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let mut row = |what: &str, parameters: &Parameters, instances: f64, room: f64| {
        let bins = bins(parameters.links, parameters.exponent, FINE);
        let load = Load {
            rate: parameters.rate,
            instances,
            redis_entries: room * GIB / parameters.redis_entry_bytes,
        };
        let of = steady(parameters, &bins, &load);
        let _ = writeln!(
            out,
            "| {what} | {} | {} | {} | {} | {} | {} |",
            percent(of.memory),
            percent(of.redis),
            percent(of.postgres),
            count(of.redis_reads + of.postgres_reads),
            gib(of.redis_held * parameters.redis_entry_bytes),
            count(of.postgres_reads),
        );
    };
    let with = |change: &dyn Fn(&mut Parameters)| {
        let mut changed = parameters.clone();
        change(&mut changed);
        changed
    };
    let endless = f64::INFINITY;
    row("nothing", parameters, instances, endless);
    row("exponent 0.8", &with(&|p| p.exponent = 0.8), instances, endless);
    row("exponent 1.2", &with(&|p| p.exponent = 1.2), instances, endless);
    row("100 instances", parameters, 100.0, endless);
    row(
        "`MEMORY_CACHE_SECONDS=60`",
        &with(&|p| p.memory_seconds = 60.0),
        instances,
        endless,
    );
    row(
        "`REDIS_CACHE_SECONDS=3600`",
        &with(&|p| p.redis_seconds = 3600.0),
        instances,
        endless,
    );
    row(
        "`REDIS_CACHE_SECONDS=86400`",
        &with(&|p| p.redis_seconds = 86_400.0),
        instances,
        endless,
    );
    row(
        "`REDIS_CACHE_SECONDS=86400`, Redis of 64 GiB",
        &with(&|p| p.redis_seconds = 86_400.0),
        instances,
        64.0,
    );
    for room in [64.0, 16.0, 4.0, 1.0] {
        row(&format!("Redis of {room} GiB"), parameters, instances, room);
    }
    row("Redis that keeps nothing", parameters, instances, 0.0);
    out
}

/// Connections, and how busy those for reads are.
pub fn connections(parameters: &Parameters, bins: &[Bin], cases: &[Case]) -> String {
    let mut out = String::from(
        "| redirects/s | instances | connections to Postgres | while two revisions overlap | connections for reads | \
         of them taken by reads | `DATABASE_POOL_SIZE` that bears it | connections to Redis |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for case in cases {
        let load = case.load();
        let need = need(parameters, &steady(parameters, bins, &load), &load);
        let all = case.instances * parameters.pool_size;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {:.2} of {} | {} | {} |",
            count(case.rate),
            count(case.instances),
            count(all),
            count(2.0 * all),
            count(case.instances * parameters.read_connections()),
            need.reading,
            parameters.read_connections(),
            count(pool_that_bears(parameters, need.reading / parameters.fill)),
            count(case.instances * parameters.redis_connections),
        );
    }
    out
}

/// The smallest pool whose connections for reads are enough.
fn pool_that_bears(parameters: &Parameters, reading: f64) -> f64 {
    let mut wider = parameters.clone();
    while wider.read_connections() < reading {
        wider.pool_size += 1.0;
    }
    wider.pool_size
}

/// Clicks on their way to Postgres.
pub fn click_load(parameters: &Parameters, bins: &[Bin], cases: &[Case]) -> String {
    let mut out = String::from(
        "| clicks/s | instances | batches/s | clicks in one | links in one | rows/s | of them sums by value | with the first link | connections taken | \
         the most clicks/s | bound by | summed as they come, up to |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |\n",
    );
    for case in cases {
        let Clicks {
            batch,
            batches,
            links,
            rows,
            sums,
            together,
            most,
            bound,
            summed,
            connections,
        } = clicks(parameters, bins, case.rate, case.instances);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {bound} | {} |",
            count(case.rate),
            count(case.instances),
            count(batches),
            count(batch),
            count(links),
            count(rows),
            count(sums),
            percent(together),
            count(connections.ceil()),
            count(most),
            count(summed),
        );
    }
    out
}

/// Scenarios, each in a line.
pub fn ramps(parameters: &Parameters, scenarios: &[Scenario]) -> String {
    let bins = bins(parameters.links, parameters.exponent, COARSE);
    let mut out = String::from(
        "| scenario | instances at the most | from memory at the least | Redis reads/s, peak | Postgres asked/s, peak | \
         seconds of more than 1.2 of the settled | served past freshness | turned away, worst second | of all |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for scenario in scenarios {
        let seconds = play(parameters, &bins, scenario);
        let peak = |of: fn(&Second) -> f64| seconds.iter().map(of).fold(0.0, f64::max);
        let visits: f64 = seconds.iter().map(|second| second.rate).sum();
        let refused: f64 = seconds.iter().map(|second| second.refused).sum();
        let stale: f64 = seconds.iter().map(|second| second.stale).sum();
        let busy = seconds
            .iter()
            .filter(|second| second.asked > 1.2 * settled(parameters, &bins, second));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            scenario.name,
            count(peak(|second| second.instances)),
            percent(seconds.iter().map(|second| second.memory).fold(1.0, f64::min)),
            count(peak(|second| second.redis_reads)),
            count(peak(|second| second.asked)),
            busy.count(),
            percent(stale / visits),
            percent(peak(|second| second.refused / second.rate)),
            percent(refused / visits),
        );
    }
    out
}

/// Reads of Postgres that the load of a second would bring after long.
fn settled(parameters: &Parameters, bins: &[Bin], second: &Second) -> f64 {
    let case = Case {
        rate: second.rate,
        instances: second.instances,
    };
    let mut endless = parameters.clone();
    endless.memory_entries = f64::INFINITY;
    steady(&endless, bins, &case.load()).postgres_reads
}

/// What it takes and what it costs.
pub fn costs(parameters: &Parameters, bins: &[Bin], cases: &[Case]) -> String {
    let mut out = String::from(
        "| redirects/s | instances | CPU of each | requests in flight of each | Cloud Run, by request | by instance | Postgres, vCPU | $ | Redis, shards | $ | transfer | \
         in all, by request | by instance |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for case in cases {
        let load = case.load();
        let need = need(parameters, &steady(parameters, bins, &load), &load);
        let cost = cost(parameters, &need, &load);
        let shared = cost.postgres + cost.redis + cost.transfer;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.1} | {:.3} | {:.3} | {} | {:.3} | {} | {:.3} | {:.3} | **{:.2}** | **{:.2}** |",
            count(case.rate),
            count(case.instances),
            percent(need.cpu / (case.instances * parameters.vcpus)),
            need.in_flight / case.instances,
            cost.by_request,
            cost.by_instance,
            count(need.postgres_vcpus),
            cost.postgres,
            count(need.redis_shards.ceil()),
            cost.redis,
            cost.transfer,
            cost.by_request + shared,
            cost.by_instance + shared,
        );
    }
    out
}

/// A number to three digits, in thousands.
pub fn count(number: f64) -> String {
    if !number.is_finite() {
        return "endless".to_owned();
    }
    let rounded = if number.abs() >= 1000.0 {
        let unit = 10f64.powf(number.abs().log10().floor() - 2.0);
        (number / unit).round() * unit
    } else {
        number.round()
    };
    let digits = format!("{rounded:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn gib(bytes: f64) -> String {
    format!("{:.1} GiB", bytes / GIB)
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s.is_infinite() => "never".to_owned(),
        s if s >= 100.0 => format!("{s:.0} s"),
        s => format!("{s:.1} s"),
    }
}
