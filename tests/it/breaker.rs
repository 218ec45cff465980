//! When the breaker opens, probes and closes. No test here waits.

use std::time::{Duration, Instant};

use curtail::cache::{Admission, Breaker, BreakerState};
use fastrand::Rng;

const SECOND: Duration = Duration::from_secs(1);

fn breaker(now: Instant) -> Breaker {
    Breaker::new(now, Rng::with_seed(7))
}

fn opened(now: Instant) -> Breaker {
    let breaker = breaker(now);
    for _ in 0..5 {
        breaker.failed(now);
    }
    breaker
}

#[test]
fn the_fifth_failure_in_a_row_opens_it() {
    let now = Instant::now();
    let breaker = breaker(now);

    let opened: Vec<bool> = (0..6).map(|_| breaker.failed(now)).collect();

    assert_eq!(opened, [false, false, false, false, true, false]);
    assert_eq!(breaker.state(), BreakerState::Open);
    assert_eq!(breaker.admit(now), Admission::Refuse);
}

#[test]
fn a_success_between_failures_starts_the_count_again() {
    let now = Instant::now();
    let breaker = breaker(now);

    for _ in 0..4 {
        (0..5).for_each(|_| breaker.succeeded(now));
        (0..4).for_each(|_| assert!(!breaker.failed(now)));
    }

    assert_eq!(breaker.admit(now), Admission::Pass);
}

#[test]
fn half_of_twenty_calls_opens_it() {
    let now = Instant::now();
    let breaker = breaker(now);

    for at in 0..9 {
        let now = now + SECOND.mul_f64(f64::from(at));
        assert!(!breaker.failed(now));
        breaker.succeeded(now);
    }
    breaker.succeeded(now + SECOND * 9);

    assert!(breaker.failed(now + SECOND * 9));
}

#[test]
fn calls_of_long_ago_do_not_count() {
    let now = Instant::now();
    let breaker = breaker(now);
    for _ in 0..9 {
        breaker.failed(now);
        breaker.succeeded(now);
    }

    let later = now + SECOND * 10;
    breaker.succeeded(later);

    assert!(!breaker.failed(later));
    assert!(!breaker.failed(later));
}

#[test]
fn an_open_breaker_asks_for_one_probe_in_a_quarter_to_half_a_second() {
    let now = Instant::now();
    let breaker = opened(now);

    let mut probes = Vec::new();
    for milli in 0..10_000 {
        let now = now + Duration::from_millis(milli);
        if breaker.admit(now) == Admission::Probe {
            probes.push(milli);
            assert_eq!(breaker.admit(now), Admission::Refuse);
            breaker.probed(false, now);
        }
    }

    let pauses: Vec<u64> = probes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((250..=500).contains(&probes[0]));
    assert!(
        pauses.iter().all(|pause| (250..=500).contains(pause)),
        "{pauses:?}"
    );
    assert!(
        pauses.iter().any(|pause| *pause != pauses[0]),
        "the pauses are spread: {pauses:?}"
    );
}

#[test]
fn a_probe_that_succeeds_closes_it_and_forgets_the_failures() {
    let now = Instant::now();
    let breaker = opened(now);
    let later = now + SECOND;
    assert_eq!(breaker.admit(later), Admission::Probe);

    assert!(breaker.probed(true, later));

    assert_eq!(breaker.state(), BreakerState::Closed);
    (0..4).for_each(|_| assert!(!breaker.failed(later)));
    assert!(breaker.failed(later));
}

#[test]
fn a_probe_that_never_reports_does_not_keep_it_open() {
    let now = Instant::now();
    let breaker = opened(now);

    assert_eq!(breaker.admit(now + SECOND), Admission::Probe);

    assert_eq!(breaker.admit(now + SECOND * 2), Admission::Probe);
}

/// A success of a call that began before the outage says nothing about now.
#[test]
fn a_late_success_does_not_close_it() {
    let now = Instant::now();
    let breaker = opened(now);

    breaker.succeeded(now);

    assert_eq!(breaker.state(), BreakerState::Open);
}

/// A server that closed an idle connection once cost half a second of misses.
#[test]
fn many_calls_that_lose_one_connection_count_once() {
    let now = Instant::now();
    let breaker = breaker(now);
    let broke = now + Duration::from_millis(1);

    for _ in 0..100 {
        assert!(!breaker.lost(now, broke));
    }

    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn connections_lost_again_and_again_open_it() {
    let now = Instant::now();
    let breaker = breaker(now);

    let opened: Vec<bool> = (1..=5)
        .map(|at| breaker.lost(now + SECOND * at, now + SECOND * at + Duration::from_millis(1)))
        .collect();

    assert_eq!(opened, [false, false, false, false, true]);
}
