//! A client does not learn what became of its change. The change is whole all the same, every instance answers by it, and
//! the audit trail has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::super::bed::{Bed, Ground};
use super::super::client::{Answer, Client, Fault, api};
use super::super::proxy::{Faults, Proxy, write};
use super::super::report::Check;
use super::super::watch::{BOUND, Watch};
use super::invalidation::{WAYS, Way, learn, plant};
use super::{millis, pause};

/// Links that one request disables, which is more than a transaction of the program does.
const BULK: usize = 600;

/// How many statements of the program wait for a lock.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE usename = 'curtail' AND datname = current_database() AND wait_event_type = 'Lock'";

/// A transaction that holds the row of a link.
struct RowLock(tokio_postgres::Client);

impl RowLock {
    async fn of(bed: &Bed, slug: &str) -> Self {
        let owner = bed.ground.postgres.connect(&bed.database).await;
        let lock = format!("BEGIN; SELECT 1 FROM links WHERE slug = '{slug}' FOR UPDATE");
        owner.batch_execute(&lock).await.unwrap();
        Self(owner)
    }

    /// Waits until a statement of the program waits for it.
    async fn is_waited_for(&self, bed: &Bed) {
        let began = Instant::now();
        while bed.number(WAITING).await == 0 {
            assert!(
                began.elapsed() < Duration::from_secs(2),
                "nothing waits for the row"
            );
            pause(millis(2)).await;
        }
    }

    async fn release(self) {
        self.0.batch_execute("COMMIT").await.unwrap();
    }
}

/// Sends a request on a connection of its own.
async fn sent(client: &Client, request: &str) -> TcpStream {
    let stream = TcpStream::connect(client.address).await.unwrap();
    write(&stream, request.as_bytes()).await.unwrap();
    stream
}

/// Ends a connection by a reset.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// When it was seen that a link is disabled or deleted in the database; `None` if that does not come within a time.
async fn change_of(bed: &Bed, slug: &str, limit: Duration) -> Option<Instant> {
    let left = format!("SELECT count(*) FROM links WHERE slug = '{slug}' AND NOT disabled");
    let began = Instant::now();
    loop {
        if bed.number(&left).await == 0 {
            return Some(Instant::now());
        }
        if began.elapsed() > limit {
            return None;
        }
        pause(millis(20)).await;
    }
}

/// Of how many of these links the audit trail has the change.
async fn audited(client: &Client, slugs: &[&String]) -> usize {
    let mut found = 0;
    for slug in slugs {
        found += usize::from(is_audited(client, slug).await);
    }
    found
}

async fn is_audited(client: &Client, slug: &str) -> bool {
    let mut path = format!("/audit?slug={slug}");
    loop {
        let Ok(answer) = client.api("GET", &path, "", "").await else {
            return false;
        };
        let page = answer.json();
        let kinds = page["changes"].as_array().into_iter().flatten();
        if kinds
            .filter_map(|change| change["kind"].as_str())
            .any(|kind| kind == "link.disabled" || kind == "link.deleted")
        {
            return true;
        }
        // A page may be empty and not the last.
        let Some(cursor) = page["next_cursor"].as_str() else {
            return false;
        };
        path = format!("/audit?slug={slug}&cursor={cursor}");
    }
}

/// All of some changes came about, and the audit trail has each.
async fn made_and_audited(client: &Client, slugs: &[String], changed: &[Option<Instant>]) -> Vec<Check> {
    let made: Vec<&String> = slugs
        .iter()
        .zip(changed)
        .filter_map(|(slug, changed)| changed.map(|_| slug))
        .collect();
    let audited = audited(client, &made).await;
    vec![
        Check::exactly(
            "changes of which the database has the outcome",
            slugs.len(),
            made.len(),
        ),
        Check::exactly("of these, in the audit trail", made.len(), audited),
    ]
}

/// Clients reset their connections right after they sent a change.
pub async fn client_resets(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(2).await;
    let writer = Arc::clone(&bed.instances[0].client);
    let mut all: Vec<String> = ["reset-patch", "reset-delete"].map(str::to_owned).to_vec();
    let bulk: Vec<String> = (0..BULK).map(|number| format!("reset-{number:03}")).collect();
    // Of the bulk change, the first and the last link and one between are watched.
    for number in [0, BULK / 2, BULK - 1] {
        all.push(bulk[number].clone());
    }
    let hasty: Vec<String> = (0..scale.pick(40, 8))
        .map(|number| format!("hasty-{number}"))
        .collect();
    all.extend(hasty.iter().cloned());
    plant(&writer, &bulk).await;
    plant(&writer, &all[..2]).await;
    plant(&writer, &hasty).await;
    learn(&bed.clients(), &all).await;
    let mut watch = Watch::of(&all);
    watch.add("the writer", &bed.instances[0].client);
    watch.add("another instance", &bed.instances[1].client);

    // The statement is under way when the client leaves: it waits for the row.
    let mut changed = Vec::new();
    for (way, slug) in [Way::Patch, Way::Delete].into_iter().zip(&all) {
        let lock = RowLock::of(&bed, slug).await;
        let (method, path, body) = way.request(slug);
        let stream = sent(&writer, &api(method, &path, &body, "")).await;
        lock.is_waited_for(&bed).await;
        reset(stream);
        pause(millis(100)).await;
        lock.release().await;
        changed.push(change_of(&bed, slug, Duration::from_secs(2)).await);
    }
    // So is the last transaction of a bulk change, when those before are committed.
    let lock = RowLock::of(&bed, &bulk[BULK - 1]).await;
    let body = serde_json::json!({ "slugs": bulk }).to_string();
    let stream = sent(&writer, &api("POST", "/links/disable", &body, "")).await;
    lock.is_waited_for(&bed).await;
    reset(stream);
    pause(millis(100)).await;
    lock.release().await;
    for slug in &all[2..5] {
        changed.push(change_of(&bed, slug, Duration::from_secs(2)).await);
    }
    // And some leave at any time: then the change is made or it is not.
    for (number, slug) in hasty.iter().enumerate() {
        let (method, path, body) = WAYS[number % WAYS.len()].request(slug);
        let stream = sent(&writer, &api(method, &path, &body, "")).await;
        pause(Duration::from_micros(fastrand::u64(..4000))).await;
        reset(stream);
    }
    pause(millis(500)).await;
    for slug in &hasty {
        changed.push(change_of(&bed, slug, Duration::ZERO).await);
    }
    pause(BOUND + scale.seconds(3, 1)).await;
    let sights = watch.stop().await;

    let disabled = "SELECT count(*) FROM links WHERE slug ~ '^reset-[0-9]+$' AND disabled";
    let disabled = usize::try_from(bed.number(disabled).await).unwrap();
    let mut checks = vec![Check::exactly(
        &format!("of {BULK} links of one request, disabled"),
        BULK,
        disabled,
    )];
    checks.extend(made_and_audited(&writer, &all[..5], &changed[..5]).await);
    let left: Vec<&String> = hasty
        .iter()
        .zip(&changed[5..])
        .filter_map(|(slug, changed)| changed.map(|_| slug))
        .collect();
    checks.push(Check::that(
        &format!("of {} resets at any time, changes made", hasty.len()),
        "any",
        &left.len().to_string(),
        true,
    ));
    checks.push(Check::exactly(
        "of these, in the audit trail",
        left.len(),
        audited(&writer, &left).await,
    ));
    checks.extend(sights.of_changes(&changed));
    checks
}

/// Whether an answer says that the outcome is not known.
fn is_unknown(answer: &Result<Answer, Fault>) -> bool {
    answer
        .as_ref()
        .is_ok_and(|answer| answer.status == 503 && answer.json()["code"] == "outcome_unknown")
}

/// The database makes changes, and its answers do not come in time.
pub async fn answer_held_back(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(2).await;
    let writers_postgres = Proxy::before(ground.postgres.address()).await;
    let writer = bed.start_instance_behind(&writers_postgres, &bed.redis).await;
    let client = Arc::clone(&writer.client);
    // The third is held up by its row instead, for longer than a write may take.
    let all = ["held-patch", "held-delete", "held-row"].map(str::to_owned);
    plant(&client, &all).await;
    learn(&bed.clients(), &all).await;
    learn(&[Arc::clone(&client)], &all).await;
    let mut watch = Watch::of(&all);
    watch.add("the writer", &client);
    watch.add("another instance", &bed.instances[0].client);
    watch.add("a third", &bed.instances[1].client);

    let mut changed = Vec::new();
    let mut unknown = 0;
    let mut written = 0;
    for (way, slug) in [Way::Patch, Way::Delete].into_iter().zip(&all) {
        let lock = RowLock::of(&bed, slug).await;
        let (method, path, body) = way.request(slug);
        let sender = Arc::clone(&client);
        let answer = tokio::spawn(async move { sender.api(method, &path, &body, "").await });
        lock.is_waited_for(&bed).await;
        writers_postgres.set(Faults {
            hold_answers: true,
            ..Faults::default()
        });
        lock.release().await;
        written += usize::from(change_of(&bed, slug, millis(900)).await.is_some());
        unknown += usize::from(is_unknown(&answer.await.unwrap()));
        writers_postgres.heal();
        changed.push(Some(Instant::now()));
        pause(millis(500)).await;
    }
    let lock = RowLock::of(&bed, &all[2]).await;
    let (method, path, body) = Way::Patch.request(&all[2]);
    let sender = Arc::clone(&client);
    let answer = tokio::spawn(async move { sender.api(method, &path, &body, "").await });
    pause(millis(1500)).await;
    lock.release().await;
    let answer = answer.await.unwrap();
    pause(millis(200)).await;
    let late = change_of(&bed, &all[2], Duration::ZERO).await;
    changed.push(late);
    pause(BOUND + scale.seconds(6, 1)).await;
    let sights = watch.stop().await;

    let mut checks = vec![
        Check::exactly("changes that were written", 2, written),
        Check::exactly("answers of 503 with the code outcome_unknown", 2, unknown),
        Check::that(
            "a row that was locked for 1.5 s: changed, and answered 200 or 503",
            "if changed, 200 or outcome_unknown",
            &format!(
                "{}, {:?}",
                if late.is_some() { "changed" } else { "not changed" },
                answer.as_ref().map(|answer| answer.status)
            ),
            match &answer {
                Ok(answer) if answer.status == 200 => late.is_some(),
                other => late.is_none() || is_unknown(other),
            },
        ),
    ];
    checks.extend(made_and_audited(&client, &all[..2], &changed[..2]).await);
    checks.extend(sights.of_changes(&changed));
    checks
}
