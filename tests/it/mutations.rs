//! A mutation that has begun runs to its end, also when its caller goes away: statement, record and publication.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use curtail::cache::{self, Cache, Known, Lookup};
use curtail::config::{Config, Env};
use curtail::domain::{
    Actor, AuditQuery, Change, ChangeKind, KeyDraft, LinkDraft, LinkPatch, Selection, Slug, SystemClock,
};
use curtail::lifecycle::Lifecycle;
use curtail::service::{
    Blocklist, Caller, Expected, ImportRequest, Keys, Links, OnConflict, Origin, RandomSlugs, RequestName,
    Resolver,
};
use curtail::store::Store;
use curtail::telemetry::metrics::Metrics;

use crate::db::TestDatabase;
use crate::store_suite::{link, slug};

/// The services on a real store.
struct Bench {
    links: Links,
    keys: Keys,
    store: Arc<dyn Store>,
    memory: Arc<dyn Cache>,
    lifecycle: Lifecycle,
    _database: TestDatabase,
}

impl Bench {
    async fn on(database: TestDatabase) -> Self {
        let mut env = Env::from_pairs([("ADMIN_API_KEY".to_owned(), crate::app::ADMIN_KEY.to_owned())]);
        let config = Config::read(&mut env);
        let store = database.store().await;
        let (clock, metrics) = (Arc::new(SystemClock), Arc::<Metrics>::default());
        let lifecycle = Lifecycle::new();
        let memory = cache::memory(&config.cache).unwrap();
        let resolver = Resolver::new(
            &config.cache,
            Some(Arc::clone(&memory)),
            None,
            Arc::clone(&store),
            clock.clone(),
            metrics,
            lifecycle.clone(),
        );
        let blocklist = Blocklist::new(&config.links.blocked_domains);
        let slugs = Arc::new(RandomSlugs);
        Self {
            links: Links::new(
                &config.links,
                blocklist,
                Arc::clone(&store),
                resolver,
                slugs,
                clock.clone(),
                lifecycle.clone(),
            ),
            keys: Keys::new(&config.access, Arc::clone(&store), clock, lifecycle.clone()),
            store,
            memory,
            lifecycle,
            _database: database,
        }
    }

    /// Keeps a link that no cache knows.
    async fn plant(&self, name: &str) {
        self.store.insert_link(&link(name), &Actor::System).await.unwrap();
    }

    /// What memory holds of a slug: `None` if nothing, else whether it is a link that is not disabled.
    async fn held(&self, name: &str) -> Option<bool> {
        let name = slug(name);
        let entry = match self.memory.get(&name) {
            Lookup::Ready(entry) => entry,
            Lookup::Pending(entry) => entry.await,
        };
        entry.map(|entry| match entry.known {
            Known::Link(redirect) => !redirect.disabled,
            Known::Absent(_) => false,
        })
    }

    async fn recorded(&self) -> Vec<(ChangeKind, String)> {
        let query = AuditQuery {
            limit: 200,
            ..AuditQuery::default()
        };
        let page = self.store.audit(&query).await.unwrap();
        let mut all: Vec<_> = page
            .records
            .iter()
            .filter(|record| record.actor != Actor::System)
            .map(|record| {
                (
                    record.kind,
                    record.slug.as_ref().map(Slug::to_string).unwrap_or_default(),
                )
            })
            .collect();
        all.reverse();
        all
    }
}

/// Polls a call once, and drops it: its client is gone.
fn begin_and_drop<T>(call: impl Future<Output = T>) {
    let mut call = Box::pin(call);
    let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(
        matches!(polled, Poll::Pending),
        "it was over before it could be dropped"
    );
}

fn draft(name: &str) -> LinkDraft {
    LinkDraft {
        url: "https://example.org/".to_owned(),
        slug: Some(name.to_owned()),
        ..LinkDraft::default()
    }
}

async fn every_mutation_runs_to_its_end(database: TestDatabase) {
    let bench = Bench::on(database).await;
    let (links, admin, here) = (&bench.links, &Caller::Admin, Origin::default());
    for name in ["updated", "deleted", "aside", "restored", "toggled"] {
        bench.plant(name).await;
    }
    links
        .set_aside(admin, &slug("restored"), Expected::Any)
        .await
        .unwrap();
    let disable = LinkPatch {
        disabled: Change::Set(true),
        ..LinkPatch::default()
    };
    let toggled = Selection {
        slugs: Some(vec![slug("toggled")]),
        ..Selection::default()
    };
    let name = RequestName {
        key: "k".to_owned(),
        client: std::net::IpAddr::from([127, 0, 0, 1]),
        request: [0; 32],
    };
    let issued = KeyDraft {
        name: "n".to_owned(),
        scopes: vec!["links:read".to_owned()],
        ..KeyDraft::default()
    };
    let revoked = bench.keys.create(admin, issued.clone()).await.unwrap().key.id;
    let before = bench.recorded().await.len();
    let mut import = links
        .import(
            admin,
            ImportRequest {
                format: Some("ndjson".parse().unwrap()),
                on_conflict: OnConflict::Overwrite,
                max_problems: 10,
                ..ImportRequest::default()
            },
        )
        .unwrap();
    let line = b"{\"slug\":\"imported\",\"url\":\"https://example.org/\"}\n";
    import.feed(line).await.unwrap();

    begin_and_drop(links.create(admin, draft("created"), here));
    begin_and_drop(links.create_all(admin, vec![Ok(draft("bulk"))], here, None, Arc::new(|_| None)));
    begin_and_drop(links.create_all(
        admin,
        vec![Ok(draft("named"))],
        here,
        Some(name),
        Arc::new(answer),
    ));
    begin_and_drop(links.update(admin, &slug("updated"), disable, here, Expected::Any));
    begin_and_drop(links.delete(admin, &slug("deleted"), Expected::Any));
    begin_and_drop(links.set_aside(admin, &slug("aside"), Expected::Any));
    begin_and_drop(links.restore(admin, &slug("restored")));
    begin_and_drop(links.toggle(admin, toggled, false));
    begin_and_drop(import.finish());
    begin_and_drop(bench.keys.create(admin, issued));
    begin_and_drop(bench.keys.revoke(admin, revoked.as_str()));
    drop(import);
    // A stop would end this one between two transactions.
    let toggled = (ChangeKind::LinkDisabled, "toggled".to_owned());
    while !bench.recorded().await.contains(&toggled) {
        tokio::task::yield_now().await;
    }
    assert!(
        bench.lifecycle.stop(Duration::from_secs(20)).await,
        "a stop does not wait for them"
    );

    let mut found = bench.recorded().await.split_off(before);
    found.sort_by_key(|(kind, slug)| (kind.as_str(), slug.clone()));
    let expected = [
        (ChangeKind::KeyCreated, ""),
        (ChangeKind::KeyRevoked, ""),
        (ChangeKind::LinkCreated, "bulk"),
        (ChangeKind::LinkCreated, "created"),
        (ChangeKind::LinkCreated, "imported"),
        (ChangeKind::LinkCreated, "named"),
        (ChangeKind::LinkDeleted, "aside"),
        (ChangeKind::LinkDeleted, "deleted"),
        (ChangeKind::LinkDisabled, "toggled"),
        (ChangeKind::LinkDisabled, "updated"),
        (ChangeKind::LinkRestored, "restored"),
    ];
    assert_eq!(found, expected.map(|(kind, slug)| (kind, slug.to_owned())));
    for name in ["bulk", "created", "named", "restored"] {
        assert_eq!(bench.held(name).await, Some(true), "{name}");
    }
    for name in ["aside", "deleted", "toggled", "updated"] {
        assert_eq!(bench.held(name).await, Some(false), "{name}");
    }
    bench.store.close().await;
}

fn answer(_: &[curtail::service::Item]) -> Option<curtail::service::Answer> {
    Some(curtail::service::Answer {
        status: 201,
        location: None,
        body: Vec::new(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutation_runs_to_its_end_on_postgres() {
    every_mutation_runs_to_its_end(TestDatabase::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutation_runs_to_its_end_on_sqlite() {
    every_mutation_runs_to_its_end(TestDatabase::sqlite().await).await;
}
