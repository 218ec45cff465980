//! Instances that start and stop second by second, each with an empty memory at first, before one Redis and one Postgres.
//!
//! The load of a second is spread over the links and the instances as the model does it. Of each link, a part of the
//! instances has it in memory: more with each visit, less with each end of an entry and with each new instance, so that it
//! comes to rest where the model has it. Of each kind of link, a part is fresh in Redis; what was put there ends when its
//! time is over, and a look-up that finds nothing brings it back, unless Postgres has too much to do: then those who wait
//! for it get what Redis has past its freshness, or else 503.

use std::collections::VecDeque;
use std::ops::Range;

use super::cost::seen;
use super::model::{Load, Steady, Visits, at_instance, steady_in};
use super::parameters::Parameters;
use super::popularity::Bin;
use super::room::Room;

/// Who decides how many instances there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scaling {
    /// Cloud Run, by CPU and concurrency.
    Automatic,
    /// One for so many visits a second.
    PerInstance(f64),
}

/// A play of loads.
pub struct Scenario {
    pub name: &'static str,
    /// Another `DATABASE_POOL_SIZE` than the parameters say.
    pub pool_size: Option<f64>,
    pub scaling: Scaling,
    /// Visits a second, at each second.
    pub load: Box<dyn Fn(usize) -> f64>,
    pub seconds: usize,
    /// Whether Redis and the instances know at the start what they would know after long.
    pub warm: bool,
    /// A second in which Redis comes back empty.
    pub emptied: Option<usize>,
    /// Seconds in which Postgres answers nothing: no look-up, and no read of the changes.
    pub cut: Range<usize>,
}

/// One second.
#[derive(Debug, Clone, Copy, Default)]
pub struct Second {
    pub rate: f64,
    pub instances: f64,
    pub memory: f64,
    pub redis_reads: f64,
    /// Reads that Postgres was asked for, and those that it did.
    pub asked: f64,
    pub postgres_reads: f64,
    /// Visits that waited for Postgres and did not get it: served what Redis had past its freshness, or turned away.
    pub stale: f64,
    pub refused: f64,
}

/// The part of the instances that have a link in memory.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    /// Whose entry still has its own time.
    fresh: f64,
    /// Whose entry is also so new that it needs no changes to confirm it.
    recent: f64,
}

/// A second of the memories of one link.
struct Passed {
    /// Visits at one instance that find nothing.
    waiting: f64,
    /// Look-ups ahead of time at one instance.
    early: f64,
}

/// Visits of a link at one instance, and the mix in which they settle.
#[derive(Clone, Copy)]
struct Settling {
    visits: f64,
    served: f64,
    early: f64,
}

impl Settling {
    fn new(visits: f64, settled: Visits) -> Self {
        Self {
            visits,
            served: 1.0 - settled.waiting,
            early: (settled.look_ups - visits * settled.waiting).max(0.0),
        }
    }

    /// Entries that end in a second, of one.
    fn ending(&self) -> f64 {
        self.visits * (1.0 - self.served) / self.served.max(f64::MIN_POSITIVE)
    }

    /// What a second brings that `part` of the instances begin with an entry.
    fn pass(&self, part: f64) -> Passed {
        let change = self.visits + self.ending();
        let mean = self.served + (part - self.served) * -(-change).exp_m1() / change;
        Passed {
            waiting: self.visits * (1.0 - mean),
            early: self.early * mean / self.served.max(f64::MIN_POSITIVE),
        }
    }

    /// The part after that second, if `found` of the look-ups bring an entry.
    fn after(&self, part: f64, found: f64) -> f64 {
        let (coming, ending) = (self.visits * found, self.ending());
        let change = coming + ending;
        let rest = coming / change.max(f64::MIN_POSITIVE);
        rest + (part - rest) * (-change).exp()
    }
}

/// The links of a bin in Redis.
struct Shelf {
    /// The part of the links that is fresh.
    fresh: f64,
    /// Loads of each second so long as they may be fresh, the newest last; each a part of the links.
    loads: VecDeque<f64>,
}

impl Shelf {
    /// As long ago as it takes.
    fn settled(parameters: &Parameters, reads: f64) -> Self {
        let fresh = reads * parameters.mean(parameters.redis_seconds);
        let fresh = fresh / (1.0 + fresh);
        let memory = parameters.redis_seconds as usize;
        Self {
            fresh,
            loads: std::iter::repeat_n(reads * (1.0 - fresh), memory).collect(),
        }
    }

    /// The part of the links that ends in this second: loads end evenly over the last tenth of their time.
    fn ending(&self, parameters: &Parameters) -> f64 {
        let most = parameters.redis_seconds as usize;
        let span = ((parameters.redis_seconds * parameters.jitter) as usize).max(1);
        let oldest = (self.loads.len() + span).saturating_sub(most).min(span);
        self.loads.iter().take(oldest).sum::<f64>() / span as f64
    }

    fn pass(&mut self, parameters: &Parameters, load: f64) {
        let ending = self.ending(parameters);
        self.fresh = (self.fresh + load - ending).clamp(0.0, 1.0);
        self.loads.push_back(load);
        if self.loads.len() > parameters.redis_seconds as usize {
            self.loads.pop_front();
        }
    }
}

/// Plays a scenario, and answers every second of it.
pub fn play(parameters: &Parameters, bins: &[Bin], scenario: &Scenario) -> Vec<Second> {
    let parameters = &Parameters {
        pool_size: scenario.pool_size.unwrap_or(parameters.pool_size),
        ..parameters.clone()
    };
    let first = (scenario.load)(0);
    let mut fleet = Fleet::new(parameters, bins, scenario, first);
    (0..scenario.seconds)
        .map(|second| {
            if scenario.emptied == Some(second) {
                fleet.empty_redis(second);
            }
            fleet.pass(second, (scenario.load)(second))
        })
        .collect()
}

struct Fleet<'a> {
    parameters: &'a Parameters,
    /// What is in force while the changes cannot be read.
    unconfirmed: Parameters,
    bins: &'a [Bin],
    scaling: Scaling,
    cut: Range<usize>,
    room: Room,
    memories: Vec<Memory>,
    shelves: Vec<Shelf>,
    /// When Redis was last empty; `None` for long ago.
    emptied: Option<usize>,
    instances: f64,
    /// CPU and requests in flight of each second of the window.
    window: VecDeque<(f64, f64)>,
    /// How many instances were wanted, so long as an idle one is kept.
    wanted: VecDeque<f64>,
    /// Instances on their way: when they are ready, and how many.
    starting: VecDeque<(usize, f64)>,
}

impl<'a> Fleet<'a> {
    fn new(parameters: &'a Parameters, bins: &'a [Bin], scenario: &Scenario, rate: f64) -> Self {
        let mut fleet = Self {
            parameters,
            unconfirmed: parameters.unconfirmed(),
            bins,
            scaling: scenario.scaling,
            cut: scenario.cut.clone(),
            room: Room::new(parameters.memory_entries, bins),
            memories: vec![Memory::default(); bins.len()],
            shelves: Vec::new(),
            emptied: (!scenario.warm).then_some(0),
            instances: 1.0,
            window: VecDeque::new(),
            wanted: VecDeque::new(),
            starting: VecDeque::new(),
        };
        fleet.instances = fleet.chosen(rate);
        let each = rate / fleet.instances;
        for (bin, memory) in bins.iter().zip(&mut fleet.memories) {
            fleet.shelves.push(if scenario.warm {
                let until_out = fleet.room.until_out(bin.share) / each;
                let settled = at_instance(parameters, each * bin.share, fleet.instances, until_out);
                memory.fresh = 1.0 - settled.waiting;
                Shelf::settled(parameters, fleet.instances * settled.look_ups)
            } else {
                Shelf {
                    fresh: 0.0,
                    loads: VecDeque::new(),
                }
            });
        }
        fleet
    }

    fn empty_redis(&mut self, second: usize) {
        self.emptied = Some(second);
        for shelf in &mut self.shelves {
            shelf.fresh = 0.0;
            shelf.loads.clear();
        }
    }

    /// How long past its freshness an entry can be that Redis still has.
    fn past_freshness(&self, second: usize) -> f64 {
        let most = self.parameters.stale_seconds;
        self.emptied.map_or(most, |emptied| {
            ((second - emptied) as f64 - self.parameters.redis_seconds).clamp(0.0, most)
        })
    }

    /// How many instances a load would have after long.
    fn chosen(&self, rate: f64) -> f64 {
        match self.scaling {
            Scaling::PerInstance(visits) => (rate / visits).ceil().max(1.0),
            Scaling::Automatic => settled_instances(self.parameters, self.bins, self.room, rate),
        }
    }

    fn pass(&mut self, second: usize, rate: f64) -> Second {
        self.start(second);
        let is_cut = self.cut.contains(&second);
        let mut now = Second {
            rate,
            instances: self.instances,
            ..Second::default()
        };
        let asked: Vec<Asked> = (0..self.bins.len())
            .map(|place| self.ask(place, rate / self.instances, is_cut))
            .collect();
        for (asked, bin) in asked.iter().zip(self.bins) {
            now.memory += bin.links * asked.from_memory / rate;
            now.redis_reads += bin.links * asked.redis;
            now.asked += bin.links * asked.postgres;
        }
        let by_pool = self.instances * self.parameters.read_connections() / self.parameters.read_seconds();
        let most = by_pool.min(self.parameters.postgres_vcpus * self.parameters.postgres_reads);
        let done = match is_cut {
            true => 0.0,
            false => (most / now.asked.max(1e-9)).min(1.0),
        };
        now.postgres_reads = now.asked * done;
        let past = self.past_freshness(second);
        for (place, (asked, bin)) in asked.iter().zip(self.bins).enumerate() {
            let unanswered = bin.links * asked.waiting_for_postgres * (1.0 - done);
            // Redis still has it if it was put there in time: how long ago, depends on when it was last asked for.
            let known = -(-asked.redis * past).exp_m1();
            now.stale += unanswered * known;
            now.refused += unanswered * (1.0 - known);
            self.shelves[place].pass(self.parameters, asked.loads * done);
            let found = 1.0 - asked.waited_for * (1.0 - done);
            let memory = &mut self.memories[place];
            memory.fresh = asked.settling.after(memory.fresh, found);
            memory.recent = match is_cut {
                true => asked.unconfirmed.after(memory.recent, found),
                false => (asked.by_each * self.unconfirmed.quiet_seconds()).min(memory.fresh),
            };
        }
        self.scale(second, &now);
        now
    }

    /// The visits of a link in a second.
    fn ask(&self, place: usize, each: f64, is_cut: bool) -> Asked {
        let (bin, shelf, memory) = (&self.bins[place], &self.shelves[place], self.memories[place]);
        let visits = each * bin.share;
        let until_out = self.room.until_out(bin.share) / each;
        let under = |parameters: &Parameters| {
            Settling::new(visits, at_instance(parameters, visits, self.instances, until_out))
        };
        let settling = under(self.parameters);
        let unconfirmed = if is_cut {
            under(&self.unconfirmed)
        } else {
            settling
        };
        let passed = match is_cut {
            true => unconfirmed.pass(memory.recent),
            false => settling.pass(memory.fresh),
        };
        let waiting = self.instances * passed.waiting;
        let by_each = passed.waiting + passed.early;
        let redis = self.instances * by_each;
        // Links that are not fresh are loaded by the first who asks, and are there for the others.
        let loads = (1.0 - shelf.fresh) * -(-redis).exp_m1();
        let others = (self.instances - 1.0).max(0.0);
        let together = others * -(-by_each * self.parameters.read_seconds()).exp_m1();
        let postgres = loads * (1.0 + together);
        let waited_for = (postgres / redis.max(f64::MIN_POSITIVE)).min(1.0);
        Asked {
            from_memory: self.instances * visits - waiting,
            redis,
            by_each,
            loads,
            postgres,
            waited_for,
            waiting_for_postgres: waiting * waited_for,
            settling,
            unconfirmed,
        }
    }

    fn start(&mut self, second: usize) {
        while self.starting.front().is_some_and(|(ready, _)| *ready <= second) {
            if let Some((_, started)) = self.starting.pop_front() {
                let part = self.instances / (self.instances + started);
                self.instances += started;
                for memory in &mut self.memories {
                    memory.fresh *= part;
                    memory.recent *= part;
                }
            }
        }
    }

    fn scale(&mut self, second: usize, now: &Second) {
        let wanted = match self.scaling {
            Scaling::PerInstance(visits) => (now.rate / visits).ceil().max(1.0),
            Scaling::Automatic => self.wanted_by_cloud_run(now),
        };
        self.wanted.push_back(wanted);
        if self.wanted.len() > self.parameters.idle_seconds as usize {
            self.wanted.pop_front();
        }
        let coming: f64 = self.starting.iter().map(|(_, instances)| instances).sum();
        if wanted > now.instances + coming {
            let ready = second + self.parameters.start_seconds as usize;
            self.starting.push_back((ready, wanted - now.instances - coming));
        }
        // An instance stops that was idle for as long as idle ones are kept.
        let kept = self.wanted.iter().copied().fold(wanted, f64::max);
        self.instances = self.instances.min(kept.max(1.0));
    }

    /// By the averages of the last minute; or by what is needed now, if the instances cannot bear that.
    fn wanted_by_cloud_run(&mut self, now: &Second) -> f64 {
        let beyond = 1.0 - now.memory;
        let from_postgres = (now.asked / now.redis_reads.max(1e-9)).min(1.0) * beyond;
        let shares = Steady {
            memory: now.memory,
            redis: beyond - from_postgres,
            postgres: from_postgres,
            ..Steady::default()
        };
        let (cpu, in_flight) = seen(self.parameters, &shares);
        self.window.push_back((now.rate * cpu, now.rate * in_flight));
        if self.window.len() > self.parameters.window_seconds as usize {
            self.window.pop_front();
        }
        let length = self.window.len() as f64;
        let cpu: f64 = self.window.iter().map(|(cpu, _)| cpu).sum::<f64>() / length;
        let in_flight: f64 = self.window.iter().map(|(_, flight)| flight).sum::<f64>() / length;
        let target = self.parameters.utilization;
        let by_averages =
            (cpu / (self.parameters.vcpus * target)).max(in_flight / (self.parameters.concurrency * target));
        let by_need = self.window.back().map_or(0.0, |(cpu, flight)| {
            (cpu / self.parameters.vcpus).max(flight / self.parameters.concurrency)
        });
        by_averages.max(by_need).ceil().max(1.0)
    }
}

/// How many instances Cloud Run would choose for a load, given what they know when there are so many.
pub fn settled_instances(parameters: &Parameters, bins: &[Bin], room: Room, rate: f64) -> f64 {
    let mut instances = 1.0;
    // More instances know less each, and so need more: it comes to rest after a few rounds.
    for _ in 0..8 {
        let load = Load {
            rate,
            instances,
            redis_entries: f64::INFINITY,
        };
        let chosen =
            super::cost::need(parameters, &steady_in(parameters, bins, &load, room), &load).instances;
        if chosen == instances {
            break;
        }
        instances = chosen;
    }
    instances
}

/// The visits of a link in a second: how many memory serves, and what they ask of Redis and of Postgres.
struct Asked {
    from_memory: f64,
    redis: f64,
    /// Look-ups of one instance.
    by_each: f64,
    /// The part of the links that is loaded.
    loads: f64,
    postgres: f64,
    /// The part of the look-ups that Postgres has to answer.
    waited_for: f64,
    waiting_for_postgres: f64,
    settling: Settling,
    unconfirmed: Settling,
}
