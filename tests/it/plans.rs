//! What each statement reads, in a database of a size that shows it: every statement of both stores is run with every filter,
//! and none may read and throw away much more than it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use curtail::config::{self, StoreKind};
use curtail::domain::{
    Actor, AuditQuery, ChangeKind, Cursor, Interval, Key, KeyCursor, Link, LinkQuery, LinkState, Range,
    Ranking, Revision, Selection, TargetPolicy, TargetUrl,
};
use curtail::store::{
    Answer, Arrival, Candidate, Chore, Made, Once, OpenSession, Place, Rules, SecretName, Store, StoreError,
    open_measured,
};
use curtail::telemetry::metrics::Metrics;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::clicks_suite::{batch, click};
use crate::db::{TestDatabase, connect, postgres_at};
use crate::deploy::read;
use crate::server::Server;
use crate::store_suite::{LATEST, for_every_store, link, slug};

/// Rows that a node of a plan may read and throw away.
const REMOVED: f64 = 5_000.0;

/// Rows that a scan may read. The largest piece of maintenance is 10,000.
const READ: f64 = 20_000.0;

/// Statements that read a whole table, with the reason why they may.
const WHOLE: &[(&str, &str)] = &[
    (
        "ranked_links",
        "sorts all links by a number that no index may have",
    ),
    ("totals", "counts all links"),
    ("rotate_sessions", "closes all sessions"),
    ("close_sessions", "closes all sessions"),
];

/// Links: most are live and of one owner; few are old, of few owners, with rare tags, or in another state.
const FILL: &str = "
INSERT INTO links (slug, revision, target, title, tags, redirect_status, forward_query, valid_from, expires_at, max_clicks,
    disabled, clicks, created_at, updated_at, owner)
SELECT 'l' || n, n,
    'https://' || CASE WHEN n % 3 = 0 THEN 'shop' || n % 100 || '.example.com' ELSE 'site' || n % 500 || '.example.org' END
        || '/path/' || n * 7919 % 1000003,
    CASE WHEN n % 4 = 0 THEN 'Title of ' || n END,
    CASE WHEN n % 2 = 0 THEN ARRAY['common'] WHEN n % 20 = 1 THEN ARRAY['some', 'rare' || n % 1000]
        ELSE ARRAY[]::text[] END,
    302, false,
    CASE WHEN n > 60000 AND n % 1000 = 7 THEN now() + interval '1 day' END,
    CASE WHEN n <= 60000 THEN now() - interval '60 days' WHEN n % 10 = 3 THEN now() + interval '100 days' END,
    CASE WHEN n % 5000 = 9 THEN 100 END, n % 2000 = 11, n % 50, now(), now(),
    CASE WHEN n <= 500 THEN 'oldoldoldold' WHEN n % 100 < 60 THEN 'bigbigbigbig' WHEN n % 100 = 61 THEN 'o' || n % 10000 END
FROM generate_series(1, 200000) AS n;
INSERT INTO click_hours (link_id, start, clicks, bots, visitors)
SELECT n, date_trunc('hour', now()) - make_interval(hours => n % 2000), 1, 0, 1 FROM generate_series(1, 200000) AS n;
INSERT INTO click_values (link_id, span, start, dimension, value, clicks)
SELECT n, span, date_trunc('day', now()) - make_interval(days => n % 100), 2, 'Firefox', 1
FROM generate_series(1, 100000) AS n CROSS JOIN generate_series(0, 1) AS span;
INSERT INTO orphaned_stats (link_id) SELECT n FROM generate_series(1000001, 1050000) AS n;
INSERT INTO click_hours (link_id, start, clicks, bots, visitors)
SELECT n, now(), 1, 0, 1 FROM generate_series(1000001, 1050000) AS n;
INSERT INTO click_visitors (day, link_id, visitor) SELECT date_trunc('day', now()) - make_interval(days => n % 3), n, n
FROM generate_series(1, 50000) AS n;
INSERT INTO click_batches (id, recorded_at) SELECT 'b' || n, now() - make_interval(mins => n) FROM generate_series(1, 50000) AS n;
INSERT INTO answers (caller, key, request, expires_at) SELECT 'c', 'k' || n, decode(repeat('00', 32), 'hex'),
    now() + make_interval(mins => n - 100) FROM generate_series(1, 50000) AS n;
INSERT INTO sessions (hash, key_id, expires_at) SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'),
    CASE WHEN n % 2 = 0 THEN 'k' || n END, now() + make_interval(mins => n - 5000) FROM generate_series(1, 50000) AS n;
INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
SELECT now() - make_interval(mins => n), 'link.updated', 'l' || n % 1000, n % 1000, n, 'key' FROM generate_series(1, 50000) AS n;
INSERT INTO clicks (clicked_at, link_id, bot, referrer, browser, system, device, language)
SELECT now() - make_interval(days => 40 + n % 3), n, false, 'a', 'b', 'c', 'd', 'e' FROM generate_series(1, 30000) AS n;
ANALYZE;
";

/// The same for SQLite, whose plans do not depend on the number of rows.
const FILL_SQLITE: &str = "
WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < 3000)
INSERT INTO links (id, slug, revision, target, title, tags, redirect_status, forward_query, valid_from, expires_at, max_clicks,
    disabled, clicks, created_at, updated_at, owner)
SELECT n, 'l' || n, n, 'https://site' || (n % 500) || '.example.org/path/' || n, NULL,
    CASE WHEN n % 2 = 0 THEN '[\"common\"]' ELSE '[]' END, 302, 0, NULL, NULL, NULL, n % 2000 = 11, 0, 1, 1,
    CASE WHEN n % 100 < 60 THEN 'bigbigbigbig' END
FROM series;
UPDATE link_revision SET number = 3000;
INSERT INTO orphaned_stats (link_id) VALUES (1000001);
INSERT INTO click_hours (link_id, start, clicks, bots, visitors) VALUES (1000001, 1, 1, 0, 1);
";

fn target(text: &str) -> TargetUrl {
    TargetUrl::parse(text, &TargetPolicy::default()).unwrap()
}

/// Every list there is.
fn queries(now: Timestamp) -> Vec<LinkQuery> {
    let texts = [None, Some("zebra"), Some("path/99"), Some("site"), Some("zq")];
    let tags = [None, Some("common"), Some("rare1"), Some("absent")];
    let owners = [
        None,
        Some("bigbigbigbig"),
        Some("oldoldoldold"),
        Some("absentabsent"),
    ];
    let states = [
        None,
        Some(LinkState::Live),
        Some(LinkState::Scheduled),
        Some(LinkState::Expired),
        Some(LinkState::Disabled),
    ];
    let mut queries = Vec::new();
    for text in texts {
        for tag in tags {
            for owner in owners {
                for state in states {
                    queries.push(LinkQuery {
                        limit: 50,
                        after: None,
                        text: text.map(Into::into),
                        tag: tag.map(str::to_owned),
                        state,
                        owner: owner.map(|owner| owner.parse().unwrap()),
                        now,
                    });
                }
            }
        }
    }
    queries
}

fn selections() -> Vec<Selection> {
    let named = (1..=1000)
        .map(|number| slug(&format!("l{}", number * 3)))
        .collect();
    let domain = |name: &str| Some(name.parse().unwrap());
    let mut selections = Vec::new();
    for base in [
        Selection {
            slugs: Some(named),
            ..Selection::default()
        },
        Selection {
            domain: domain("shop7.example.com"),
            ..Selection::default()
        },
        Selection {
            domain: domain("absent.example"),
            ..Selection::default()
        },
        Selection {
            owner: Some("oldoldoldold".parse().unwrap()),
            ..Selection::default()
        },
        Selection {
            owner: Some("bigbigbigbig".parse().unwrap()),
            ..Selection::default()
        },
        Selection {
            tag: Some("rare1".to_owned()),
            ..Selection::default()
        },
        Selection {
            tag: Some("absent".to_owned()),
            ..Selection::default()
        },
    ] {
        for disabled in [false, true] {
            selections.push(Selection {
                disabled,
                tag: base.tag.clone().or_else(|| disabled.then(|| "common".to_owned())),
                ..base.clone()
            });
        }
    }
    selections
}

fn once(key: &str, now: Timestamp) -> Once {
    Once {
        caller: "c".to_owned(),
        key: key.to_owned(),
        request: [0; 32],
        now,
        expires_at: now + SignedDuration::from_hours(1),
        render: Arc::new(|_: &[Made]| {
            Some(Answer {
                status: 201,
                location: None,
                body: Vec::new(),
            })
        }),
    }
}

/// What an operation answers on a machine that has too much to do for its time limits.
async fn patiently<T>(operation: impl AsyncFn() -> Result<T, StoreError>) -> T {
    for _ in 0..20 {
        match operation().await {
            Err(StoreError::Unavailable(_) | StoreError::Overloaded) => {}
            result => return result.unwrap(),
        }
    }
    operation().await.unwrap()
}

/// Runs every operation of a store with everything that it can be asked for.
async fn run_everything(store: &dyn Store) {
    let now = Timestamp::now();
    for query in queries(now) {
        let page = patiently(async || store.links(&query).await).await;
        if let Some(next) = page.next {
            let further = LinkQuery {
                after: Some(next),
                ..query
            };
            patiently(async || store.links(&further).await).await;
        }
    }
    for selection in selections() {
        let mut from = Place::default();
        for _ in 0..3 {
            let selected = patiently(async || store.select_links(&selection, &from, 1000).await).await;
            let some = &selected.slugs[..selected.slugs.len().min(5)];
            patiently(async || store.toggle_links(&selection, some, now, &Actor::Admin).await).await;
            match selected.next {
                None => break,
                Some(next) => from = next,
            }
        }
    }
    let owners = [None, Some("bigbigbigbig".parse().unwrap())];
    for owner in &owners {
        for ranking in [
            Ranking::MostClicks,
            Ranking::FewestClicks,
            Ranking::Newest,
            Ranking::Random,
        ] {
            store.ranked_links(owner.as_ref(), ranking, 0, 10).await.unwrap();
        }
        store.totals(owner.as_ref()).await.unwrap();
        for place in [None, Some(Cursor::at(100_000))] {
            store.links_after(place, owner.as_ref(), 500).await.unwrap();
        }
    }
    for _ in 0..7 {
        store.record_maintenance(now).await.unwrap();
        store.upkeep(now).await.unwrap();
    }
    write_links(store, now).await;
    count_clicks(store, now).await;
    keep_keys(store, now).await;
    read_changes(store, now).await;
    store.check().await.unwrap();
    store.check().await.unwrap();
    let day = SignedDuration::from_hours(24);
    for chore in [
        Chore::SumValues,
        Chore::MakePartitions(now),
        Chore::DropClicks(now - day * 100),
        Chore::DropClicks(now - day * 30),
        Chore::DropHours(now - day * 30),
        Chore::DropValues(now - day * 30),
        Chore::DropRemains,
        Chore::ForgetVisitors(now - day),
        Chore::ForgetBatches(now - day),
        Chore::ForgetSetAside(now + day),
        Chore::ForgetAnswers(now),
        Chore::DropSessions(now),
        Chore::PurgeLinks(now - day * 30),
        Chore::DropChanges(now - day * 10),
    ] {
        for _ in 0..8 {
            patiently(async || store.keep_house(chore).await).await;
        }
    }
    store.rotate_sessions(&[8; 32], &Actor::Operator).await.unwrap();
}

async fn write_links(store: &dyn Store, now: Timestamp) {
    let owner: curtail::domain::KeyId = "bigbigbigbig".parse().unwrap();
    for round in 0..7 {
        let name = |kind: &str| format!("{kind}-{round}");
        store.redirect(&slug("l1000")).await.unwrap();
        store.link(&slug("l1000")).await.unwrap();
        let mut one = Link {
            owner: Some(owner.clone()),
            tags: vec!["common".to_owned()],
            max_clicks: Some(10),
            ..link(&name("one"))
        };
        one.revision = store.insert_link(&one, &Actor::Admin).await.unwrap();
        store.take_click(&one.slug, LATEST).await.unwrap();
        // Of a link that had the slug before.
        store.take_click(&one.slug, Revision::new(1)).await.unwrap();
        one.tags = vec!["other".to_owned()];
        store
            .update_link(&one, ChangeKind::LinkUpdated, &Actor::Admin)
            .await
            .unwrap();
        store
            .set_link_aside(&one.slug, None, None, now, &Actor::Admin)
            .await
            .unwrap();
        store
            .restore_link(
                &one.slug,
                None,
                now - SignedDuration::from_hours(1),
                &Actor::Admin,
            )
            .await
            .unwrap();
        store
            .set_link_aside(&one.slug, Some(&owner), None, now, &Actor::Admin)
            .await
            .unwrap();
        store
            .restore_link(
                &one.slug,
                Some(&owner),
                now - SignedDuration::from_hours(1),
                &Actor::Admin,
            )
            .await
            .unwrap();
        store
            .delete_link(&one.slug, Some(&owner), None, &Actor::Admin)
            .await
            .unwrap();
        store
            .insert_link(&link(&name("two")), &Actor::Admin)
            .await
            .unwrap();
        store
            .delete_link(&slug(&name("two")), None, None, &Actor::Admin)
            .await
            .unwrap();
        let candidates: Vec<Candidate> = (0..50)
            .map(|number| Candidate {
                link: Link {
                    target: target(&format!("https://reused.example/{}", number % 40)),
                    ..link(&format!("many-{round}-{number}"))
                },
                chosen: true,
                reuse: number % 2 == 0,
            })
            .collect();
        store
            .insert_links(&candidates, None, &Actor::Admin)
            .await
            .unwrap();
        for _ in 0..2 {
            let once = once(&name("once"), now);
            let few = &candidates[..1];
            store.insert_links(few, Some(&once), &Actor::Admin).await.unwrap();
        }
        for overwrite in [false, true] {
            let arrivals: Vec<Arrival> = (1..=400)
                .map(|number| Arrival {
                    link: link(&format!("l{}", 500 + number + round)),
                    dated: true,
                })
                .collect();
            let rules = Rules {
                overwrite,
                ..Rules::default()
            };
            store.take_links(&arrivals, &rules, &Actor::Admin).await.unwrap();
        }
    }
}

async fn count_clicks(store: &dyn Store, now: Timestamp) {
    let day = curtail::domain::day_of(now);
    store.visitor_secret(day, "secret").await.unwrap();
    store.visitor_secret(day, "other").await.unwrap();
    for round in 0..7 {
        let clicks = (1..=800).map(|number| click(&format!("l{}", number * 3 + round), now));
        store.record_clicks(&batch(clicks.collect())).await.unwrap();
        store.keep_house(Chore::SumValues).await.unwrap();
        let range = Range::new(None, None, Interval::Day, now).unwrap();
        store.tally(&slug("l303"), &range, 10).await.unwrap();
    }
}

async fn read_changes(store: &dyn Store, now: Timestamp) {
    let all = AuditQuery {
        limit: 50,
        after: None,
        slug: None,
        actor: None,
        kind: None,
        since: None,
        until: None,
    };
    for slug in [None, Some(slug("l1000")), Some(slug("absent"))] {
        for actor in [None, Some(Actor::Admin), Some(Actor::System)] {
            for kind in [None, Some(ChangeKind::LinkPurged), Some(ChangeKind::LinkCreated)] {
                let query = AuditQuery {
                    slug: slug.clone(),
                    actor: actor.clone(),
                    kind,
                    ..all.clone()
                };
                store.audit(&query).await.unwrap();
            }
        }
    }
    for _ in 0..7 {
        store
            .changes_since(now - SignedDuration::from_secs(15), 1000)
            .await
            .unwrap();
    }
}

async fn keep_keys(store: &dyn Store, now: Timestamp) {
    let key = Key {
        id: "k1k2k3k4k5k6".parse().unwrap(),
        name: "key".to_owned(),
        scopes: Vec::new(),
        own_links_only: false,
        expires_at: None,
        created_at: now,
        last_used_at: None,
    };
    store.insert_key(&key, &[7; 32], &Actor::Admin).await.unwrap();
    store.key(&[7; 32]).await.unwrap();
    store.keys(&KeyCursor::START, 50).await.unwrap();
    store.touch_key(&key.id, now).await.unwrap();
    for name in [SecretName::Sessions, SecretName::RateLimits] {
        for _ in 0..2 {
            store.shared_secret(name, &[7; 32]).await.unwrap();
        }
    }
    for number in 0..7 {
        let session = OpenSession {
            hash: [100 + number; 32],
            key_id: Some(key.id.clone()),
            expires_at: now + SignedDuration::from_hours(1),
        };
        store.open_session(&session, &Actor::Admin).await.unwrap();
        assert!(store.has_session(&session.hash, now).await.unwrap());
        store.close_session(&session.hash, &Actor::Admin).await.unwrap();
        store.record_refused_session().await.unwrap();
    }
    store.delete_key(&key.id, &Actor::Admin).await.unwrap();
}

/// The names of the statements in a dialect's sources that read or write rows. What only changes tables has no plan, and the
/// migrations ask for their own record, and for grants, alone.
fn statements(dialect: &str) -> BTreeSet<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/store")
        .join(dialect);
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        if ["migrate.rs", "grants.rs"].contains(&file.as_str()) {
            continue;
        }
        let text = read(&format!("src/store/{dialect}/{file}"));
        for (at, _) in text.match_indices("\"-- ") {
            let rest = &text[at + 4..];
            let Some((name, rest)) = rest.split_once("()") else {
                continue;
            };
            if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                continue;
            }
            let rest = rest.strip_prefix("\\n").unwrap_or(rest).trim_start();
            if ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"]
                .iter()
                .any(|verb| rest.starts_with(verb))
            {
                names.insert(name.to_owned());
            }
        }
        // Macros that take the name.
        for definition in text.split("macro_rules! ").skip(1) {
            let (called, body) = definition.split_once(' ').unwrap();
            if !body
                .trim_start_matches(['{', ' ', '\n'])
                .starts_with("($name:literal")
            {
                continue;
            }
            for call in text.split(&format!("= {called}!(")).skip(1) {
                let name = call.trim_start().trim_start_matches('"');
                names.insert(name.split('"').next().unwrap().to_owned());
            }
        }
    }
    names
}

/// Rows that the nodes of a plan read and throw away, as far as they are too many.
fn excesses(node: &Value, excesses: &mut Vec<String>) {
    let number = |name: &str| node[name].as_f64().unwrap_or_default();
    let loops = number("Actual Loops");
    let removed = (number("Rows Removed by Filter")
        + number("Rows Removed by Index Recheck")
        + number("Rows Removed by Join Filter"))
        * loops;
    let rows = number("Actual Rows") * loops + removed;
    let kind = node["Node Type"].as_str().unwrap_or_default();
    let relation = node["Relation Name"].as_str().unwrap_or_default();
    let scan = kind.contains("Scan") && !kind.contains("Bitmap Index") && !kind.contains("Subquery");
    if removed > REMOVED || (scan && rows > READ) || (kind.contains("Seq Scan") && rows > REMOVED) {
        excesses.push(format!(
            "{kind} on {relation}: {rows} rows read, {removed} thrown away"
        ));
    }
    for plan in node["Plans"].as_array().into_iter().flatten() {
        self::excesses(plan, excesses);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_of_postgres_reads_much_more_than_it_answers() {
    let server = Server::start_with(
        &[],
        &[
            "shared_preload_libraries = 'auto_explain'",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_timing = off",
            "auto_explain.log_format = json",
            "auto_explain.log_nested_statements = on",
            "logging_collector = on",
            "log_destination = 'jsonlog'",
            "log_filename = 'plans'",
            "log_rotation_size = 0",
            "autovacuum = off",
            "shared_buffers = '256MB'",
        ],
    )
    .await;
    let url = server.url("localhost");
    let section = config::Store {
        kind: StoreKind::Postgres(postgres_at(&url)),
        migrate_on_start: false,
    };
    curtail::store::migrate(&section).await.unwrap();
    let filling = connect(&url).await;
    filling
        .batch_execute("SET auto_explain.log_min_duration = -1; SET maintenance_work_mem = '256MB'")
        .await
        .unwrap();
    let index: String = filling
        .query_one("SELECT pg_get_indexdef('links_search_idx'::regclass)", &[])
        .await
        .unwrap()
        .get(0);
    filling
        .batch_execute("DROP INDEX links_search_idx")
        .await
        .unwrap();
    filling.batch_execute(FILL).await.unwrap();
    filling.batch_execute(&index).await.unwrap();
    filling.batch_execute("VACUUM").await.unwrap();

    let store = open_measured(&section, &Arc::default()).await.unwrap();
    run_everything(&*store).await;
    // Another default partition, too full for one go, and clicks of a month that has none.
    filling
        .batch_execute(
            "INSERT INTO clicks (clicked_at, link_id, bot, referrer, browser, system, device, language)
            SELECT now() - interval '70 days', n, false, 'a', 'b', 'c', 'd', 'e' FROM generate_series(1, 30000) AS n",
        )
        .await
        .unwrap();
    while store
        .keep_house(Chore::MakePartitions(Timestamp::now()))
        .await
        .unwrap()
        > 0
    {}
    let old = Timestamp::now() - SignedDuration::from_hours(24 * 30);
    store.keep_house(Chore::DropClicks(old)).await.unwrap();
    store.close().await;

    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in server.log("plans.json").lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some((_, plan)) = line["message"]
            .as_str()
            .and_then(|text| text.split_once("plan:\n"))
        else {
            continue;
        };
        let plan: Value = serde_json::from_str(plan).unwrap();
        let text = plan["Query Text"].as_str().unwrap();
        let name = text.strip_prefix("-- ").and_then(|text| text.split_once("()"));
        let name = name.map_or_else(|| format!("unnamed: {text}"), |(name, _)| name.to_owned());
        let mut bad = Vec::new();
        excesses(&plan["Plan"], &mut bad);
        seen.insert(name.clone());
        if !bad.is_empty() && !WHOLE.iter().any(|(whole, _)| *whole == name) {
            found.entry(name).or_default().extend(bad);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    let missing: Vec<_> = statements("postgres")
        .into_iter()
        .filter(|name| !seen.contains(name))
        .collect();
    assert!(missing.is_empty(), "run_everything does not run {missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_of_sqlite_scans_a_table() {
    let database = TestDatabase::sqlite().await;
    let StoreKind::Sqlite(path) = database.section.kind.clone() else {
        panic!("no SQLite file")
    };
    database.store().await.close().await;
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch(FILL_SQLITE).unwrap();
    let metrics = Arc::new(Metrics::default());
    let store = open_measured(&database.section, &metrics).await.unwrap();

    run_everything(&*store).await;
    store.close().await;

    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for sql in metrics.statements.texts() {
        let Some((name, _)) = sql.strip_prefix("-- ").and_then(|text| text.split_once("()")) else {
            continue;
        };
        seen.insert(name.to_owned());
        if WHOLE.iter().any(|(whole, _)| *whole == name) {
            continue;
        }
        let mut explained = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = explained.raw_query();
        while let Some(row) = rows.next().unwrap() {
            let step: String = row.get("detail").unwrap();
            if scans(&step, &sql) {
                found.entry(name.to_owned()).or_default().push(step);
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    let missing: Vec<_> = statements("sqlite")
        .into_iter()
        .filter(|name| !seen.contains(name))
        .collect();
    assert!(missing.is_empty(), "run_everything does not run {missing:?}");
}

/// Whether a step of a plan reads all of a table that grows. Some that are called scans read in the order of an index up to
/// a limit.
fn scans(step: &str, sql: &str) -> bool {
    const SMALL: [&str; 4] = [
        "api_keys",
        "link_revision",
        "curtail_migrations",
        "visitor_secrets",
    ];
    const TABLES: [&str; 9] = [
        "links",
        "clicks",
        "click_hours",
        "click_values",
        "click_visitors",
        "click_batches",
        "answers",
        "deleted_links",
        "link_tags",
    ];
    let Some(rest) = step.strip_prefix("SCAN ") else {
        return false;
    };
    let table = rest.split(' ').next().unwrap_or_default();
    let in_order = rest.contains("USING") && sql.contains("LIMIT");
    !SMALL.contains(&table) && TABLES.contains(&table) && !in_order
}

for_every_store! {
    a_rare_link_is_found_by_a_walk_of_many_steps
}

/// Lists look at a bounded number of links in a step.
async fn a_rare_link_is_found_by_a_walk_of_many_steps(store: &dyn Store) {
    let owner = Some("a1B2c3D4e5F6".parse().unwrap());
    let rare = |number: usize| Link {
        tags: vec!["rare".to_owned()],
        title: Some("a needle".to_owned()),
        expires_at: Some(link("x").created_at + SignedDuration::from_hours(1)),
        owner: owner.clone(),
        ..link(&format!("rare-{number}"))
    };
    for number in 0..3 {
        store.insert_link(&rare(number), &Actor::Admin).await.unwrap();
    }
    for part in 0..6 {
        let many = (0..500).map(|number| Candidate {
            link: Link {
                owner: owner.clone(),
                ..link(&format!("many-{part}-{number}"))
            },
            chosen: true,
            reuse: false,
        });
        store
            .insert_links(&many.collect::<Vec<_>>(), None, &Actor::Admin)
            .await
            .unwrap();
    }
    let all = LinkQuery {
        limit: 2,
        after: None,
        text: None,
        tag: None,
        state: None,
        owner: None,
        now: link("x").created_at + SignedDuration::from_hours(2),
    };

    for query in [
        LinkQuery {
            text: Some("needle".into()),
            ..all.clone()
        },
        LinkQuery {
            text: Some("ee".into()),
            ..all.clone()
        },
        LinkQuery {
            text: Some("RARE-".into()),
            owner: owner.clone(),
            ..all.clone()
        },
        LinkQuery {
            tag: Some("rare".to_owned()),
            ..all.clone()
        },
        LinkQuery {
            state: Some(LinkState::Expired),
            ..all.clone()
        },
        LinkQuery {
            state: Some(LinkState::Expired),
            owner: owner.clone(),
            ..all.clone()
        },
        LinkQuery {
            state: Some(LinkState::Expired),
            text: Some("example".into()),
            ..all.clone()
        },
    ] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = store
                .links(&LinkQuery {
                    after,
                    ..query.clone()
                })
                .await
                .unwrap();
            found.extend(page.links.iter().map(|link| link.slug.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, ["rare-2", "rare-1", "rare-0"], "{query:?}");
    }
}
