//! The program is stopped, killed and frozen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::task::JoinSet;

use super::super::bed::Ground;
use super::super::ledger::Kind;
use super::super::load::{HOT, Load, Traffic, slug};
use super::super::report::Check;
use super::{CREATES, made, pause, warm_bed};

/// Clicks that the database has counted.
const CLICKS: &str = "SELECT coalesce(sum(clicks), 0)::bigint FROM links";

/// Redirects that visitors got, and requests that got no answer.
#[derive(Debug, Default)]
struct Tally {
    redirects: AtomicUsize,
    unanswered: AtomicUsize,
    others: AtomicUsize,
}

pub async fn terminated(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let mut bed = ground.bed(0).await;
    let tally = Arc::new(Tally::default());
    let mut slowest = Duration::ZERO;
    let mut codes = Vec::new();
    let rounds = scale.pick(10, 2);
    for _ in 0..rounds {
        let mut instance = bed.start_instance().await;
        let over = Arc::new(AtomicBool::new(false));
        let mut visitors = JoinSet::new();
        for _ in 0..64 {
            let (client, over, tally) = (
                Arc::clone(&instance.client),
                Arc::clone(&over),
                Arc::clone(&tally),
            );
            visitors.spawn(async move {
                while !over.load(Ordering::SeqCst) {
                    let path = format!("/{}", slug(Kind::Hot, fastrand::u64(..HOT)));
                    let count = match client.get(&path).await.map(|answer| answer.status) {
                        Ok(302) => &tally.redirects,
                        Ok(_) => &tally.others,
                        Err(_) => &tally.unanswered,
                    };
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        pause(scale.seconds(2, 1)).await;
        instance.signal(Signal::TERM);
        let told = Instant::now();
        // Routers hear of it within the second for which the listener stays open.
        pause(Duration::from_millis(700)).await;
        over.store(true, Ordering::SeqCst);
        while visitors.join_next().await.is_some() {}
        codes.push(instance.ended(Duration::from_secs(15)).await);
        slowest = slowest.max(told.elapsed());
    }
    bed.instances.clear();

    let counted = bed.number(CLICKS).await;
    let redirects = tally.redirects.load(Ordering::SeqCst);
    let good = codes.iter().filter(|&&code| code == Some(0)).count();
    vec![
        Check::exactly(
            "requests without an answer",
            0,
            tally.unanswered.load(Ordering::SeqCst),
        ),
        Check::exactly("answers other than 302", 0, tally.others.load(Ordering::SeqCst)),
        Check::that(
            "clicks in the database",
            &format!("{redirects}, the redirects answered"),
            &counted.to_string(),
            usize::try_from(counted) == Ok(redirects) && redirects > 0,
        ),
        Check::exactly("exit code 0", rounds, good),
        Check::at_most("the longest stop", Duration::from_secs(8), slowest),
    ]
}

pub async fn killed(ground: Arc<Ground>) -> Vec<Check> {
    let scale = ground.scale;
    let mut bed = warm_bed(&ground, 0).await;
    let rounds = scale.pick(10, 2);
    let (mut lost, mut acknowledged, mut too_many, mut most_lost) = (0, 0, 0, 0);
    for _ in 0..rounds {
        let before = bed.number(CLICKS).await;
        bed.instances = vec![bed.start_instance().await];
        let load = Load::start(&bed.clients(), Traffic::common(200.0));
        pause(Duration::from_millis(
            scale.pick(3000, 1500) + fastrand::u64(..1000),
        ))
        .await;
        bed.instances[0].signal(Signal::KILL);
        let killed = Instant::now();
        let ledger = load.stop().await;
        // What the database had taken in is done with, when its connections are.
        while bed
            .number("SELECT count(*) FROM pg_stat_activity WHERE usename = 'curtail'")
            .await
            > 0
        {
            pause(Duration::from_millis(10)).await;
        }
        let kept = made(&bed).await;
        let creates = ledger.within(CREATES, ledger.began, Instant::now());
        for entry in creates.0.iter().filter(|entry| entry.is(201)) {
            acknowledged += 1;
            lost += usize::from(!kept.contains_key(&super::created_target(entry.number)));
        }
        let counted = usize::try_from(bed.number(CLICKS).await - before).unwrap_or(0);
        let asked = ledger.select(|entry| entry.kind != Kind::Create && entry.kind != Kind::Unknown);
        let answered = asked.count(|entry| entry.is(302));
        // One that was cut off may have been counted.
        let sent = asked.count(|entry| entry.is(302) || entry.intended <= killed && entry.outcome.is_err());
        too_many += counted.saturating_sub(sent);
        most_lost = most_lost.max(answered.saturating_sub(counted));
    }
    let bound = 200;
    vec![
        Check::that(
            "acknowledged links lost",
            "0",
            &format!("{lost} of {acknowledged}"),
            lost == 0 && acknowledged > 0,
        ),
        Check::exactly("clicks counted twice", 0, too_many),
        Check::that(
            "clicks lost in one kill, the most",
            &format!("<= {bound}: a second of them, as documented"),
            &most_lost.to_string(),
            most_lost <= bound,
        ),
    ]
}
