//! The tables, in Markdown.

use std::fmt::Write as _;

use super::clicks::{Clicks, clicks};
use super::cost::{cost, need};
use super::fleet::{Scenario, Second, play, settled_instances};
use super::model::{Load, Steady, steady, steady_in};
use super::parameters::Parameters;
use super::popularity::{Bin, bins};
use super::room::Room;

const GIB: f64 = 1_073_741_824.0;
/// How far the ends of a bin are apart: where every link counts, and where seconds are played one by one.
pub const FINE: f64 = 1.01;
pub const COARSE: f64 = 1.05;

/// A load of the tables: visits a second, and the instances that share them.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub rate: f64,
    pub instances: f64,
    /// The mix that it settles in.
    pub(super) of: Steady,
}

impl Case {
    fn new(parameters: &Parameters, bins: &[Bin], room: Room, rate: f64, instances: f64) -> Self {
        Self {
            rate,
            instances,
            of: steady_in(parameters, bins, &load(rate, instances), room),
        }
    }

    pub(super) fn load(self) -> Load {
        load(self.rate, self.instances)
    }
}

/// Where Redis has room for all.
fn load(rate: f64, instances: f64) -> Load {
    Load {
        rate,
        instances,
        redis_entries: f64::INFINITY,
    }
}

/// From one instance to a thousand with a thousand visits a second each; and all visits on as few as Cloud Run would choose.
pub fn cases(parameters: &Parameters, bins: &[Bin]) -> Vec<Case> {
    let room = Room::new(parameters.memory_entries, bins);
    let case = |rate: f64, instances: f64| Case::new(parameters, bins, room, rate, instances);
    let all = parameters.rate;
    let mut cases: Vec<Case> = [1e-3, 1e-2, 1e-1, 1.0]
        .map(|part| case(all * part, (all * part / 1e3).max(1.0)))
        .into();
    let settled = settled_instances(parameters, bins, room, all);
    cases.extend([case(all, 100.0), case(all, settled)]);
    cases
}

/// Who answers, and what Redis and Postgres have to do.
pub fn layers(parameters: &Parameters, cases: &[Case]) -> String {
    let mut out = String::from(
        "| redirects/s | instances | from memory | from Redis | from Postgres | Redis commands/s | Redis holds | Postgres look-ups/s | \
         reads of changes/s | an entry without visits is evicted after |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for case in cases {
        let of = &case.of;
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            count(case.rate),
            count(case.instances),
            percent(of.memory),
            percent(of.redis),
            percent(of.postgres),
            count(of.redis_reads + of.postgres_reads),
            gib(of.redis_held * parameters.redis_entry_bytes),
            count(of.postgres_reads),
            count(case.instances * parameters.changes_reads()),
            time(of.memory_stay),
        );
    }
    out
}

/// The same load with one thing changed.
pub fn changed(parameters: &Parameters, instances: f64) -> String {
    let mut out = String::from(
        "| changed | from memory | from Redis | from Postgres | Redis commands/s | Redis holds | Postgres look-ups/s |\n\
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
        "the changes cannot be read",
        &parameters.unconfirmed(),
        instances,
        endless,
    );
    for seconds in [60.0, 3600.0] {
        row(
            &format!("`MEMORY_CACHE_SECONDS={seconds}`"),
            &with(&|p| p.memory_seconds = seconds),
            instances,
            endless,
        );
    }
    for times in [4.0, 10.0] {
        row(
            &format!("`MEMORY_CACHE_MIB={}`", 40.0 * times),
            &with(&|p| p.memory_entries *= times),
            instances,
            endless,
        );
    }
    row(
        "the same on 100 instances",
        &with(&|p| p.memory_entries *= 10.0),
        100.0,
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
        "both 86400",
        &with(&|p| (p.redis_seconds, p.memory_seconds) = (86_400.0, 86_400.0)),
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

/// Links in use that fit into memory: the part that memory answers, and the reads of Redis.
pub fn fitting(parameters: &Parameters) -> String {
    let mut out = String::from(
        "| links | exponent | redirects/s | instances | from memory | Redis commands/s | from memory, of an entry trusted for 5 s | Redis commands/s |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (links, exponent, instances) in [
        (1e4, 0.0, 1.0),
        (1e4, 1.0, 1.0),
        (1e5, 1.0, 1.0),
        (1e5, 1.0, 10.0),
        (1e6, 1.0, 10.0),
    ] {
        let rate = 1e3 * instances;
        let few = Parameters {
            links,
            exponent,
            ..parameters.clone()
        };
        let bins = bins(links, exponent, FINE);
        let load = load(rate, instances);
        let of = steady(&few, &bins, &load);
        let unconfirmed = steady(&few.unconfirmed(), &bins, &load);
        let _ = writeln!(
            out,
            "| {} | {exponent} | {} | {instances} | {} | {} | {} | {} |",
            count(links),
            count(rate),
            percent(of.memory),
            count(of.redis_reads + of.postgres_reads),
            percent(unconfirmed.memory),
            count(unconfirmed.redis_reads + unconfirmed.postgres_reads),
        );
    }
    out
}

/// The reads of the changes at so many changes a second, and the point from which the caches are refused.
pub fn changes(parameters: &Parameters) -> String {
    let mut out = String::from(
        "| changes/s | instances | reads of changes/s | rows of one | rows/s | rows of an instance's first | caches are refused | table after 400 days |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |\n",
    );
    for (changes, instances) in [
        (1.0, 1e3),
        (10.0, 1e3),
        (100.0, 1e3),
        (100.0, 70.0),
        (200.0, 1e3),
        (1000.0, 1e3),
    ] {
        let rows = parameters.changes_rows(changes);
        let reads = instances * parameters.changes_reads();
        let kept = parameters.redis_seconds + parameters.changes_overlap;
        let first = (changes * kept).min(parameters.changes_known);
        let until_full = parameters.changes_known / changes;
        let refused = if until_full < kept {
            format!("memory and Redis, once in {}", time(until_full))
        } else {
            "no".to_owned()
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {refused} | {} |",
            count(changes),
            count(instances),
            count(reads),
            count(rows),
            count(rows * reads),
            count(first),
            gib(changes * 400.0 * 86_400.0 * parameters.change_bytes),
        );
    }
    out
}

/// Connections, and how busy those for reads are.
pub fn connections(parameters: &Parameters, cases: &[Case]) -> String {
    let mut out = String::from(
        "| redirects/s | instances | connections to Postgres | while two revisions overlap | connections for reads | \
         of them taken by reads | `DATABASE_POOL_SIZE` that bears it | connections to Redis |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for case in cases {
        let load = case.load();
        let need = need(parameters, &case.of, &load);
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
    let room = Room::new(parameters.memory_entries, &bins);
    for scenario in scenarios {
        let seconds = play(parameters, &bins, scenario);
        let peak = |of: fn(&Second) -> f64| seconds.iter().map(of).fold(0.0, f64::max);
        let visits: f64 = seconds.iter().map(|second| second.rate).sum();
        let refused: f64 = seconds.iter().map(|second| second.refused).sum();
        let stale: f64 = seconds.iter().map(|second| second.stale).sum();
        let busy = seconds
            .iter()
            .filter(|second| second.asked > 1.2 * settled(parameters, &bins, second, room));
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

/// Reads of Postgres a second after the load of `second` has gone on for long.
fn settled(parameters: &Parameters, bins: &[Bin], second: &Second, room: Room) -> f64 {
    let load = load(second.rate, second.instances);
    steady_in(parameters, bins, &load, room).postgres_reads
}

/// What it takes and what it costs.
pub fn costs(parameters: &Parameters, cases: &[Case]) -> String {
    let mut out = String::from(
        "| redirects/s | instances | CPU of each | requests in flight of each | Cloud Run, by request | by instance | Postgres, vCPU | $ | Redis, shards | $ | transfer | \
         in all, by request | by instance |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for case in cases {
        let load = case.load();
        let need = need(parameters, &case.of, &load);
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
