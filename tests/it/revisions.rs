//! Revisions after a restore: what the database had forgotten is outranked by what is written to it.

use std::time::Duration;

use serde_json::json;

use crate::app::{Backend, TestApp};
use crate::on_both_stores;

on_both_stores! {
    /// Caches held the higher revision of a lost commit, and outranked each later write until their entries were no longer
    /// fresh: a disabled link went on redirecting, also on the instance that had disabled it.
    fn a_link_is_disabled_after_the_database_went_back(backend) {
        let app = TestApp::start(backend);
        app.create(json!({"url": "https://example.org/", "slug": "restored"}));
        let revision = |app: &TestApp| {
            let changes = app.api("GET", "/audit?slug=restored&limit=1", None).json();
            changes["changes"][0]["revision"].as_i64().unwrap()
        };
        let first = revision(&app);
        app.api("PATCH", "/links/restored", Some(&json!({"title": "lost"})));
        let lost = revision(&app);
        let other = app.twin(backend, &[]);
        assert_eq!((app.get("/restored").status, other.get("/restored").status), (302, 302));

        app.database.execute(&format!("UPDATE links SET revision = {first}, title = NULL WHERE slug = 'restored'"));
        if backend == Backend::Sqlite {
            app.database.execute(&format!("UPDATE link_revision SET number = {first}"));
        }
        let patched = app.api("PATCH", "/links/restored", Some(&json!({"disabled": true})));

        assert_eq!(patched.status, 200, "{}", patched.body);
        assert!(first < lost && lost < revision(&app));
        assert_eq!(app.get("/restored").status, 410);
        app.clock.advance(Duration::from_secs(6));
        assert_eq!((app.get("/restored").status, other.get("/restored").status), (410, 410));
    }
}
