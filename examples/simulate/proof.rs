//! Tables that compare the model with replays.

use std::fmt::Write as _;

use super::model::{Load, steady};
use super::parameters::Parameters;
use super::popularity::{Bin, bins};
use super::replay::{Beyond, Redis, Replay, Shared};
use super::report::{Case, FINE, count, percent};

/// One instance of each case, by the model and replayed visit after visit.
pub fn held_against(parameters: &Parameters, bins: &[Bin], cases: &[Case], seed: u64) -> String {
    let mut out = String::from(
        "| redirects/s | instances | visits replayed | memory: model | replayed | Redis reads of one instance: model | replayed |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (place, case) in cases.iter().enumerate() {
        let of = &case.of;
        let each = case.rate / case.instances;
        // Until memory is full and each entry had its time, but no more than some millions of visits.
        let warming = of.memory_stay.max(parameters.memory_seconds) * 1.5;
        let measured = (6e6 / each).min(300.0);
        let others = others(bins, case.rate - each);
        let beyond = Beyond::Shared(Shared::new(others));
        let mut replay = Replay::new(parameters, 1, beyond, seed + place as u64);
        replay.run(each, warming.min(6e6 / each));
        let tally = replay.run(each, measured);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {}/s | {}/s |",
            count(case.rate),
            count(case.instances),
            count(tally.visits as f64),
            percent(of.memory),
            percent(tally.share(tally.memory)),
            count(of.redis_reads / case.instances),
            count(tally.redis_reads as f64 / measured),
        );
    }
    out
}

/// A system that is small enough to replay all of it, Redis too.
pub fn small(parameters: &Parameters) -> Parameters {
    Parameters {
        links: 20_000.0,
        memory_entries: 4_000.0,
        redis_seconds: 100.0,
        stale_seconds: 200.0,
        ..parameters.clone()
    }
}

/// Whole, small systems by the model and replayed.
pub fn whole_systems(parameters: &Parameters, seed: u64) -> String {
    let small = small(parameters);
    let bins = bins(small.links, small.exponent, FINE);
    let mut out = String::from(
        "| instances | redirects/s | room in memory | in Redis | memory: model | replayed | Redis: model | replayed | \
         Postgres: model | replayed | Redis reads/s: model | replayed |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (instances, rate, entries, room) in [
        (1.0, 500.0, 4e3, 2e4),
        (4.0, 4_000.0, 4e3, 2e4),
        (4.0, 4_000.0, 500.0, 2e4),
        (4.0, 4_000.0, 4e3, 4e3),
        (16.0, 4_000.0, 4e3, 1e3),
    ] {
        let small = Parameters {
            memory_entries: entries,
            ..small.clone()
        };
        let load = Load {
            rate,
            instances,
            redis_entries: room,
        };
        let of = steady(&small, &bins, &load);
        let beyond = Beyond::Whole(Redis::new(room as usize));
        let mut replay = Replay::new(&small, instances as usize, beyond, seed);
        replay.run(rate, 300.0);
        let tally = replay.run(rate, 200.0);
        let _ = writeln!(
            out,
            "| {instances} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            count(rate),
            count(entries),
            count(room),
            percent(of.memory),
            percent(tally.share(tally.memory)),
            percent(of.redis),
            percent(tally.share(tally.redis)),
            percent(of.postgres),
            percent(tally.share(tally.postgres)),
            count(of.redis_reads),
            count(tally.redis_reads as f64 / 200.0),
        );
    }
    out
}

/// The visits a second of the link of each rank, of `rate` in all.
pub fn others(bins: &[Bin], rate: f64) -> impl Fn(u64) -> f64 + use<> {
    let shares: Vec<(f64, f64)> = bins.iter().map(|bin| (bin.first, bin.share)).collect();
    move |rank| {
        let place = shares.partition_point(|(first, _)| *first <= rank as f64);
        shares
            .get(place.saturating_sub(1))
            .map_or(0.0, |(_, share)| rate * share)
    }
}
