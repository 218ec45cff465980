//! A replay, visit after visit, with caches that hold and evict entries. The tests and the tables compare the model with it.
//!
//! Memory is `quick_cache`, the program's own, with the program's number of entries. Redis is a table that evicts the least
//! recently used entry. Look-ups take as long as the parameters say, and one at a time for each link and instance.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, UnitWeighter};

use super::parameters::Parameters;
use super::popularity::Zipf;

/// Shards of the cache of a process with one vCPU: four for each.
const SHARDS: usize = 4;

/// Always the same order of things, so that a seed says it all.
type Hasher = BuildHasherDefault<DefaultHasher>;
type Memory = Cache<u64, Held, UnitWeighter, Hasher>;

/// An entry: from when on it is there, and until when it is fresh.
#[derive(Debug, Clone, Copy)]
struct Held {
    from: f64,
    fresh_until: f64,
}

/// How many visits each layer answered, and the look-ups that this took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub visits: u64,
    pub memory: u64,
    pub redis: u64,
    /// Those who waited for a read that was under way included.
    pub postgres: u64,
    pub redis_reads: u64,
    pub postgres_reads: u64,
}

impl Tally {
    /// A part of the visits.
    pub fn share(&self, part: u64) -> f64 {
        part as f64 / self.visits.max(1) as f64
    }
}

/// The layers below the memory of the instances.
pub enum Beyond {
    /// A Redis with room for so many entries, and Postgres.
    Whole(Redis),
    /// A Redis with room for all, which other instances share.
    Shared(Shared),
}

/// A Redis that instances outside of the replay share. When the entry of a link has ended, the next visit at any of them
/// loads it again: their memories have lost it too.
pub struct Shared {
    /// Visits a second of a link at the other instances, by its rank.
    others: Box<dyn Fn(u64) -> f64>,
    /// Until when the last entry of each link is fresh.
    ends: HashMap<u64, f64, Hasher>,
}

impl Shared {
    /// A Redis whose other instances have `others` visits a second of the link of each rank.
    pub fn new(others: impl Fn(u64) -> f64 + 'static) -> Self {
        Self {
            others: Box::new(others),
            ends: HashMap::default(),
        }
    }

    /// Until when the entry of `link` is fresh, if there is one. `fresh` draws how long one is.
    fn get(
        &mut self,
        link: u64,
        now: f64,
        chance: &mut fastrand::Rng,
        fresh: impl Fn(&mut fastrand::Rng) -> f64,
    ) -> Option<f64> {
        let others = (self.others)(link);
        let Some(end) = self.ends.get_mut(&link) else {
            // Of their cycles before, the others spend a part with an entry.
            let fresh = fresh(chance);
            if chance.f64() * (fresh + 1.0 / others) > fresh {
                return None;
            }
            let end = now + chance.f64() * fresh;
            self.ends.insert(link, end);
            return Some(end);
        };
        while *end <= now {
            let loaded = *end + exponential(chance, others);
            if loaded > now {
                return None;
            }
            *end = loaded + fresh(chance);
        }
        Some(*end)
    }
}

/// The time until the next of events of which `rate` come in a second.
fn exponential(chance: &mut fastrand::Rng, rate: f64) -> f64 {
    -(1.0 - chance.f64()).ln() / rate
}

/// A shared cache that evicts the least recently used entry.
#[derive(Debug, Default)]
pub struct Redis {
    room: usize,
    entries: HashMap<u64, (Held, u64), Hasher>,
    order: BTreeMap<u64, u64>,
    turn: u64,
}

impl Redis {
    pub fn new(room: usize) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    fn touch(&mut self, link: u64) -> u64 {
        self.turn += 1;
        self.order.insert(self.turn, link);
        self.turn
    }

    fn get(&mut self, link: u64, now: f64, stale: f64) -> Option<Held> {
        let (held, last) = *self.entries.get(&link)?;
        self.order.remove(&last);
        if now > held.fresh_until + stale {
            self.entries.remove(&link);
            return None;
        }
        let turn = self.touch(link);
        self.entries.insert(link, (held, turn));
        Some(held)
    }

    fn put(&mut self, link: u64, held: Held) {
        if let Some((_, last)) = self.entries.remove(&link) {
            self.order.remove(&last);
        }
        let turn = self.touch(link);
        self.entries.insert(link, (held, turn));
        while self.entries.len() > self.room {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            self.entries.remove(&oldest);
        }
    }
}

/// Instances with their caches, and a clock.
pub struct Replay<'a> {
    parameters: &'a Parameters,
    popularity: Zipf,
    memories: Vec<Memory>,
    pub beyond: Beyond,
    chance: fastrand::Rng,
    now: f64,
    tally: Tally,
}

impl<'a> Replay<'a> {
    /// Cold instances.
    pub fn new(parameters: &'a Parameters, instances: usize, beyond: Beyond, seed: u64) -> Self {
        let entries = parameters.memory_entries as usize;
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(entries)
            .weight_capacity(entries as u64)
            .build()
            .expect("the room is given");
        let memory = |_| {
            Cache::with_options(
                options.clone(),
                UnitWeighter,
                Hasher::default(),
                DefaultLifecycle::default(),
            )
        };
        Self {
            parameters,
            popularity: Zipf::new(parameters.links, parameters.exponent),
            memories: (0..instances).map(memory).collect(),
            beyond,
            chance: fastrand::Rng::with_seed(seed),
            now: 0.0,
            tally: Tally::default(),
        }
    }

    /// Replays so many seconds with `rate` visits a second over all instances.
    pub fn run(&mut self, rate: f64, seconds: f64) -> Tally {
        self.tally = Tally::default();
        let end = self.now + seconds;
        loop {
            self.now += exponential(&mut self.chance, rate);
            if self.now >= end {
                self.now = end;
                return self.tally;
            }
            let instance = self.chance.usize(..self.memories.len());
            let link = self.popularity.draw(&mut self.chance);
            self.visit(instance, link);
        }
    }

    fn visit(&mut self, instance: usize, link: u64) {
        self.tally.visits += 1;
        match self.memories[instance].get(&link) {
            // A look-up is under way: the visitor waits for its answer.
            Some(held) if self.now < held.from => self.tally.postgres += 1,
            Some(held) if self.now < held.fresh_until => {
                self.tally.memory += 1;
                if self.now >= held.fresh_until - self.parameters.early_seconds() {
                    self.look_up(instance, link);
                }
            }
            _ => {
                if self.look_up(instance, link) {
                    self.tally.redis += 1;
                } else {
                    self.tally.postgres += 1;
                }
            }
        }
    }

    /// Asks Redis, then Postgres, and fills both caches; whether Redis knew.
    fn look_up(&mut self, instance: usize, link: u64) -> bool {
        self.tally.redis_reads += 1;
        let (now, stale) = (self.now, self.parameters.stale_seconds);
        let fresh_until = now + self.jittered(self.parameters.memory_seconds);
        let (jitter, redis_seconds) = (self.parameters.jitter, self.parameters.redis_seconds);
        let redis_fresh = |chance: &mut fastrand::Rng| jittered(chance, redis_seconds, jitter);
        let known = match &mut self.beyond {
            Beyond::Whole(redis) => redis
                .get(link, now, stale)
                .filter(|held| held.from <= now && now < held.fresh_until)
                .map(|held| held.fresh_until),
            Beyond::Shared(redis) => redis.get(link, now, &mut self.chance, redis_fresh),
        };
        if let Some(end) = known {
            let held = Held {
                from: now,
                fresh_until: fresh_until.min(end),
            };
            self.memories[instance].insert(link, held);
            return true;
        }
        self.tally.postgres_reads += 1;
        let from = now + self.parameters.read_seconds();
        self.memories[instance].insert(link, Held { from, fresh_until });
        let fresh_until = now + redis_fresh(&mut self.chance);
        match &mut self.beyond {
            Beyond::Whole(redis) => redis.put(link, Held { from, fresh_until }),
            Beyond::Shared(redis) => {
                redis.ends.insert(link, fresh_until);
            }
        }
        false
    }

    fn jittered(&mut self, seconds: f64) -> f64 {
        jittered(&mut self.chance, seconds, self.parameters.jitter)
    }
}

fn jittered(chance: &mut fastrand::Rng, seconds: f64, jitter: f64) -> f64 {
    seconds * (1.0 - jitter * chance.f64())
}
