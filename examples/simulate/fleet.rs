//! Instances that come and go second by second, each cold at first, before one Redis and one Postgres.
//!
//! The load of a second is spread over the links and the instances as the model does it. An instance younger than the time
//! that memory trusts an entry has only what was asked for since it started. Of each kind of link, a part is fresh in
//! Redis; what was put there ends when its time is over, and a look-up that finds nothing brings it back, unless Postgres
//! has too much to do: then those who wait for it get what Redis has past its freshness, or else 503.

use std::collections::VecDeque;

use super::cost::seen;
use super::model::{Load, Steady, at_instance, steady};
use super::parameters::Parameters;
use super::popularity::Bin;

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

/// Instances of one age.
struct Cohort {
    born: usize,
    /// Whether they knew at their birth what others know after long.
    warm: bool,
    instances: f64,
}

/// What Redis knows of the links of a bin.
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
    bins: &'a [Bin],
    scaling: Scaling,
    shelves: Vec<Shelf>,
    /// Since when Redis has had the time to learn; `None` for long.
    emptied: Option<usize>,
    cohorts: VecDeque<Cohort>,
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
            bins,
            scaling: scenario.scaling,
            shelves: Vec::new(),
            emptied: (!scenario.warm).then_some(0),
            cohorts: VecDeque::new(),
            window: VecDeque::new(),
            wanted: VecDeque::new(),
            starting: VecDeque::new(),
        };
        let instances = fleet.chosen(rate);
        let each = rate / instances;
        fleet.shelves = bins
            .iter()
            .map(|bin| match scenario.warm {
                true => {
                    let visits = at_instance(parameters, each * bin.share, f64::INFINITY);
                    Shelf::settled(parameters, instances * visits.look_ups)
                }
                false => Shelf {
                    fresh: 0.0,
                    loads: VecDeque::new(),
                },
            })
            .collect();
        fleet.cohorts.push_back(Cohort {
            born: 0,
            warm: scenario.warm,
            instances,
        });
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
            Scaling::Automatic => settled_instances(self.parameters, self.bins, rate),
        }
    }

    fn pass(&mut self, second: usize, rate: f64) -> Second {
        self.start(second);
        let instances: f64 = self.cohorts.iter().map(|cohort| cohort.instances).sum();
        let mut now = Second {
            rate,
            instances,
            ..Second::default()
        };
        let asked: Vec<Asked> = self
            .bins
            .iter()
            .zip(&self.shelves)
            .map(|(bin, shelf)| self.ask(second, bin, shelf, rate / instances))
            .collect();
        for (asked, bin) in asked.iter().zip(self.bins) {
            now.memory += bin.links * asked.from_memory / rate;
            now.redis_reads += bin.links * asked.redis;
            now.asked += bin.links * asked.postgres;
        }
        let by_pool = instances * self.parameters.read_connections() / self.parameters.read_seconds();
        let most = by_pool.min(self.parameters.postgres_vcpus * self.parameters.postgres_reads);
        let done = (most / now.asked.max(1e-9)).min(1.0);
        now.postgres_reads = now.asked * done;
        let past = self.past_freshness(second);
        for ((asked, bin), shelf) in asked.iter().zip(self.bins).zip(&mut self.shelves) {
            let unanswered = bin.links * asked.waiting_for_postgres * (1.0 - done);
            // Redis still has it if it was put there in time: how long ago, is up to when it was last asked for.
            let known = -(-asked.redis * past).exp_m1();
            now.stale += unanswered * known;
            now.refused += unanswered * (1.0 - known);
            shelf.pass(self.parameters, asked.loads * done);
        }
        self.scale(second, &now);
        now
    }

    /// What the visits of a link come to in a second.
    fn ask(&self, second: usize, bin: &Bin, shelf: &Shelf, each: f64) -> Asked {
        let visits = each * bin.share;
        let settled = at_instance(self.parameters, visits, f64::INFINITY);
        let mut asked = Asked::default();
        let mut waiting = 0.0;
        let mut all = 0.0;
        for cohort in &self.cohorts {
            let age = (second - cohort.born) as f64;
            // An instance that has just started asks for each link once, when it is first visited.
            let young = !cohort.warm && age < self.parameters.quiet_seconds();
            let (look_ups, waits) = if young {
                let first = (-visits * age).exp() * -(-visits).exp_m1();
                (first, first)
            } else {
                (settled.look_ups, visits * settled.waiting)
            };
            asked.redis += cohort.instances * look_ups;
            waiting += cohort.instances * waits;
            all += cohort.instances * visits;
        }
        asked.from_memory = all - waiting;
        // Links that are not fresh are loaded by the first who asks, and are there for the others.
        asked.loads = (1.0 - shelf.fresh) * -(-asked.redis).exp_m1();
        let instances = all / visits.max(f64::MIN_POSITIVE);
        let by_each = asked.redis / instances.max(1.0);
        let together = (instances - 1.0).max(0.0) * -(-by_each * self.parameters.read_seconds()).exp_m1();
        asked.postgres = asked.loads * (1.0 + together);
        let waited_for = asked.postgres / asked.redis.max(f64::MIN_POSITIVE);
        asked.waiting_for_postgres = waiting * waited_for.min(1.0);
        asked
    }

    fn start(&mut self, second: usize) {
        while self.starting.front().is_some_and(|(ready, _)| *ready <= second) {
            if let Some((_, instances)) = self.starting.pop_front() {
                self.cohorts.push_back(Cohort {
                    born: second,
                    warm: false,
                    instances,
                });
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
        // Gone is who was idle for as long as idle ones are kept.
        let kept = self.wanted.iter().copied().fold(wanted, f64::max);
        let mut surplus = (now.instances - kept).max(0.0);
        for cohort in &mut self.cohorts {
            let gone = surplus.min(cohort.instances);
            cohort.instances -= gone;
            surplus -= gone;
        }
        self.cohorts.retain(|cohort| cohort.instances > 0.0);
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
pub fn settled_instances(parameters: &Parameters, bins: &[Bin], rate: f64) -> f64 {
    let mut instances = 1.0;
    // More instances know less each, and so need more: it comes to rest after a few rounds.
    for _ in 0..8 {
        let load = Load {
            rate,
            instances,
            redis_entries: f64::INFINITY,
        };
        let chosen = super::cost::need(parameters, &steady(parameters, bins, &load), &load).instances;
        if chosen == instances {
            break;
        }
        instances = chosen;
    }
    instances
}

#[derive(Default)]
struct Asked {
    from_memory: f64,
    redis: f64,
    /// The part of the links that is loaded.
    loads: f64,
    postgres: f64,
    waiting_for_postgres: f64,
}
