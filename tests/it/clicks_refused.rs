//! Clicks and batches that the database does not take: they hold up no others, and no lock outlives a batch.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::app::{Backend, TestApp};
use crate::ground::{Ground, Switch};
use crate::on_both_stores;
use crate::poll::wait_until;
use crate::process::Curtail;

fn total(app: &TestApp, slug: &str) -> i64 {
    app.api("GET", &format!("/links/{slug}"), None).json()["clicks"]
        .as_i64()
        .unwrap()
}

on_both_stores! {
    /// The whole batch was sent again for ever, and no click of the instance was counted any more.
    fn a_click_that_is_refused_for_good_holds_up_no_other(backend) {
        let app = TestApp::start_with(backend, &[("CLICK_FLUSH_MS", "10")]);
        for slug in ["first", "full", "last"] {
            app.create(json!({"url": "https://example.org/", "slug": slug}));
        }
        app.database.execute("UPDATE links SET clicks = 9223372036854775807 WHERE slug = 'full'");
        let clicks = &app.metrics.clicks;

        for round in 1..=3 {
            for slug in ["first", "full", "last"] {
                assert_eq!(app.get(&format!("/{slug}")).status, 302);
            }
            wait_until("counted", || clicks.stored.get() == 2 * round && clicks.refused.get() == round);
        }

        assert_eq!((total(&app, "first"), total(&app, "full"), total(&app, "last")), (3, i64::MAX, 3));
        assert_eq!((clicks.dropped.get(), clicks.failed.get()), (0, 0));
    }
}

/// Two seconds are what the database gives to a statement: ten links, 0.3 s each, are more.
#[test]
fn a_batch_that_is_too_slow_is_split_and_counted_once() {
    let ground = Arc::new(Ground::fresh(Backend::Postgres));
    ground.execute(
        "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
         SELECT 'link' || i, next_revision(0), 'https://example.org/', '{}', 302, false, false, now(), now()
         FROM generate_series(0, 9) AS i;
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END';
         CREATE TRIGGER slow BEFORE UPDATE ON links FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let settings = [("REDIS_URL", ""), ("CLICK_FLUSH_MS", "2000")];
    let app = TestApp::start_on(Backend::Postgres, Arc::clone(&ground), &settings);
    for link in 0..10 {
        assert_eq!(app.get(&format!("/link{link}")).status, 302);
    }

    wait_until("stored", || app.metrics.clicks.stored.get() == 10);

    assert!(app.metrics.clicks.failed.get() > 0, "one batch took them all");
    assert_eq!(ground.number("SELECT count(*) FROM links WHERE clicks = 1"), 10);
    assert_eq!(ground.number("SELECT sum(number)::bigint FROM clicks"), 10);
}

/// The ids of stored batches are remembered for a day. To send an older one again could count it twice.
#[test]
fn a_batch_of_the_day_before_whose_outcome_is_unknown_is_not_sent_again() {
    let switch = Switch::before_postgres();
    let ground = Arc::new(Ground::through(&switch));
    let settings = [("REDIS_URL", ""), ("CLICK_FLUSH_MS", "10")];
    let app = TestApp::start_on(Backend::Postgres, Arc::clone(&ground), &settings);
    app.create(json!({"url": "https://example.org/", "slug": "hot"}));
    let clicks = &app.metrics.clicks;
    assert_eq!(app.get("/hot").status, 302);
    wait_until("stored", || clicks.stored.get() == 1);
    switch.cut();
    assert_eq!(app.get("/hot").status, 302);
    wait_until("tried", || clicks.failed.get() > 1);

    app.clock.advance(Duration::from_secs(25 * 3600));
    switch.heal();

    wait_until("given up", || clicks.dropped.get() == 1);
    wait_until("stored", || {
        let _ = app.get("/hot");
        clicks.stored.get() > 1
    });
    assert_eq!(clicks.dropped.get(), 1);
}

/// A crash of PostgreSQL empties the tables that are not logged.
#[test]
fn the_tables_that_a_crash_empties_can_be_lost() {
    let app = TestApp::start_with(Backend::Postgres, &[("CLICK_FLUSH_MS", "10")]);
    app.create(json!({"url": "https://example.org/", "slug": "hot"}));
    let unlogged = "SELECT count(*) FROM pg_class WHERE relname IN ('visitor_secrets', 'click_visitors')
        AND relkind = 'r' AND relpersistence = 'u' AND relnamespace = current_schema()::regnamespace";
    assert_eq!(app.database.number(unlogged), 2);
    assert_eq!(app.get("/hot").status, 302);
    crate::clicks_api::settle(&app);

    app.database.execute("TRUNCATE visitor_secrets, click_visitors");

    let twin = app.twin(Backend::Postgres, &[("CLICK_FLUSH_MS", "10")]);
    for instance in [&app, &twin] {
        assert_eq!(instance.get("/hot").status, 302);
        crate::clicks_api::settle(instance);
    }
    let stats = app.api("GET", "/links/hot/stats", None).json();
    assert_eq!(stats["clicks"], 3, "{stats}");
    // One person, who is counted anew after the loss, and by each instance with its own secret.
    assert_eq!(stats["visitors"], 3, "{stats}");
}

/// Seven statements held the locks between them. An instance that was frozen in their middle made every other writer of its
/// links wait, behind a pooler without end.
#[test]
fn an_instance_that_is_frozen_in_the_middle_of_a_batch_holds_no_lock() {
    for pooler in [None, Some("transaction")] {
        let ground = Ground::fresh(Backend::Postgres);
        ground.execute(
            "INSERT INTO links (slug, revision, target, tags, redirect_status, forward_query, disabled, created_at, updated_at)
             SELECT slug, next_revision(0), 'https://example.org/', '{}', 302, false, false, now(), now()
             FROM unnest(ARRAY['a', 'b']) AS slug",
        );
        let mut settings = vec![
            ("PORT", "0"),
            ("LISTEN_ADDRESS", "127.0.0.1"),
            ("DATABASE_URL", ground.url()),
            ("CLICK_FLUSH_MS", "300"),
        ];
        settings.extend(pooler.map(|pooler| ("DATABASE_POOLER", pooler)));
        let curtail = Curtail::start(&settings);
        let (release, released) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let held = &ground;
            scope.spawn(move || held.hold("SELECT FROM links WHERE slug = 'b' FOR UPDATE", &released));
            for slug in ["a", "b"] {
                assert!(curtail.get(&format!("/{slug}")).starts_with("HTTP/1.1 302"));
            }
            wait_until("waiting for a lock", || {
                ground.number(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                        AND application_name = current_schema() AND wait_event_type = 'Lock'",
                ) > 0
            });

            curtail.signal(Signal::STOP);
            release.send(()).unwrap();

            // The batch ends by itself.
            wait_until("stored", || {
                ground.number("SELECT count(*) FROM links WHERE clicks = 1") == 2
            });
            ground.execute("SET lock_timeout = '1s'; UPDATE links SET clicks = clicks");
        });
        curtail.signal(Signal::CONT);
        curtail.signal(Signal::INT);
        let (code, log) = curtail.wait();
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(ground.number("SELECT sum(clicks)::bigint FROM links"), 2);
    }
}
