//! Stops asking a service that does not answer, and notices when it answers again.

use std::time::{Duration, Instant};

use fastrand::Rng;
use parking_lot::{Mutex, MutexGuard};

/// So many failures with no success between them open the breaker.
const CONSECUTIVE_FAILURES: u32 = 5;
/// Fewer calls than this in the window say nothing about the share that failed.
const WINDOW_CALLS: u32 = 20;
/// The window in which calls are counted, in buckets of one second.
const WINDOW_SECONDS: usize = 10;
/// Milliseconds between two probes of an open breaker: spread, so that many instances do not probe at once.
const PROBE_PAUSE: std::ops::RangeInclusive<u64> = 250..=500;

/// Whether calls go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused; now and then one probes.
    Open,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It goes through. Its outcome is to be reported.
    Pass,
    /// It is refused, but it is time to probe; [`Breaker::probed`] takes the outcome.
    Probe,
    /// It is refused.
    Refuse,
}

/// Opens after 5 failures in a row, or once half of at least 20 calls within 10 seconds failed. While it is
/// open it asks for a probe every 250 to 500 ms; one that succeeds closes it.
///
/// Time is an argument of every method. It may stand still, but a caller on another thread may be a little
/// behind: that is harmless.
#[derive(Debug)]
pub struct Breaker(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// When the next probe is due; `None` while closed.
    next_probe: Option<Instant>,
    consecutive: u32,
    last_failure: Option<Instant>,
    origin: Instant,
    window: [Bucket; WINDOW_SECONDS],
    rng: Rng,
}

/// The calls of one second.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    second: u64,
    calls: u32,
    failures: u32,
}

impl Breaker {
    /// A closed breaker. `rng` spreads its probes.
    #[must_use]
    pub fn new(now: Instant, rng: Rng) -> Self {
        Self(Mutex::new(Inner {
            next_probe: None,
            consecutive: 0,
            last_failure: None,
            origin: now,
            window: Default::default(),
            rng,
        }))
    }

    /// Whether calls go through.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        if self.lock().next_probe.is_some() {
            BreakerState::Open
        } else {
            BreakerState::Closed
        }
    }

    /// Asks for leave to call. Only one caller is told to probe; should its report never come, another is
    /// told to after the usual pause.
    pub fn admit(&self, now: Instant) -> Admission {
        let mut inner = self.lock();
        match inner.next_probe {
            None => Admission::Pass,
            Some(due) if now < due => Admission::Refuse,
            Some(_) => {
                inner.next_probe = Some(now + inner.pause());
                Admission::Probe
            }
        }
    }

    /// A call was answered. Does not close an open breaker: the call began before it opened.
    pub fn succeeded(&self, now: Instant) {
        let mut inner = self.lock();
        inner.consecutive = 0;
        inner.bucket(now).calls += 1;
    }

    /// A call failed. Answers whether this opened the breaker.
    pub fn failed(&self, now: Instant) -> bool {
        self.lock().fail(now)
    }

    /// A call that began at `began` lost its connection. Answers whether this opened the breaker.
    ///
    /// All calls on a shared connection lose it together, and after an idle time a server may well have
    /// closed it. So what began before the last failure is part of the same loss, and not counted again.
    pub fn lost(&self, began: Instant, now: Instant) -> bool {
        let mut inner = self.lock();
        let same_loss = inner.last_failure.is_some_and(|last| began <= last);
        !same_loss && inner.fail(now)
    }

    /// A probe ended. A success closes the breaker; answers whether this did.
    pub fn probed(&self, success: bool, now: Instant) -> bool {
        let mut inner = self.lock();
        if !success || inner.next_probe.is_none() {
            return false;
        }
        *inner = Inner {
            next_probe: None,
            consecutive: 0,
            last_failure: None,
            origin: now,
            window: Default::default(),
            rng: inner.rng.clone(),
        };
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

impl Inner {
    fn fail(&mut self, now: Instant) -> bool {
        self.consecutive += 1;
        self.last_failure = Some(now);
        let bucket = self.bucket(now);
        bucket.calls += 1;
        bucket.failures += 1;
        let (calls, failures) = self.recent(now);
        let broken =
            self.consecutive >= CONSECUTIVE_FAILURES || (calls >= WINDOW_CALLS && failures * 2 >= calls);
        if self.next_probe.is_some() || !broken {
            return false;
        }
        self.next_probe = Some(now + self.pause());
        true
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.origin).as_secs()
    }

    fn bucket(&mut self, now: Instant) -> &mut Bucket {
        let second = self.second(now);
        let bucket = &mut self.window[(second % WINDOW_SECONDS as u64) as usize];
        if bucket.second != second {
            *bucket = Bucket {
                second,
                ..Bucket::default()
            };
        }
        bucket
    }

    fn recent(&self, now: Instant) -> (u32, u32) {
        let second = self.second(now);
        let buckets = self
            .window
            .iter()
            .filter(|bucket| bucket.second + WINDOW_SECONDS as u64 > second);
        buckets.fold((0, 0), |(calls, failures), bucket| {
            (calls + bucket.calls, failures + bucket.failures)
        })
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(PROBE_PAUSE))
    }
}
