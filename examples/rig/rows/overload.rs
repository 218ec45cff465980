//! More than the service can do, and more than somebody may.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::bed::{Bed, Ground};
use super::super::client::{Answer, Fault, api};
use super::super::instance::{Instance, command};
use super::super::ledger::{Entry, Kind, outcome};
use super::super::load::{HOT, Load, created_target, visit};
use super::super::proxy::Faults;
use super::super::report::{Check, text};
use super::{millis, pause};

/// How many requests of the API the service has at work, and how far away its database is. So it is these two that
/// say what can be done, and not how much of the machine the load leaves.
const AT_WORK: u16 = 16;
const FAR: Duration = Duration::from_millis(3);

/// Creates as fast as they are answered, from so many clients: what the service can do.
async fn capacity(bed: &Bed, length: Duration) -> f64 {
    let client = Arc::clone(&bed.instances[0].client);
    let began = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..AT_WORK {
        let client = Arc::clone(&client);
        clients.spawn(async move {
            let mut made = 0_u32;
            while began.elapsed() < length {
                let answer = client
                    .api("POST", "/links", "{\"url\":\"https://example.org/\"}", "")
                    .await;
                made += u32::from(answer.is_ok_and(|answer| answer.status == 201));
            }
            made
        });
    }
    let made: u32 = clients.join_all().await.iter().sum();
    f64::from(made) / began.elapsed().as_secs_f64()
}

/// Three times as many creates as there can be, beside visitors of links in use.
pub async fn threefold(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let bed = ground
        .bed_with(1, &[("API_CONCURRENCY", &AT_WORK.to_string())])
        .await;
    bed.warm_up().await;
    bed.postgres.set(Faults {
        latency: FAR,
        ..Faults::default()
    });
    let client = Arc::clone(&bed.instances[0].client);
    let capacity = capacity(&bed, scale.seconds(5, 2)).await;
    let visitors = Arc::clone(&client);
    let visits = Load::of(100.0, move |_, intended, ledger| {
        let client = Arc::clone(&visitors);
        async move { visit(&client, Kind::Hot, fastrand::u64(..HOT), intended, &ledger).await }
    });
    let create = move |client: Arc<super::super::client::Client>| {
        move |turn: u32, intended: Instant, ledger: Arc<super::Ledger>| {
            let client = Arc::clone(&client);
            async move {
                let body = format!("{{\"url\":\"{}\"}}", created_target(u64::from(turn)));
                let answer = client.send(&api("POST", "/links", &body, "")).await;
                ledger.add(Entry {
                    kind: Kind::Create,
                    intended,
                    ended: Instant::now(),
                    outcome: outcome(&answer),
                    right: is_shed_well(&answer),
                    number: u64::from(turn),
                });
            }
        }
    };
    let before = bed.instances[0].resident_kib();
    let half = Load::of(capacity / 2.0, create(Arc::clone(&client)));
    pause(scale.seconds(5, 2)).await;
    let calm = half.stop().await.select(|entry| entry.is(201));
    let rush = Load::of(capacity * 3.0, create(Arc::clone(&client)));
    let length = scale.seconds(30, 4);
    let mut unready = 0;
    let began = Instant::now();
    while began.elapsed() < length {
        pause(millis(250)).await;
        unready += usize::from(
            !client
                .get("/health/ready")
                .await
                .is_ok_and(|answer| answer.status == 200),
        );
    }
    let grown = (bed.instances[0].resident_kib() - before) / 1024;
    let over = Instant::now();
    let rush = rush.stop().await;
    let drained = over.elapsed();
    let ledger = visits.stop().await;

    let accepted = rush.select(|entry| entry.is(201));
    let shed = rush.select(|entry| entry.is(503));
    let other = rush.select(|entry| !entry.is(201) && !entry.is(503));
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let goodput = accepted.len() as f64 / length.as_secs_f64();
    vec![
        Check::that(
            "creates answered neither 201 nor 503",
            "0",
            &format!(
                "{}{}",
                other.len(),
                if other.len() > 0 {
                    format!(": {}", other.outcomes())
                } else {
                    String::new()
                }
            ),
            other.len() == 0,
        ),
        Check::exactly(
            "503 without Retry-After",
            0,
            rush.select(|entry| !entry.right).len(),
        ),
        super::all_302("visitors of links in use, meanwhile", &ledger.select(|_| true)),
        Check::exactly("times that it said it was not ready", 0, unready),
        Check::speed(
            &format!("creates a second, of {capacity:.0} that can be done"),
            ">= 90 %",
            &format!("{goodput:.0}, {} shed", shed.len()),
            goodput >= capacity * 0.9,
        ),
        Check::at_most("p99 of what is shed", millis(20), shed.p99()),
        Check::at_most(
            "p99 of what is done",
            (calm.p99() * 5).max(millis(50)),
            accepted.p99(),
        ),
        Check::speed(
            "until all is answered afterwards",
            "<= 2 s",
            &text(drained),
            drained <= Duration::from_secs(2),
        ),
        Check::speed("memory grown", "<= 64 MiB", &format!("{grown} MiB"), grown <= 64),
    ]
}

/// Whoever is turned away is told when to come again.
fn is_shed_well(answer: &Result<Answer, Fault>) -> bool {
    answer.as_ref().map_or(true, |answer| {
        answer.status != 503 || answer.header("retry-after").is_some()
    })
}

/// Sends creates from one peer that claims another address each time.
async fn created_with_forged_addresses(instance: &Instance, count: u32) -> (u32, u32, u32) {
    let (mut made, mut refused, mut other) = (0, 0, 0);
    for number in 0..count {
        let forged = format!(
            "X-Forwarded-For: 203.0.113.{}, 198.51.100.{}\r\n",
            number % 250,
            number % 240
        );
        let body = "{\"url\":\"https://example.org/\"}";
        let request = api("POST", "/links", body, &forged)
            .replace("Authorization: Bearer rig-admin-key-rig-admin-key\r\n", "");
        match instance.client.send(&request).await.map(|answer| answer.status) {
            Ok(201) => made += 1,
            Ok(429) => refused += 1,
            _ => other += 1,
        }
    }
    (made, refused, other)
}

pub async fn budgets(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let settings = [("ANONYMOUS_CREATE", "true"), ("CREATE_RATE_PER_MINUTE", "60")];
    let bed = ground.bed_with(2, &settings).await;
    bed.warm_up().await;
    let began = Instant::now();
    let requests = scale.pick(5_000, 200);
    let (first, second) = tokio::join!(
        created_with_forged_addresses(&bed.instances[0], requests),
        created_with_forged_addresses(&bed.instances[1], requests),
    );
    let made = first.0 + second.0;
    // A whole budget, and what comes back meanwhile.
    let granted = 60 + u32::try_from(began.elapsed().as_secs()).unwrap_or(0) + 1;

    ground.redis.kill();
    pause(Duration::from_secs(1)).await;
    let dark = Instant::now();
    let alone = created_with_forged_addresses(&bed.instances[0], requests / 10).await;
    let granted_alone = 60 + u32::try_from(dark.elapsed().as_secs()).unwrap_or(0) + 1;
    let visits = Load::of(100.0, {
        let client = Arc::clone(&bed.instances[0].client);
        move |_, intended, ledger| {
            let client = Arc::clone(&client);
            async move { visit(&client, Kind::Hot, fastrand::u64(..HOT), intended, &ledger).await }
        }
    });
    pause(scale.seconds(4, 1)).await;
    let ledger = visits.stop().await;
    ground.redis.boot().await;

    let mut checks = vec![
        Check::that(
            &format!("of {} creates with forged addresses, made", requests * 2),
            &format!("<= {granted}"),
            &made.to_string(),
            made <= granted && made >= 60,
        ),
        Check::exactly(
            "answers other than 201 and 429",
            0,
            (first.2 + second.2 + alone.2) as usize,
        ),
        Check::that(
            "with Redis dead: made by one instance",
            &format!("<= {granted_alone}"),
            &alone.0.to_string(),
            alone.0 <= granted_alone && alone.0 > 0,
        ),
        super::all_302(
            "with Redis dead: visitors of links in use",
            &ledger.select(|_| true),
        ),
    ];
    if scale.is_full() {
        checks.extend(clocks(&bed).await);
    }
    checks
}

/// Instances whose clocks are two hours off, as seen by a client: a link that has an hour to live, and one that
/// ended an hour ago.
async fn clocks(bed: &Bed) -> Vec<Check> {
    let mut wrong = Vec::new();
    for shift in ["-2h", "+2h"] {
        let settings = bed.settings(&bed.postgres, &bed.redis);
        let mut start = std::process::Command::new("faketime");
        start
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        start.envs(settings.iter().map(|(name, value)| (name, value)));
        start
            .args(["-f", shift])
            .arg(command(&bed.ground.program, &[]).get_program());
        let instance = Instance::start(start).await;
        instance.started().await;
        for (slug, ends, expected) in [("alive", "+", 302), ("ended", "-", 410)] {
            let slug = format!("{slug}{}", &shift[..1].replace('+', "p").replace('-', "m"));
            bed.sql(&format!(
                "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, expires_at, created_at, updated_at)
                 VALUES ('{slug}', next_revision(0), 'https://example.org/', '{{}}', 302, false, false, now() {ends} interval '1 hour', now(), now())"
            ))
            .await;
            let status = instance
                .client
                .get(&format!("/{slug}"))
                .await
                .map(|answer| answer.status);
            if status != Ok(expected) {
                wrong.push(format!("{status:?} for {slug} at {shift}"));
            }
        }
    }
    vec![Check::that(
        "wrong expiry with a clock that is two hours off",
        "0 of 4",
        &format!(
            "{}{}",
            wrong.len(),
            wrong
                .first()
                .map(|one| format!(", such as {one}"))
                .unwrap_or_default()
        ),
        wrong.is_empty(),
    )]
}
