//! What comes of a steady load, reckoned: each cache as the sum of its links, after Che's approximation.
//!
//! A link with `v` visits a second at an instance is looked up, served from memory for `quiet` seconds, looked up again by
//! the first visit in the `early` seconds after that, or else by the first one later, which has to wait. So it is asked of
//! Redis once in `quiet + 1/v` seconds, and a visit waits with the chance `exp(-v early) / (1 + v quiet)`.

use super::parameters::Parameters;
use super::popularity::Bin;

/// A load, and who shares it.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Visits a second, of all instances.
    pub rate: f64,
    pub instances: f64,
    /// Entries that Redis has room for.
    pub redis_entries: f64,
}

/// What comes of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steady {
    /// Shares of the visits, by who answered.
    pub memory: f64,
    pub redis: f64,
    pub postgres: f64,
    /// Look-ups in Redis a second, those ahead of time included.
    pub redis_reads: f64,
    /// Reads of Postgres a second, each of which is a write to Redis.
    pub postgres_reads: f64,
    /// Entries that an instance keeps in memory that are still fresh.
    pub memory_fresh: f64,
    /// How long an unvisited entry stays in a full memory, in seconds.
    pub memory_stay: f64,
    /// Entries that Redis holds.
    pub redis_held: f64,
    /// How long an entry that is not asked for stays in a full Redis, in seconds.
    pub redis_stay: f64,
}

/// How many events a cache answers between two loads: one that holds an entry for `fresh` seconds at the most, and throws
/// out what was not asked for in `stay` seconds. Exact when either of the two is endless.
pub fn answered(events: f64, fresh: f64, stay: f64) -> f64 {
    // Longer than anything is fresh: `exp` would leave the range of numbers.
    let until_out = if events * stay > 500.0 {
        f64::INFINITY
    } else {
        (events * stay).exp_m1() / events
    };
    if until_out.is_infinite() {
        return events * fresh;
    }
    events * until_out * -(-fresh / until_out).exp_m1()
}

/// The visits of one link at one instance.
#[derive(Debug, Clone, Copy)]
pub struct Visits {
    /// The share that has to wait for a look-up.
    pub waiting: f64,
    /// Look-ups a second.
    pub look_ups: f64,
}

/// A link with `visits` a second at one instance, whose memory keeps an unvisited entry for `stay` seconds.
pub fn at_instance(parameters: &Parameters, visits: f64, stay: f64) -> Visits {
    let quiet = answered(visits, parameters.quiet_seconds(), stay);
    let early = (-visits * parameters.early_seconds()).exp();
    // In `quiet` visits and the one that ends the rest.
    Visits {
        waiting: early / (1.0 + quiet),
        look_ups: visits / (1.0 + quiet),
    }
}

/// The chance that Redis has a fresh entry of a link that it is asked for `reads` times a second.
pub fn in_redis(parameters: &Parameters, reads: f64, stay: f64) -> f64 {
    let hits = answered(reads, parameters.mean(parameters.redis_seconds), stay);
    hits / (1.0 + hits)
}

/// Reckons a load.
pub fn steady(parameters: &Parameters, bins: &[Bin], load: &Load) -> Steady {
    let each = load.rate / load.instances;
    let memory_stay = stay(parameters.memory_entries, |stay| {
        sum(bins, |bin| -(-each * bin.share * stay).exp_m1())
    });
    let look_ups =
        |bin: &Bin| load.instances * at_instance(parameters, each * bin.share, memory_stay).look_ups;
    let kept = |bin: &Bin, stay: f64| {
        let reads = look_ups(bin);
        let fresh = parameters.mean(parameters.redis_seconds);
        let by_time = 1.0 - (-reads * parameters.stale_seconds).exp() / (1.0 + reads * fresh);
        by_time.min(-(-reads * stay).exp_m1())
    };
    let redis_stay = stay(load.redis_entries, |stay| sum(bins, |bin| kept(bin, stay)));
    let mut steady = Steady {
        memory_stay,
        redis_stay,
        redis_held: sum(bins, |bin| kept(bin, redis_stay)),
        ..Steady::default()
    };
    for bin in bins {
        let visits = each * bin.share;
        let here = at_instance(parameters, visits, memory_stay);
        let reads = load.instances * here.look_ups;
        let held = in_redis(parameters, reads, redis_stay);
        let of_all = bin.share * bin.links;
        steady.memory += of_all * (1.0 - here.waiting);
        steady.redis += of_all * here.waiting * held;
        steady.postgres += of_all * here.waiting * (1.0 - held);
        steady.redis_reads += bin.links * reads;
        // Instances that ask while an answer is under way ask for themselves.
        let together = (load.instances - 1.0) * -(-here.look_ups * parameters.read_seconds()).exp_m1();
        steady.postgres_reads += bin.links * reads * (1.0 - held) * (1.0 + together);
        steady.memory_fresh +=
            bin.links * (here.look_ups * parameters.mean(parameters.memory_seconds)).min(1.0);
    }
    steady
}

fn sum(bins: &[Bin], each: impl Fn(&Bin) -> f64) -> f64 {
    bins.iter().map(|bin| bin.links * each(bin)).sum()
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
