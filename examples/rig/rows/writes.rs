//! Links are made once, and the schema moves on under load.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_postgres::error::SqlState;

use super::super::bed::Ground;
use super::super::client::{Client, api};
use super::super::instance::command;
use super::super::ledger::Entry;
use super::super::load::{Load, Traffic, create_request};
use super::super::proxy::{Faults, Proxy};
use super::super::report::Check;
use super::{ALL, LINKS, made, millis, none_wrong, pause, settle_creates, warm_bed};

/// Each key is sent by several clients at once, and connections are reset in the middle of answers. Every client
/// tries until it has an answer.
pub async fn sent_again(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground.bed(2).await;
    let keys = scale.pick(1000_u64, 60);
    let mut fronts = Vec::new();
    for instance in &bed.instances {
        fronts.push(Proxy::before(instance.client.address).await);
    }
    let clients: Vec<Arc<Client>> = fronts
        .iter()
        .map(|front| Arc::new(Client::new(front.address())))
        .collect();
    let limits = fronts.clone();
    let cutting = tokio::spawn(async move {
        loop {
            for front in &limits {
                let limit = fastrand::bool().then(|| fastrand::usize(20..700));
                front.set(Faults {
                    limit,
                    ..Faults::default()
                });
            }
            pause(millis(20)).await;
        }
    });
    let mut under_way = JoinSet::new();
    let mut answers: HashMap<u64, Vec<Vec<u8>>> = HashMap::new();
    let mut broken = 0;
    for key in 0..keys {
        for turn in 0..5 {
            let client = Arc::clone(&clients[turn % clients.len()]);
            under_way.spawn(async move {
                let mut broken = 0;
                loop {
                    match client.send(&create_request(key)).await {
                        Ok(answer) if answer.status == 201 => return (key, answer.body, broken),
                        _ => broken += 1,
                    }
                    assert!(broken < 500, "key {key} is never answered");
                    pause(millis(fastrand::u64(1..20))).await;
                }
            });
        }
        while under_way.len() >= 25 {
            let (key, body, times) = under_way.join_next().await.unwrap().unwrap();
            answers.entry(key).or_default().push(body);
            broken += times;
        }
    }
    while let Some(done) = under_way.join_next().await {
        let (key, body, times) = done.unwrap();
        answers.entry(key).or_default().push(body);
        broken += times;
    }
    cutting.abort();

    let mut other = 0;
    for key in 0..20 {
        let body = "{\"url\":\"https://example.org/something/else\"}";
        let request = api("POST", "/links", body, &format!("Idempotency-Key: rig-{key}\r\n"));
        let answer = bed.instances[0].client.send(&request).await;
        other += usize::from(answer.is_ok_and(|answer| answer.status == 422));
    }
    let rows: usize = made(&bed).await.values().sum();
    let keys = usize::try_from(keys).unwrap();
    let differing = answers
        .values()
        .filter(|bodies| bodies.iter().any(|body| *body != bodies[0]))
        .count();
    vec![
        Check::exactly(
            &format!("links made under {keys} keys, five clients each"),
            keys,
            rows,
        ),
        Check::exactly("keys whose answers are not the same byte for byte", 0, differing),
        Check::exactly("another body under a used key: 422", 20, other),
        Check::that(
            "answers that were cut off or refused",
            "> 0",
            &broken.to_string(),
            broken > 0,
        ),
    ]
}

/// What a migration does, as the program does it: briefly waiting for its lock, again and again.
async fn alter(ground: &Ground, database: &str, statement: &str) -> usize {
    let owner = ground.postgres.connect(database).await;
    for attempt in 1..60 {
        let step = format!("BEGIN; SET LOCAL lock_timeout = '100ms'; {statement}; COMMIT");
        if owner.batch_execute(&step).await.is_ok() {
            return attempt;
        }
        let _ = owner.batch_execute("ROLLBACK").await;
        pause(millis(300)).await;
    }
    0
}

pub async fn migrated(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    // Ten migrators of one empty database.
    let empty = ground.bare_bed().await;
    let mut migrators = JoinSet::new();
    for _ in 0..10 {
        let mut migrate = command(&ground.program, &empty.settings(&empty.postgres, &empty.redis));
        migrate.arg("migrate").stdout(Stdio::null());
        migrators.spawn_blocking(move || migrate.status().unwrap().success());
    }
    let mut good = 0;
    while let Some(done) = migrators.join_next().await {
        good += usize::from(done.unwrap());
    }
    let steps = empty.number("SELECT count(*) FROM curtail_migrations").await;
    let highest = empty.number("SELECT max(version) FROM curtail_migrations").await;

    let bed = warm_bed(&ground, 2).await;
    let load = Load::start(&bed.clients(), Traffic::common(200.0));
    pause(scale.seconds(4, 1)).await;
    let blocker = ground.postgres.connect(&bed.database).await;
    blocker
        .batch_execute("BEGIN; SELECT slug FROM links LIMIT 1")
        .await
        .unwrap();
    let hit = Instant::now();
    let held = scale.seconds(5, 2);
    let (tries, ()) = tokio::join!(
        alter(&ground, &bed.database, "ALTER TABLE links ADD COLUMN remark text"),
        async {
            pause(held).await;
            blocker.batch_execute("ROLLBACK").await.unwrap();
        }
    );
    pause(scale.seconds(3, 1)).await;
    // Not allowed by our own rules, but done by somebody: every prepared statement is refused from now on. No row is
    // written anew, so the table is locked for a moment only.
    let prepared = blocker
        .prepare("SELECT valid_from FROM links LIMIT 1")
        .await
        .unwrap();
    let retyped = alter(
        &ground,
        &bed.database,
        "ALTER TABLE links ALTER COLUMN valid_from TYPE timestamptz(6)",
    )
    .await;
    let refused = blocker.query(&prepared, &[]).await;
    let refusal = refused.err().and_then(|err| err.code().cloned());
    pause(scale.seconds(3, 1)).await;
    let dropped = alter(&ground, &bed.database, "ALTER TABLE links DROP COLUMN remark").await;
    pause(scale.seconds(3, 1)).await;
    let ledger = load.stop().await;

    let all = ledger.within(ALL, hit, Instant::now());
    let errors = all.count(Entry::is_error);
    let mut checks = vec![
        Check::exactly("of ten migrators at once, that succeeded", 10, good),
        Check::that(
            "steps done, each once",
            &highest.to_string(),
            &steps.to_string(),
            steps == highest && steps > 0,
        ),
        Check::that(
            "changes of the table that came through",
            "3",
            &format!("after {tries}, {retyped} and {dropped} tries"),
            tries > 1 && retyped > 0 && dropped > 0,
        ),
        Check::that(
            "a statement prepared before a type changed is refused by PostgreSQL",
            "0A000",
            refusal.as_ref().map_or("no", SqlState::code),
            refusal == Some(SqlState::FEATURE_NOT_SUPPORTED),
        ),
        Check::that(
            "answers of 5xx, or none",
            "0",
            &if errors == 0 {
                format!("0 of {}", all.len())
            } else {
                format!("{errors} of {}: {}", all.len(), all.outcomes())
            },
            errors == 0,
        ),
        none_wrong(&ledger),
        Check::at_most(
            "the longest redirect",
            Duration::from_millis(600),
            ledger.within(LINKS, hit, Instant::now()).longest(),
        ),
    ];
    let client = Arc::clone(&bed.instances[0].client);
    checks.extend(settle_creates(&bed, &client, &ledger).await);
    checks
}
