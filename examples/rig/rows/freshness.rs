//! What was changed or taken down is seen everywhere, and soon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::super::bed::{Bed, Ground};
use super::super::client::Client;
use super::super::proxy::{Faults, Proxy};
use super::super::report::Check;
use super::{millis, pause};

/// Links that are changed all the time.
const LINKS: usize = 40;

/// A state that a link had: its number, and when the change to it was sent and acknowledged.
#[derive(Debug, Clone, Copy)]
struct State {
    number: u64,
    sent: Instant,
    acknowledged: Instant,
}

/// What a reader saw: the number of a state, and when it asked and was answered.
#[derive(Debug, Clone, Copy)]
struct Sight {
    number: u64,
    asked: Instant,
    answered: Instant,
}

/// The states and sights of one link.
#[derive(Debug, Default, Clone)]
struct History {
    states: Vec<State>,
    sights: Vec<Sight>,
}

/// Changes links through any instance, and reads them through any. A link is disabled, and enabled again, as often
/// as its target changes: odd numbers are take-downs.
async fn stir(clients: &[Arc<Client>], length: Duration, readers: usize, gap: Duration) -> Vec<History> {
    let histories: Arc<Vec<Mutex<History>>> = Arc::new((0..LINKS).map(|_| Mutex::default()).collect());
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for link in 0..LINKS {
        let (clients, histories, over) = (clients.to_vec(), Arc::clone(&histories), Arc::clone(&over));
        tasks.spawn(async move {
            for number in 1_u64.. {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let disabled = number % 2 == 1;
                let body = format!("{{\"url\":\"https://example.org/v/{number}\",\"disabled\":{disabled}}}");
                let client = &clients[fastrand::usize(..clients.len())];
                let sent = Instant::now();
                let answer = client.api("PATCH", &format!("/links/v-{link}"), &body, "").await;
                // One that failed may have been made all the same: its number is not judged, the next one is.
                if answer.is_ok_and(|answer| answer.status == 200) {
                    histories[link].lock().unwrap().states.push(State {
                        number,
                        sent,
                        acknowledged: Instant::now(),
                    });
                }
                pause(gap.mul_f64(0.5 + fastrand::f64())).await;
            }
        });
    }
    for _ in 0..readers {
        let (clients, histories, over) = (clients.to_vec(), Arc::clone(&histories), Arc::clone(&over));
        tasks.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let link = fastrand::usize(..LINKS);
                let client = &clients[fastrand::usize(..clients.len())];
                let asked = Instant::now();
                if let Ok(answer) = client.get(&format!("/v-{link}")).await {
                    // What is taken down does not say where it led: it is the state before the next live one.
                    let number = match answer.status {
                        302 => answer
                            .header("location")
                            .and_then(|target| target.rsplit('/').next()?.parse().ok()),
                        _ => None,
                    };
                    if let Some(number) = number {
                        histories[link].lock().unwrap().sights.push(Sight {
                            number,
                            asked,
                            answered: Instant::now(),
                        });
                    }
                }
                pause(millis(fastrand::u64(..8))).await;
            }
        });
    }
    pause(length).await;
    over.store(true, Ordering::SeqCst);
    while tasks.join_next().await.is_some() {}
    histories
        .iter()
        .map(|history| history.lock().unwrap().clone())
        .collect()
}

/// For each sight of a live link: how long before it was asked for had another state been acknowledged already?
fn staleness(histories: &[History]) -> (usize, Duration) {
    let mut longest = Duration::ZERO;
    let mut sights = 0;
    for history in histories {
        for sight in &history.sights {
            sights += 1;
            let newer = history
                .states
                .iter()
                .filter(|state| state.number > sight.number)
                .map(|state| state.acknowledged)
                .min();
            if let Some(newer) = newer {
                longest = longest.max(sight.asked.saturating_duration_since(newer));
            }
        }
    }
    (sights, longest)
}

/// Makes the links that are stirred.
async fn plant(bed: &Bed) {
    for link in 0..LINKS {
        let body = format!("{{\"url\":\"https://example.org/v/0\",\"slug\":\"v-{link}\"}}");
        let answer = bed.instances[0].client.api("POST", "/links", &body, "").await;
        assert_eq!(answer.map(|answer| answer.status), Ok(201));
    }
}

/// Takes links down through one instance, and asks the others until they answer 404 or 410. Answers the longest time
/// that any of them took.
async fn take_downs(bed: &Bed, count: u64, part: &str) -> Duration {
    let clients = bed.clients();
    let mut longest = Duration::ZERO;
    for number in 0..count {
        let slug = format!("down-{part}-{number}");
        let body = format!("{{\"url\":\"https://example.org/{slug}\",\"slug\":\"{slug}\"}}");
        let made = clients[0].api("POST", "/links", &body, "").await;
        assert_eq!(made.map(|answer| answer.status), Ok(201));
        for client in &clients {
            // Twice, so that it is in each memory, and fresh.
            let _ = client.get(&format!("/{slug}")).await;
            assert_eq!(
                client.get(&format!("/{slug}")).await.map(|answer| answer.status),
                Ok(302)
            );
        }
        let path = format!("/links/{slug}");
        let gone = if number % 2 == 0 {
            clients[1].api("DELETE", &path, "", "").await
        } else {
            clients[1].api("PATCH", &path, "{\"disabled\":true}", "").await
        };
        assert!(gone.is_ok_and(|answer| answer.status < 300));
        let acknowledged = Instant::now();
        for client in &clients {
            while client
                .get(&format!("/{slug}"))
                .await
                .is_ok_and(|answer| answer.status == 302)
            {
                assert!(
                    acknowledged.elapsed() < Duration::from_secs(20),
                    "{slug} was never taken down"
                );
                longest = longest.max(acknowledged.elapsed());
                pause(millis(5)).await;
            }
        }
    }
    longest
}

pub async fn seen_everywhere(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(3).await;
    plant(&bed).await;
    let clients = bed.clients();

    let histories = stir(&clients, scale.seconds(25, 4), 12, millis(400)).await;
    let down = take_downs(&bed, scale.pick(20, 4), "live").await;
    ground.redis.kill();
    let dark = stir(&clients, scale.seconds(25, 4), 12, millis(scale.pick(2500, 1500))).await;
    let down_dark = take_downs(&bed, scale.pick(4, 1), "dark").await;

    let (sights, longest) = staleness(&histories);
    let (dark_sights, dark_longest) = staleness(&dark);
    let changes = |histories: &[History]| {
        histories
            .iter()
            .map(|history| history.states.len())
            .sum::<usize>()
    };
    let second = Duration::from_secs(1);
    let five = Duration::from_secs(5);
    vec![
        Check::bound(
            &format!("oldest of {sights} answers, {} changes", changes(&histories)),
            second,
            longest,
        ),
        Check::bound("take-down by another instance, the longest", second, down),
        Check::bound(
            &format!(
                "with Redis dead: oldest of {dark_sights} answers, {} changes",
                changes(&dark)
            ),
            five,
            dark_longest,
        ),
        Check::bound(
            "with Redis dead: take-down by another instance, the longest",
            five,
            down_dark,
        ),
        Check::that(
            "answers that were judged",
            "> 0",
            &(sights + dark_sights).to_string(),
            sights > 0 && dark_sights > 0,
        ),
    ]
}

/// The rank that a value of Redis says it has.
fn rank(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value.get(2..22)?).ok()?.parse().ok()
}

/// A reader of the store is held up on its way to Redis while another instance writes: what the reader brings late
/// must not replace what was written.
pub async fn slow_reader(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let mut bed = ground.bed(1).await;
    let slow_redis = Proxy::before(ground.redis.address()).await;
    let slow = bed.start_instance_behind(&bed.postgres, &slow_redis).await;
    bed.instances.push(slow);
    bed.sql(
        "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
         SELECT 'race-' || n, next_revision(0), 'https://example.org/old', '{}', 302, false, false, now(), now()
         FROM generate_series(0, 999) AS n",
    )
    .await;
    // The question to Redis arrives after 30 ms, and is answered; what the store said arrives 30 ms after that.
    slow_redis.set(Faults {
        to_server: millis(30),
        ..Faults::default()
    });
    let trials = scale.pick(1000_u64, 60);
    let bed = Arc::new(bed);
    let mut under_way = JoinSet::new();
    let mut races = Vec::new();
    for trial in 0..trials {
        under_way.spawn(race(Arc::clone(&bed), trial));
        if under_way.len() >= 8 {
            races.extend(under_way.join_next().await.map(Result::unwrap));
        }
    }
    while let Some(race) = under_way.join_next().await {
        races.push(race.unwrap());
    }
    let older = races.iter().filter(|race| race.older).count();
    let overtaken = races.iter().filter(|race| race.saw_old).count();
    // No memory trusts anything for so long.
    pause(Duration::from_secs(6)).await;
    let mut late = 0;
    for trial in 0..trials {
        let answer = bed.instances[1]
            .client
            .get(&format!("/race-{trial}"))
            .await
            .unwrap();
        late += usize::from(answer.header("location") != Some("https://example.org/new"));
    }
    slow_redis.heal();

    let (wrong, reads) = one_instance(&ground, scale.pick(2000, 100)).await;
    vec![
        Check::that(
            "entries of Redis older than what was committed",
            "0",
            &format!("{older} of {trials}, in {overtaken} of which the reader had the old state"),
            older == 0 && overtaken > 0,
        ),
        Check::exactly("old answers of the slow instance 6 s later", 0, late),
        Check::that(
            "histories of one instance that no order explains",
            "0",
            &format!("{wrong} of {}, with {reads} reads", scale.pick(2000, 100)),
            wrong == 0 && reads > 0,
        ),
    ]
}

#[derive(Debug)]
struct Race {
    /// Redis holds something older than what was committed.
    older: bool,
    /// The reader came before the writer.
    saw_old: bool,
}

async fn race(bed: Arc<Bed>, trial: u64) -> Race {
    let path = format!("/race-{trial}");
    let (fast, slow) = (&bed.instances[0].client, &bed.instances[1].client);
    let write = async {
        pause(millis(25 + fastrand::u64(..40))).await;
        let body = "{\"url\":\"https://example.org/new\"}";
        fast.api("PATCH", &format!("/links/race-{trial}"), body, "").await
    };
    let (read, written) = tokio::join!(slow.get(&path), write);
    assert_eq!(written.map(|answer| answer.status), Ok(200));
    // By now what was held up has arrived.
    pause(millis(150)).await;
    let held = rank(&bed.cached(&format!("race-{trial}")).await);
    let query = format!("SELECT revision FROM links WHERE slug = 'race-{trial}'");
    let committed = u64::try_from(bed.number(&query).await).unwrap() * 2;
    Race {
        older: held.is_some_and(|held| held < committed),
        saw_old: read.is_ok_and(|answer| answer.header("location") == Some("https://example.org/old")),
    }
}

/// Short histories of single links on one instance: one writer, three readers. A history is in order if no read gives
/// a state that was replaced before it began, or that was not sent before it ended, and if no read that began after
/// another ended gives an older state. For one writer that is what linearizable means.
async fn one_instance(ground: &Arc<Ground>, histories: u64) -> (usize, usize) {
    let bed = Arc::new(ground.bed(1).await);
    let mut under_way = JoinSet::new();
    let mut done = Vec::new();
    for number in 0..histories {
        under_way.spawn(history(Arc::clone(&bed), number));
        if under_way.len() >= 8 {
            done.extend(under_way.join_next().await.map(Result::unwrap));
        }
    }
    while let Some(history) = under_way.join_next().await {
        done.push(history.unwrap());
    }
    let wrong = done.iter().filter(|history| !is_in_order(history)).count();
    (wrong, done.iter().map(|history| history.sights.len()).sum())
}

async fn history(bed: Arc<Bed>, number: u64) -> History {
    let slug = format!("h-{number}");
    let client = Arc::clone(&bed.instances[0].client);
    let state = |number, sent| State {
        number,
        sent,
        acknowledged: Instant::now(),
    };
    let sent = Instant::now();
    let body = format!("{{\"url\":\"https://example.org/v/0\",\"slug\":\"{slug}\"}}");
    assert_eq!(
        client
            .api("POST", "/links", &body, "")
            .await
            .map(|answer| answer.status),
        Ok(201)
    );
    let mut whole = History::default();
    whole.states.push(state(0, sent));
    let over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (client, over, path) = (Arc::clone(&client), Arc::clone(&over), format!("/{slug}"));
        readers.spawn(async move {
            let mut sights = Vec::new();
            while !over.load(Ordering::SeqCst) && sights.len() < 25 {
                let asked = Instant::now();
                let answer = client.get(&path).await.unwrap();
                let number = answer
                    .header("location")
                    .and_then(|target| target.rsplit('/').next()?.parse().ok());
                // A live link that answers anything else was seen in no state that it ever had.
                let number = number.unwrap_or(u64::MAX);
                sights.push(Sight {
                    number,
                    asked,
                    answered: Instant::now(),
                });
                pause(Duration::from_micros(fastrand::u64(..2000))).await;
            }
            sights
        });
    }
    for number in 1..=4 {
        pause(Duration::from_micros(fastrand::u64(..3000))).await;
        let body = format!("{{\"url\":\"https://example.org/v/{number}\"}}");
        let sent = Instant::now();
        let answer = client.api("PATCH", &format!("/links/{slug}"), &body, "").await;
        assert_eq!(answer.map(|answer| answer.status), Ok(200));
        whole.states.push(state(number, sent));
    }
    over.store(true, Ordering::SeqCst);
    while let Some(sights) = readers.join_next().await {
        whole.sights.extend(sights.unwrap());
    }
    whole
}

fn is_in_order(history: &History) -> bool {
    history.sights.iter().all(|sight| {
        let replaced = history
            .states
            .iter()
            .any(|state| state.number > sight.number && state.acknowledged < sight.asked);
        let was_sent = history
            .states
            .iter()
            .any(|state| state.number == sight.number && state.sent < sight.answered);
        let overtaken = history
            .sights
            .iter()
            .any(|other| other.number > sight.number && other.answered < sight.asked);
        !replaced && was_sent && !overtaken
    })
}
