//! A steady load, computed: each cache as the sum of its links, Redis after Che's approximation and memory after
//! `quick_cache` ([`Room`]).
//!
//! A link lives through cycles of its Redis value: a read of the database puts it into Redis, and it is fresh there for
//! `redis_seconds`. An instance that takes it from Redis keeps it in memory for `memory_seconds`, but never longer than
//! Redis does. So all instances lose a link when its cycle ends, and the next visit of any of them reads the database.
//! Within a cycle an instance is in one of two states: it holds the link or it does not. It changes from the first to the
//! second when the time of the entry is over or when a full memory evicts it, and back with the next visit.

use super::parameters::Parameters;
use super::popularity::Bin;
use super::room::Room;

/// A load and the instances that share it.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Visits a second, of all instances.
    pub rate: f64,
    pub instances: f64,
    /// Entries that Redis has room for.
    pub redis_entries: f64,
}

/// The mix of layers under a steady load.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steady {
    /// Shares of the visits, by the layer that answers.
    pub memory: f64,
    pub redis: f64,
    pub postgres: f64,
    /// Look-ups in Redis a second, those ahead of time included.
    pub redis_reads: f64,
    /// Look-ups in Postgres a second, each of which is a write to Redis.
    pub postgres_reads: f64,
    /// How long an entry that is not visited stays in a full memory, in seconds.
    pub memory_stay: f64,
    /// Entries that Redis holds.
    pub redis_held: f64,
}

/// How many events a cache answers between two loads: one that holds an entry for `fresh` seconds at the most, and evicts
/// what was not asked for in `stay` seconds. Exact when either of the two is endless.
pub fn answered(events: f64, fresh: f64, stay: f64) -> f64 {
    // Longer than anything is fresh: `exp` would leave the range of numbers.
    let until_out = if events * stay > 500.0 {
        f64::INFINITY
    } else {
        (events * stay).exp_m1() / events
    };
    answered_until(events, fresh, until_out)
}

/// The same where an entry is evicted after `until_out` seconds on average.
fn answered_until(events: f64, fresh: f64, until_out: f64) -> f64 {
    if until_out.is_infinite() {
        return events * fresh;
    }
    events * until_out * -(-fresh / until_out).exp_m1()
}

/// The visits of one link at one instance.
#[derive(Debug, Clone, Copy)]
pub struct Visits {
    /// The share that waits for a look-up.
    pub waiting: f64,
    /// Look-ups a second.
    pub look_ups: f64,
}

/// A link with `visits` a second at each of `instances`, whose memory evicts it after `until_out` seconds on average, and
/// which Redis keeps as long as it is fresh.
pub fn at_instance(parameters: &Parameters, visits: f64, instances: f64, until_out: f64) -> Visits {
    let shared = parameters.mean(parameters.redis_seconds);
    let early = parameters.early_seconds();
    let others = instances - 1.0;
    // A cycle has room for so many ends of an entry's own time that each costs this much of it.
    let own = parameters.quiet_seconds() / (1.0 - parameters.quiet_seconds() / shared).max(0.0);
    let hits = answered_until(visits, own, until_out);
    let off = 1.0 / (1.0 + hits);
    let change = visits + visits / hits;
    let settled = -(-change * shared).exp_m1();
    // Look-ups of one instance in a cycle, after the one that begins it, and of one that did not begin it.
    let after = visits * off * (shared - settled / change);
    let look_ups = visits * (off * shared + (1.0 - off) * settled / change);
    let first = -(-visits * shared).exp_m1();
    // Of a look-up of an entry whose own time ends, a visitor need not wait. One that was evicted, or ended with the
    // cycle, is looked up by a visitor who waits.
    let in_time = -(-visits * early).exp_m1();
    let ends_in_time = if own.is_infinite() {
        0.0
    } else {
        (-own / until_out).exp()
    };
    let waits = 1.0 - ends_in_time * in_time;
    let outlasted = parameters.redis_outlasts_memory();
    let begins = 1.0 - (1.0 - outlasted) * in_time / instances;
    // In the last second of a cycle Redis answers each look-up ahead of time with what it still has.
    let in_vain = visits * early * (others * (1.0 - off) * settled + outlasted * (1.0 - off * settled));
    let cycle = instances * shared + 1.0 / visits;
    Visits {
        waiting: (begins + after * waits + others * (first + (look_ups - first).max(0.0) * waits))
            / (cycle * visits),
        look_ups: (1.0 + after + others * look_ups + in_vain) / cycle,
    }
}

/// The same when Redis never keeps the link: an entry of memory has its own time.
pub fn without_redis(parameters: &Parameters, visits: f64, until_out: f64) -> Visits {
    let hits = answered_until(visits, parameters.quiet_seconds(), until_out);
    let early = (-visits * parameters.early_seconds()).exp();
    Visits {
        waiting: early / (1.0 + hits),
        look_ups: visits / (1.0 + hits),
    }
}

/// The chance that Redis has a fresh entry of a link that it is asked for `reads` times a second.
pub fn in_redis(parameters: &Parameters, reads: f64, stay: f64) -> f64 {
    let hits = answered(reads, parameters.mean(parameters.redis_seconds), stay);
    hits / (1.0 + hits)
}

/// Computes a load.
pub fn steady(parameters: &Parameters, bins: &[Bin], load: &Load) -> Steady {
    steady_in(parameters, bins, load, Room::new(parameters.memory_entries, bins))
}

/// The same where the [`Room`] of a memory is known.
pub fn steady_in(parameters: &Parameters, bins: &[Bin], load: &Load, room: Room) -> Steady {
    let each = load.rate / load.instances;
    let until_out = |bin: &Bin| room.until_out(bin.share) / each;
    let fresh = parameters.mean(parameters.redis_seconds);
    let kept = |reads: f64, stay: f64| {
        let by_time = 1.0 - (-reads * parameters.stale_seconds).exp() / (1.0 + reads * fresh);
        by_time.min(-(-reads * stay).exp_m1())
    };
    let bound: Vec<Visits> = bins
        .iter()
        .map(|bin| at_instance(parameters, each * bin.share, load.instances, until_out(bin)))
        .collect();
    let all = |stay: f64| -> f64 {
        let reads = bound.iter().map(|visits| load.instances * visits.look_ups);
        bins.iter()
            .zip(reads)
            .map(|(bin, reads)| bin.links * kept(reads, stay))
            .sum()
    };
    let redis_stay = stay(load.redis_entries, all);
    let mut steady = Steady {
        memory_stay: room.turnover() / each,
        redis_held: all(redis_stay),
        ..Steady::default()
    };
    for (bin, bound) in bins.iter().zip(bound) {
        let visits = each * bin.share;
        // Where Redis evicts a link before its time, cycles do not end together.
        let reads = load.instances * bound.look_ups;
        let part = in_redis(parameters, reads, redis_stay) / in_redis(parameters, reads, f64::INFINITY);
        let alone = without_redis(parameters, visits, until_out(bin));
        let mix = |bound: f64, alone: f64| part * bound + (1.0 - part) * alone;
        let waiting = mix(bound.waiting, alone.waiting);
        let reads = load.instances * mix(bound.look_ups, alone.look_ups);
        let held = in_redis(parameters, reads, redis_stay);
        let of_all = bin.share * bin.links;
        steady.memory += of_all * (1.0 - waiting);
        steady.redis += of_all * waiting * held;
        steady.postgres += of_all * waiting * (1.0 - held);
        steady.redis_reads += bin.links * reads;
        // Instances that ask while an answer is under way ask for themselves. None holds the link then.
        let together = (load.instances - 1.0) * -(-visits * parameters.read_seconds()).exp_m1();
        steady.postgres_reads += bin.links * reads * (1.0 - held) * (1.0 + together);
    }
    steady
}

/// How long an entry stays that is not asked for: such that `held` comes to what there is room for. Endless if all fits.
fn stay(room: f64, held: impl Fn(f64) -> f64) -> f64 {
    if held(f64::INFINITY) <= room {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (-20.0_f64, 40.0_f64);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if held(middle.exp()) < room {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high).exp()
}
