//! Visitors and clients who come by the clock, whether or not those before them were answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep_until;

use super::client::{Client, api, get};
use super::ledger::{Entry, Kind, Ledger, outcome};

/// Links of each kind that a bed has.
pub const HOT: u64 = 50;
pub const WARM: u64 = 300;
pub const COLD: u64 = 20_000;

/// How often something is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// Requests a second.
    pub rate: f64,
    /// Shares of hot, warm, cold, unknown and new links, of 100.
    pub shares: [u8; 5],
}

impl Traffic {
    /// What every row has unless it says otherwise.
    pub fn common(rate: f64) -> Self {
        Self {
            rate,
            shares: [80, 8, 2, 5, 5],
        }
    }

    fn draw(&self) -> Kind {
        const KINDS: [Kind; 5] = [Kind::Hot, Kind::Warm, Kind::Cold, Kind::Unknown, Kind::Create];
        let mut at = fastrand::u8(..100);
        for (kind, share) in KINDS.into_iter().zip(self.shares) {
            match at.checked_sub(share) {
                None => return kind,
                Some(rest) => at = rest,
            }
        }
        Kind::Hot
    }
}

/// Numbers that no two requests of a bed share.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A load that goes on until it is stopped.
pub struct Load {
    pub ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Load {
    /// Starts a load on these instances, in turns.
    pub fn start(clients: &[Arc<Client>], traffic: Traffic) -> Self {
        let clients = clients.to_vec();
        Self::of(traffic.rate, move |turn, intended, ledger| {
            let client = Arc::clone(&clients[turn as usize % clients.len()]);
            let kind = traffic.draw();
            async move { ask(&client, kind, intended, &ledger).await }
        })
    }

    /// Starts a load of requests that `ask` makes: it is given the turn, and the time that it was meant for.
    pub fn of<F>(rate: f64, ask: impl Fn(u32, Instant, Arc<Ledger>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let ledger = Arc::new(Ledger::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (book, stopped) = (Arc::clone(&ledger), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut under_way = JoinSet::new();
            let began = Instant::now();
            let pause = Duration::from_secs_f64(1.0 / rate);
            for turn in 0_u32.. {
                let intended = began + pause * turn;
                if Instant::now() < intended {
                    sleep_until(intended.into()).await;
                }
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                under_way.spawn(ask(turn, intended, Arc::clone(&book)));
                while under_way.try_join_next().is_some() {}
            }
            while under_way.join_next().await.is_some() {}
        });
        Self { ledger, stop, task }
    }

    /// Ends the load and waits for what is under way.
    pub async fn stop(self) -> Arc<Ledger> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.ledger
    }
}

/// The slug of a link that a bed has.
pub fn slug(kind: Kind, number: u64) -> String {
    match kind {
        Kind::Hot => format!("hot-{number}"),
        Kind::Warm => format!("warm-{number}"),
        Kind::Cold => format!("cold-{number}"),
        Kind::Unknown | Kind::Create => format!("none-{number}"),
    }
}

/// Where it leads.
pub fn target(slug: &str) -> String {
    format!("https://example.org/{slug}")
}

async fn ask(client: &Client, kind: Kind, intended: Instant, ledger: &Ledger) {
    let unique = NEXT.fetch_add(1, Ordering::Relaxed);
    match kind {
        Kind::Hot => visit(client, kind, fastrand::u64(..HOT), intended, ledger).await,
        Kind::Warm => visit(client, kind, fastrand::u64(..WARM), intended, ledger).await,
        Kind::Cold => visit(client, kind, unique % COLD, intended, ledger).await,
        Kind::Unknown => visit(client, kind, unique, intended, ledger).await,
        Kind::Create => create(client, unique, intended, ledger).await,
    }
}

/// Follows a link and writes down what came.
pub async fn visit(client: &Client, kind: Kind, number: u64, intended: Instant, ledger: &Ledger) {
    let slug = slug(kind, number);
    let answer = client.send(&get(&format!("/{slug}"))).await;
    let right = answer.as_ref().map_or(true, |answer| match answer.status {
        302 => kind != Kind::Unknown && answer.header("location") == Some(&target(&slug)),
        404 => kind == Kind::Unknown,
        status => status == 429 || status >= 500,
    });
    ledger.add(Entry {
        kind,
        intended,
        ended: Instant::now(),
        outcome: outcome(&answer),
        right,
        number,
    });
}

/// Makes a link under an idempotency key, and writes down what came.
pub async fn create(client: &Client, number: u64, intended: Instant, ledger: &Ledger) {
    let answer = client.send(&create_request(number)).await;
    let url = created_target(number);
    let right = answer.as_ref().map_or(true, |answer| {
        answer.status != 201 || answer.json()["url"] == url.as_str()
    });
    ledger.add(Entry {
        kind: Kind::Create,
        intended,
        ended: Instant::now(),
        outcome: outcome(&answer),
        right,
        number,
    });
}

pub fn create_request(number: u64) -> String {
    let body = format!("{{\"url\":\"{}\"}}", created_target(number));
    api(
        "POST",
        "/links",
        &body,
        &format!("Idempotency-Key: rig-{number}\r\n"),
    )
}

pub fn created_target(number: u64) -> String {
    format!("https://example.org/made/{number}")
}
