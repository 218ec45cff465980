//! Two roles of the database: the owner migrates, and the service changes no table.

use curtail::config::{ExposeSecret, StoreKind};
use curtail::store::{self, StoreError};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::db::{TestDatabase, connect, variable};
use crate::process::command;
use crate::server::Server;

/// What changes more than rows.
const FORBIDDEN: &[&str] = &[
    "CREATE TABLE mine (id bigint)",
    "ALTER TABLE links ADD COLUMN mine text",
    "ALTER TABLE clicks DETACH PARTITION clicks_default",
    "DROP TABLE links",
    "TRUNCATE links",
    "CREATE INDEX mine ON links (title)",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "ALTER FUNCTION drop_clicks_overflow() RESET search_path",
    "INSERT INTO curtail_migrations (version, name) VALUES (2, 'mine')",
    "SET ROLE owner",
];

async fn is_forbidden(client: &Client, sql: &str) -> bool {
    let refused = client.batch_execute(sql).await.err();
    let code = refused.as_ref().and_then(|err| err.code());
    code == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

/// A server whose roles need a password, but for its superuser and the owner, and that writes every statement down.
async fn server() -> Server {
    let hba = "host all tester all trust\nhost all owner all trust\nhost all all all scram-sha-256\nlocal all all trust\n";
    let settings = [
        "logging_collector = on",
        "log_statement = 'all'",
        "log_filename = 'statements'",
        "log_rotation_size = 0",
    ];
    let server = Server::start_with(&[("pg_hba.conf", hba)], &settings).await;
    let admin = connect(&server.plain_url()).await;
    for sql in [
        "CREATE ROLE owner LOGIN CREATEROLE",
        "CREATE DATABASE curtail OWNER owner",
    ] {
        admin.batch_execute(sql).await.unwrap();
    }
    server
}

/// Migrates as the owner, and creates the role `other`, which has been granted nothing. Answers the owner's connection.
async fn migrated_beside_another_role(server: &Server) -> Client {
    let url = url_as(server, "owner");
    let migrated = command(&[("DATABASE_URL", &url)]).arg("migrate").status();
    assert!(migrated.unwrap().success());
    let owner = connect(&url).await;
    owner
        .batch_execute("CREATE ROLE other LOGIN PASSWORD 'other'")
        .await
        .unwrap();
    owner
}

/// The server's database for a role.
fn url_as(server: &Server, role: &str) -> String {
    let mut url = url::Url::parse(&server.plain_url()).unwrap();
    let (name, password) = role.split_once(':').unwrap_or((role, ""));
    url.set_username(name).unwrap();
    url.set_password((!password.is_empty()).then_some(password))
        .unwrap();
    url.set_path("curtail");
    url.to_string()
}

/// One role once migrated and served; on Cloud SQL it could create roles and databases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_creates_the_role_of_the_service_which_changes_no_table() {
    let server = server().await;
    let migrate = |role: &str, password: &str| {
        let settings = [
            ("DATABASE_URL", url_as(&server, "owner")),
            ("DATABASE_SERVICE_ROLE", role.to_owned()),
            ("DATABASE_SERVICE_PASSWORD", password.to_owned()),
        ];
        let pairs: Vec<(&str, &str)> = settings
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        command(&pairs).arg("migrate").output().unwrap()
    };

    let absent = migrate("web", "");
    let own = migrate("owner", "");
    let superuser = migrate("tester", "any-password");
    let first = migrate("web", "first-password");
    let second = migrate("web", "second-password");

    for (output, reason) in [
        (&absent, "names a role that the server does not have"),
        (&own, "the service has a role of its own"),
        (&superuser, "the service has a role of its own"),
    ] {
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("DATABASE_SERVICE_ROLE") && text.contains(reason),
            "{text}"
        );
    }
    for output in [&first, &second] {
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{text}");
    }
    let log = server.log("statements");
    assert!(
        log.contains("CREATE ROLE web") && !log.contains("-password"),
        "the server saw a password"
    );

    let refused =
        tokio_postgres::connect(&url_as(&server, "web:first-password"), tokio_postgres::NoTls).await;
    assert!(refused.is_err(), "the password was changed");
    let web = connect(&url_as(&server, "web:second-password")).await;
    for sql in FORBIDDEN {
        assert!(is_forbidden(&web, sql).await, "{sql}");
    }
    web.batch_execute("SELECT create_clicks_partition(now() + interval '1 year')")
        .await
        .unwrap();
    let partition = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'clicks'::regclass";
    let partitions: i64 = web.query_one(partition, &[]).await.unwrap().get(0);
    assert_eq!(
        partitions, 5,
        "the default one, three months, and that of next year"
    );
}

/// A function with the owner's rights would be everybody's, as PostgreSQL grants it.
#[tokio::test]
async fn no_other_role_changes_partitions() {
    let server = server().await;
    let owner = migrated_beside_another_role(&server).await;
    let other = connect(&url_as(&server, "other:other")).await;

    for sql in [
        "SELECT create_clicks_partition(now())",
        "SELECT replace_default_clicks_partition()",
        "SELECT drop_clicks_overflow()",
        "SELECT drop_clicks_partition('clicks_202611')",
    ] {
        assert!(is_forbidden(&other, sql).await, "{sql}");
    }
    let unset = "SELECT count(*) FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace
        AND NOT proconfig @> ARRAY['search_path=public, pg_temp']";
    let unset: i64 = owner.query_one(unset, &[]).await.unwrap().get(0);
    assert_eq!(unset, 0, "a function without a search_path of its own");
}

/// All other tests run their services as this role.
#[tokio::test]
async fn the_services_under_test_change_no_table() {
    if variable("TEST_DATABASE_SERVICE_URL").is_none() {
        return;
    }
    let database = TestDatabase::postgres().await;
    database.store().await.close().await;
    let StoreKind::Postgres(section) = &database.section.kind else {
        panic!("an SQLite file")
    };
    let service = connect(section.url.expose_secret()).await;

    for sql in FORBIDDEN.iter().filter(|sql| !sql.contains("ROLE")) {
        assert!(is_forbidden(&service, sql).await, "{sql}");
    }
    let owns = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace
        AND pg_has_role(current_user, relowner, 'MEMBER')";
    let owns: i64 = service.query_one(owns, &[]).await.unwrap().get(0);
    assert_eq!(owns, 0);
    let refused = store::migrate(&database.section).await;
    assert!(refused.is_ok(), "nothing is left to migrate: {refused:?}");
}

/// Without the grants the service said that the database was unavailable, and nothing more.
#[tokio::test]
async fn a_missing_grant_is_named() {
    let server = server().await;
    migrated_beside_another_role(&server).await;
    let section = crate::db::postgres_at(&url_as(&server, "other:other"));
    let store = store::open(&curtail::config::Store {
        kind: StoreKind::Postgres(section),
        migrate_on_start: false,
    })
    .await
    .unwrap();

    let checked = store.check().await;

    assert!(
        matches!(&checked, Err(StoreError::Unavailable(cause)) if cause.to_string().starts_with("42501")),
        "{checked:?}"
    );
    store.close().await;
}
