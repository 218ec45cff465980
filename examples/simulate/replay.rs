//! Visit after visit, with caches that really hold and throw out: what the model is held against.
//!
//! Memory is `quick_cache`, the program's own, with the program's number of entries. Redis is a table with the least recently
//! asked for thrown out. Look-ups take as long as the parameters say, and one at a time for each link and instance.

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

/// How many visits were answered by whom, and what that cost.
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

/// What stands behind the memory of the instances.
pub enum Beyond {
    /// A Redis with room for so many entries, and Postgres behind it.
    Whole(Redis),
    /// Redis has a link with the chance that a function of its rank gives: for a few instances out of many.
    Chance(Box<dyn Fn(u64) -> f64>),
}

/// A shared cache that throws out what was not asked for longest.
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

    /// Lets visitors come for so many seconds, `rate` of them a second over all instances, and answers what came of it.
    pub fn run(&mut self, rate: f64, seconds: f64) -> Tally {
        self.tally = Tally::default();
        let end = self.now + seconds;
        loop {
            self.now += -(1.0 - self.chance.f64()).ln() / rate;
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
            // A look-up is under way: whoever comes meanwhile waits for its answer.
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
        let known = match &mut self.beyond {
            Beyond::Whole(redis) => redis
                .get(link, now, stale)
                .filter(|held| held.from <= now && now < held.fresh_until)
                .map(|held| held.fresh_until),
            Beyond::Chance(chance) => (self.chance.f64() < chance(link)).then_some(f64::INFINITY),
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
        let fresh_until = now + self.jittered(self.parameters.redis_seconds);
        if let Beyond::Whole(redis) = &mut self.beyond {
            redis.put(link, Held { from, fresh_until });
        }
        false
    }

    fn jittered(&mut self, seconds: f64) -> f64 {
        seconds * (1.0 - self.parameters.jitter * self.chance.f64())
    }
}
