//! The guarantee: a clean stop loses no click, a freeze loses none, a kill at most the unflushed second, an
//! outage of the database none, and nothing is ever counted twice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::app::{ADMIN_KEY, Backend, TestApp};
use crate::ground::{Ground, Switch};
use crate::poll::wait_until;
use crate::process::Curtail;

const REQUEST: &[u8] =
    b"GET /hot HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0 Firefox/140.0\r\n\r\n";

/// One keep-alive connection.
struct Visitor(TcpStream);

impl Visitor {
    fn connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        Some(Self(stream))
    }

    /// Clicks, and answers the head of the answer; `None` if there was none.
    fn click(&mut self) -> Option<String> {
        self.0.write_all(REQUEST).ok()?;
        let mut head = Vec::new();
        let mut part = [0; 2048];
        // A redirect has no body; of any other answer the head will do.
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let length = self.0.read(&mut part).ok().filter(|length| *length > 0)?;
            head.extend_from_slice(&part[..length]);
        }
        String::from_utf8(head).ok()
    }
}

/// Connections that click as fast as they are answered, until nobody listens any more or they are stopped.
struct Load {
    answered: Arc<AtomicU64>,
    slowest_micros: Arc<AtomicU64>,
    /// Answers that took longer than 100 ms.
    slow: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr, connections: usize, pause: Duration) -> Self {
        let (answered, slowest_micros) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (slow, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let run = {
            let (answered, slowest) = (answered.clone(), slowest_micros.clone());
            let (slow, stop) = (slow.clone(), stop.clone());
            move || {
                while let Some(mut visitor) = Visitor::connect(address) {
                    loop {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let start = Instant::now();
                        let Some(head) = visitor.click() else { break };
                        let micros = u64::try_from(start.elapsed().as_micros()).unwrap();
                        slowest.fetch_max(micros, Ordering::Relaxed);
                        if micros > 100_000 {
                            slow.fetch_add(1, Ordering::Relaxed);
                        }
                        // On a busy machine the first connection to the database may come too late.
                        if head.starts_with("HTTP/1.1 503") && answered.load(Ordering::SeqCst) == 0 {
                            break;
                        }
                        assert!(head.starts_with("HTTP/1.1 302"), "{head}");
                        answered.fetch_add(1, Ordering::SeqCst);
                        if head.contains("connection: close") {
                            break;
                        }
                        if !pause.is_zero() {
                            std::thread::sleep(pause);
                        }
                    }
                }
            }
        };
        Self {
            threads: (0..connections)
                .map(|_| std::thread::spawn(run.clone()))
                .collect(),
            answered,
            slowest_micros,
            slow,
            stop,
        }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    fn slowest(&self) -> Duration {
        Duration::from_micros(self.slowest_micros.swap(0, Ordering::Relaxed))
    }

    /// Waits until nobody listens any more.
    fn end(self) -> u64 {
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.answered.load(Ordering::SeqCst)
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.end()
    }

    fn wait_for(&self, answers: u64) {
        let start = Instant::now();
        while self.answered() < answers {
            assert!(start.elapsed() < Duration::from_secs(30), "the load is too slow");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn start(ground: &Ground) -> Curtail {
    Curtail::start(&[
        ("PORT", "0"),
        ("LISTEN_ADDRESS", "127.0.0.1"),
        ("DATABASE_URL", ground.url()),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("RUST_LOG", "info"),
    ])
}

fn make_link(ground: &Ground) {
    ground.execute(
        "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
         VALUES ('hot', next_revision(0), 'https://example.org/', '{}', 302, false, false, now(), now())",
    );
}

/// What every count of the database says, which must be the same at any time.
fn stored(ground: &Ground) -> u64 {
    let number = ground.number(
        "SELECT CASE WHEN raw = total AND hours = total AND days = total THEN total ELSE -1 END FROM (SELECT
            (SELECT coalesce(sum(number), 0) FROM clicks) AS raw,
            (SELECT coalesce(sum(clicks), 0)::bigint FROM click_hours) AS hours,
            (SELECT coalesce(sum(clicks), 0)::bigint FROM (SELECT clicks FROM click_values WHERE span = 1 AND dimension = 2
                UNION ALL SELECT clicks FROM unsummed_clicks) AS v) AS days,
            (SELECT clicks FROM links WHERE slug = 'hot') AS total) AS counts",
    );
    u64::try_from(number).expect("the counts differ")
}

fn wait_until_stored(ground: &Ground, number: u64) {
    let begin = Instant::now();
    loop {
        let found = stored(ground);
        if found == number {
            return;
        }
        assert!(
            found <= number && begin.elapsed() < Duration::from_secs(20),
            "{found} stored of {number}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_clean_stop_at_saturation_loses_no_click() {
    let ground = Ground::fresh(Backend::Postgres);
    make_link(&ground);
    let mut before = 0;
    for round in 1..=10 {
        let curtail = start(&ground);
        let load = Load::start(curtail.address, 64, Duration::ZERO);
        load.wait_for(500);

        let begin = Instant::now();
        curtail.signal(Signal::TERM);
        let (code, log) = curtail.wait();
        let time = begin.elapsed();
        let answered = load.end();

        assert_eq!(code, Some(0), "{log}");
        assert!(time < Duration::from_secs(8), "{time:?}");
        let now = stored(&ground);
        println!(
            "round {round}: {answered} answered, {} stored, exit after {time:?}",
            now - before
        );
        assert_eq!(now - before, answered, "round {round}: {log}");
        before = now;
    }
}

/// More clicks than the buffer holds wait for their time in the batch that is being made, and are no batches of their own.
#[test]
fn a_busy_link_is_stored_once_in_a_flush() {
    let ground = Ground::fresh(Backend::Postgres);
    make_link(&ground);
    let curtail = Curtail::start(&[
        ("PORT", "0"),
        ("LISTEN_ADDRESS", "127.0.0.1"),
        ("DATABASE_URL", ground.url()),
        ("CLICK_FLUSH_MS", "60000"),
        ("CLICK_BUFFER", "1000"),
    ]);
    let load = Load::start(curtail.address, 4, Duration::from_millis(1));
    load.wait_for(2000);
    assert_eq!(stored(&ground), 0);

    curtail.signal(Signal::TERM);

    let (code, log) = curtail.wait();
    let answered = load.end();
    assert_eq!((code, stored(&ground)), (Some(0), answered), "{log}");
    assert_eq!(ground.number("SELECT count(*) FROM click_batches"), 1);
}

/// As on Cloud Run, which takes the CPU away between requests: it is there while a request is answered, and no
/// timer can be relied on.
#[test]
fn a_frozen_instance_loses_no_click_and_stores_them_within_later_requests() {
    let ground = Ground::fresh(Backend::Postgres);
    make_link(&ground);
    let curtail = start(&ground);
    let mut visitor = Visitor::connect(curtail.address).unwrap();
    let mut answered = 0;
    let mut click = || {
        let begin = Instant::now();
        let head = visitor.click().unwrap();
        assert!(head.starts_with("HTTP/1.1 302"), "{head}");
        assert!(
            begin.elapsed() < Duration::from_millis(800),
            "{:?}",
            begin.elapsed()
        );
        answered += 1;
        answered
    };
    for seconds in [20, 3, 3] {
        let mut before = 0;
        for _ in 0..100 {
            before = click();
        }
        curtail.signal(Signal::STOP);
        // What a frozen process does not do, no event tells.
        std::thread::sleep(Duration::from_secs(seconds));
        assert!(stored(&ground) <= before);

        let mut requests = 0;
        while stored(&ground) < before {
            assert!(requests < 200, "{} of {before} stored", stored(&ground));
            curtail.signal(Signal::CONT);
            click();
            curtail.signal(Signal::STOP);
            requests += 1;
        }
        println!("after {seconds} s: stored within {requests} requests");
        curtail.signal(Signal::CONT);
    }
    let answered = click();

    wait_until_stored(&ground, answered);

    curtail.signal(Signal::INT);
    assert_eq!(curtail.wait().0, Some(0));
    assert_eq!(stored(&ground), answered);
}

#[test]
fn a_killed_instance_loses_a_second_of_clicks_at_most_and_doubles_none() {
    let ground = Ground::fresh(Backend::Postgres);
    make_link(&ground);
    let (mut before, mut lost) = (0, 0);
    for round in 1..=4 {
        let curtail = start(&ground);
        let load = Load::start(curtail.address, 4, Duration::from_millis(20));
        load.wait_for(300);
        let flushed = load.answered();
        let deadline = Instant::now() + Duration::from_secs(20);
        while stored(&ground) < before + flushed {
            assert!(
                Instant::now() < deadline,
                "no click is stored while the load lasts"
            );
            load.wait_for(load.answered() + 10);
        }
        // Somewhere in the flush interval, another place in each round.
        load.wait_for(load.answered() + 60 * round);

        curtail.signal(Signal::KILL);
        curtail.wait();
        let answered = load.end();

        let now = stored(&ground);
        let kept = now - before;
        println!("round {round}: {answered} answered, {kept} stored");
        // A click may be stored although its answer was not read any more: one for each connection.
        assert!(kept <= answered + 4, "{kept} stored of {answered}");
        assert!(kept >= flushed, "{kept} stored, {flushed} had been stored before");
        lost += answered.saturating_sub(kept);
        before = now;
    }
    println!("{lost} lost in all");
}

#[test]
fn an_outage_of_the_database_slows_no_redirect_and_loses_no_click() {
    let switch = Switch::before_postgres();
    let ground = Arc::new(Ground::through(&switch));
    make_link(&ground);
    let app = TestApp::start_on(Backend::Postgres, Arc::clone(&ground), &[("REDIS_URL", "")]);
    let address = SocketAddr::from(([127, 0, 0, 1], app.port));
    let load = Load::start(address, 4, Duration::from_millis(2));
    load.wait_for(500);
    load.slowest();
    load.wait_for(1500);
    let before = load.slowest();

    let (answered_before, slow_before) = (load.answered(), load.slow.load(Ordering::Relaxed));
    switch.cut();
    let cut = Instant::now();
    while cut.elapsed() < Duration::from_secs(10) {
        load.wait_for(load.answered() + 100);
    }
    let during = load.slowest();
    let answered_during = load.answered() - answered_before;
    let slow_during = load.slow.load(Ordering::Relaxed) - slow_before;
    switch.heal();
    load.wait_for(load.answered() + 500);
    let answered = load.stop();

    println!("slowest before {before:?}, during {during:?}; {slow_during} slow of {answered_during}");
    assert!(app.metrics.clicks.failed.get() > 0, "the outage was not noticed");
    assert!(
        during < before.max(Duration::from_millis(150)) * 2,
        "{during:?} after {before:?}"
    );
    wait_until_stored(&ground, answered);
    assert_eq!(app.metrics.clicks.dropped.get(), 0);
}

/// The database refuses the first time.
#[test]
fn stored_clicks_are_summed_by_value_later_and_tried_again() {
    let ground = Arc::new(Ground::fresh(Backend::Postgres));
    make_link(&ground);
    let app = TestApp::start_on(Backend::Postgres, Arc::clone(&ground), &[("REDIS_URL", "")]);
    let waiting = || ground.number("SELECT coalesce(sum(clicks), 0)::bigint FROM unsummed_clicks");
    let summing = || {
        ground.number(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                AND query LIKE '-- sum_values()%' AND wait_event_type = 'Lock'",
        ) > 0
    };
    assert_eq!(app.get("/hot").status, 302);
    assert_eq!(app.get("/hot").status, 302);
    wait_until_stored(&ground, 2);
    assert_eq!(waiting(), 2);

    std::thread::scope(|scope| {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let held = Arc::clone(&ground);
        scope.spawn(move || held.hold("LOCK TABLE unsummed_clicks IN SHARE MODE", &released));
        wait_until("summed", summing);
        wait_until("given up", || !summing());
        release.send(()).unwrap();
    });

    wait_until("summed again", || waiting() == 0);
    assert_eq!(stored(&ground), 2);
}

/// Sets a flag when it is dropped, also by a failed assertion.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Two clients with slow searches once stopped the storing of clicks: in 30 seconds two batches were stored, and 15 failed.
#[test]
fn clicks_are_stored_in_time_while_others_search() {
    const FLUSH: Duration = Duration::from_secs(1);

    let ground = Arc::new(Ground::fresh(Backend::Postgres));
    make_link(&ground);
    let settings = [("REDIS_URL", ""), ("CLICK_FLUSH_MS", "1000")];
    let app = TestApp::start_on(Backend::Postgres, Arc::clone(&ground), &settings);
    ground.execute(crate::postgres_pool::SLOW_STATISTICS);
    let searching =
        || ground.number("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") > 0;
    let (over, mut times) = (AtomicBool::new(false), Vec::new());

    std::thread::scope(|scope| {
        let _stop = Stop(&over);
        for _ in 0..6 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    app.api("GET", "/links/hot/stats", None);
                }
            });
        }
        for number in 1..=6 {
            wait_until("searching", searching);
            assert_eq!(app.get("/hot").status, 302);
            let begun = Instant::now();
            let stored = || ground.number("SELECT clicks FROM links WHERE slug = 'hot'") == number;
            wait_until("stored", stored);
            times.push(begun.elapsed());
        }
    });

    println!("stored after {times:?}");
    assert!(times.iter().all(|time| *time < 2 * FLUSH), "{times:?}");
    assert_eq!(app.metrics.clicks.failed.get(), 0);
}

#[test]
fn a_click_limit_is_exact_over_two_instances() {
    let settings = [("DATABASE_POOL_SIZE", "16")];
    let first = TestApp::start_with(Backend::Postgres, &settings);
    let second = first.twin(Backend::Postgres, &settings);
    first.create(json!({"url": "https://example.org/", "slug": "hot", "max_clicks": 100}));
    let ports = [first.port, second.port];

    let visit = |port: u16| {
        let mut visitor = Visitor::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        // A status line and its headers; a page or a problem may follow.
        visitor.0.write_all(REQUEST).unwrap();
        let mut part = [0; 2048];
        let length = visitor.0.read(&mut part).unwrap();
        String::from_utf8_lossy(&part[..length])[9..12].to_owned()
    };
    let statuses: Vec<String> = std::thread::scope(|scope| {
        let visits: Vec<_> = (0..500)
            .map(|number| scope.spawn(move || visit(ports[number % 2])))
            .collect();
        visits.into_iter().map(|visit| visit.join().unwrap()).collect()
    });

    let number = |status: &str| statuses.iter().filter(|found| *found == status).count();
    println!(
        "302: {}, 410: {}, 503: {}",
        number("302"),
        number("410"),
        number("503")
    );
    assert_eq!(number("302"), 100, "{statuses:?}");
    assert_eq!(number("302") + number("410") + number("503"), 500);
    crate::clicks_api::settle(&first);
    crate::clicks_api::settle(&second);
    assert_eq!(stored(&first.database), 100);
}
