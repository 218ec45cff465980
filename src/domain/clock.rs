//! The time of day as an argument, so that a test can move it.

use std::fmt::Debug;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// Tells the time of day.
pub trait Clock: Debug + Send + Sync {
    /// The time now, to the microsecond: the finest unit that both stores keep.
    fn now(&self) -> Timestamp;

    /// The time for ages within this process: it never goes back, and nothing corrects it. It compares with itself
    /// alone, not with [`Clock::now`], and its origin is arbitrary.
    fn steady(&self) -> Timestamp;

    /// Tells the clock the time that the store has, which took so long to ask for. Answers how much the clock was put
    /// forward, if it was.
    fn put_right(&self, _store: Timestamp, _waited: Duration) -> Option<SignedDuration> {
        None
    }
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        of_micros(machine_micros())
    }

    fn steady(&self) -> Timestamp {
        steady()
    }
}

/// The machine's clock, put right where it is more than a second off the store's: links expire at the same moment on
/// every instance then. What is less is left alone, so that time does not jump.
#[derive(Debug, Default)]
pub struct CorrectedClock {
    /// Microseconds that the machine is behind.
    behind: AtomicI64,
}

/// How far off, in microseconds, a clock may be.
const TOLERATED: i64 = 1_000_000;

impl Clock for CorrectedClock {
    fn now(&self) -> Timestamp {
        of_micros(machine_micros().saturating_add(self.behind.load(Ordering::Relaxed)))
    }

    fn steady(&self) -> Timestamp {
        steady()
    }

    fn put_right(&self, store: Timestamp, waited: Duration) -> Option<SignedDuration> {
        self.put_right_at(machine_micros(), store, waited)
    }
}

impl CorrectedClock {
    fn put_right_at(&self, machine: i64, store: Timestamp, waited: Duration) -> Option<SignedDuration> {
        // The store told its time at any moment of the wait.
        let half = i64::try_from(waited.as_micros() / 2).unwrap_or(i64::MAX);
        let tolerated = TOLERATED.saturating_add(half);
        let behind = store
            .as_microsecond()
            .saturating_sub(machine.saturating_sub(half));
        let behind = if behind.abs() <= tolerated { 0 } else { behind };
        let before = self.behind.load(Ordering::Relaxed);
        let by = behind.saturating_sub(before);
        if by.abs() <= tolerated {
            return None;
        }
        self.behind.store(behind, Ordering::Relaxed);
        Some(SignedDuration::from_micros(by))
    }
}

fn machine_micros() -> i64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that may ask the machine for the time"
    )]
    let now = std::time::SystemTime::now();
    let since_epoch = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

/// Microseconds since the first call in this process, as a time after 1970.
fn steady() -> Timestamp {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
    of_micros(i64::try_from(ORIGIN.elapsed().as_micros()).unwrap_or(i64::MAX))
}

fn of_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

/// A clock that stands still until it is moved. For tests.
#[derive(Debug)]
pub struct ManualClock(Mutex<Manual>);

#[derive(Debug)]
struct Manual {
    now: Timestamp,
    steady: Timestamp,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(Manual { now, steady: now }))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).expect("a test moves the clock by less than 292 billion years");
        let manual = &mut *self.0.lock();
        for time in [&mut manual.now, &mut manual.steady] {
            *time = time.checked_add(by).expect("a test stays before the year 10000");
        }
    }

    /// Puts the time of day back by `by`, as a correction does. No time passes.
    pub fn put_back(&self, by: Duration) {
        let mut manual = self.0.lock();
        manual.now = manual
            .now
            .checked_sub(by)
            .expect("a test stays after the year -9999");
    }
}

impl Default for ManualClock {
    /// 2026-11-21T02:00:00Z
    fn default() -> Self {
        Self::at(Timestamp::constant(1_795_226_400, 0))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().now
    }

    fn steady(&self) -> Timestamp {
        self.0.lock().steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn a_clock_that_is_hours_off_is_put_right_once() {
        let clock = CorrectedClock::default();
        let (store, waited) = (Timestamp::constant(1_795_226_400, 0), Duration::from_millis(2));
        let machine = |off: i64| store.as_microsecond() + 1_000 + off;

        assert_eq!(clock.put_right_at(machine(0), store, waited), None);
        assert_eq!(clock.put_right_at(machine(900_000), store, waited), None);
        let by = clock.put_right_at(machine(2 * HOUR), store, waited);
        assert_eq!(by, Some(SignedDuration::from_hours(-2)));
        assert_eq!(
            clock.put_right_at(machine(2 * HOUR + 500_000), store, waited),
            None
        );
        assert_eq!(clock.behind.load(Ordering::Relaxed), -2 * HOUR);
        let back = clock.put_right_at(machine(0), store, waited);
        assert_eq!(back, Some(SignedDuration::from_hours(2)));
        assert_eq!(clock.behind.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_store_that_answers_late_is_not_believed_to_the_second() {
        let clock = CorrectedClock::default();
        let store = Timestamp::constant(1_795_226_400, 0);
        let late = Duration::from_secs(4);

        assert_eq!(
            clock.put_right_at(store.as_microsecond() + 4_000_000, store, late),
            None
        );
        assert_eq!(clock.put_right_at(store.as_microsecond(), store, late), None);
    }
}
