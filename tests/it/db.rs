//! A fresh database for each test.

use std::sync::Arc;

use curtail::config;
use curtail::config::SecretString;
use curtail::store::{self, Store};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// A database that lives as long as this.
pub struct TestDatabase {
    /// The settings that lead to it, as the role of the service.
    pub section: config::Store,
    /// The same, as the role that owns the tables and migrates.
    pub owner: config::Store,
    place: Place,
}

enum Place {
    /// A schema of the server that `TEST_DATABASE_URL` names.
    Schema { name: String },
    /// A file in a directory.
    File { _directory: TempDir },
}

/// The server that the tests share, as the role that owns the tables.
pub fn server_url() -> String {
    variable("TEST_DATABASE_URL")
        .expect("TEST_DATABASE_URL names a PostgreSQL server for tests: use scripts/with-servers")
}

/// The same, as the role of the service, which changes no table. Where there is none, the services under test are the owner.
fn service_url() -> String {
    variable("TEST_DATABASE_SERVICE_URL").unwrap_or_else(server_url)
}

fn service_role() -> Option<config::ServiceRole> {
    let url = url::Url::parse(&variable("TEST_DATABASE_SERVICE_URL")?).unwrap();
    Some(config::ServiceRole {
        name: url.username().to_owned(),
        password: None,
    })
}

/// A variable of the tests' own.
pub fn variable(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "where the test servers are is no setting of the program"
    )]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The settings of a store at `url`.
pub fn postgres_at(url: &str) -> config::Postgres {
    config::Postgres {
        url: SecretString::from(url),
        password: None,
        pool_size: 16,
        transaction_pooler: false,
        service_role: None,
    }
}

/// A connection without the store. It ends with the test's runtime.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::runtime::Handle::current().spawn(connection);
    client
}

impl TestDatabase {
    /// An empty schema in PostgreSQL.
    pub async fn postgres() -> Self {
        Self::postgres_with("").await
    }

    /// An empty schema in PostgreSQL, with more options behind the URL (`&name=value`).
    pub async fn postgres_with(options: &str) -> Self {
        let name = format!("test_{}_{:016x}", std::process::id(), fastrand::u64(..));
        connect(&server_url())
            .await
            .batch_execute(&format!("CREATE SCHEMA {name}"))
            .await
            .unwrap();
        let at = |base: String, service_role| {
            let mark = if base.contains('?') { '&' } else { '?' };
            // The schema's name in `application_name` tells a test's sessions from those of others.
            let own = format!("options=-c%20search_path%3D{name}&application_name={name}");
            config::Store {
                kind: config::StoreKind::Postgres(config::Postgres {
                    service_role,
                    ..postgres_at(&format!("{base}{mark}{own}{options}"))
                }),
                migrate_on_start: false,
            }
        };
        Self {
            section: at(service_url(), None),
            owner: at(server_url(), service_role()),
            place: Place::Schema { name },
        }
    }

    /// The same, with the settings for a transaction-mode pooler.
    pub async fn postgres_behind_pooler() -> Self {
        let mut database = Self::postgres().await;
        for section in [&mut database.section, &mut database.owner] {
            if let config::StoreKind::Postgres(section) = &mut section.kind {
                section.transaction_pooler = true;
            }
        }
        database
    }

    /// No file yet, in a directory of its own.
    #[expect(clippy::unused_async, reason = "called like the others")]
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let kind = config::StoreKind::Sqlite(directory.path().join("data/curtail.db"));
        let place = Place::File {
            _directory: directory,
        };
        let section = config::Store {
            kind,
            migrate_on_start: true,
        };
        Self {
            owner: section.clone(),
            section,
            place,
        }
    }

    /// The settings of the PostgreSQL store.
    pub fn postgres_section(&mut self) -> &mut config::Postgres {
        match &mut self.section.kind {
            config::StoreKind::Postgres(section) => section,
            config::StoreKind::Sqlite(_) => panic!("an SQLite file"),
        }
    }

    /// The schema's name, which is the sessions' `application_name` too.
    pub fn name(&self) -> &str {
        match &self.place {
            Place::Schema { name } => name,
            Place::File { .. } => panic!("an SQLite file"),
        }
    }

    /// A connection without the store, in this schema, as the owner.
    pub async fn connect(&self) -> Client {
        let client = connect(&server_url()).await;
        client
            .batch_execute(&format!("SET search_path = {}", self.name()))
            .await
            .unwrap();
        client
    }

    /// Brings the schema to the version of this build.
    pub async fn migrate(&self) {
        store::migrate(&self.owner).await.unwrap();
    }

    /// Opens the store, its schema in place.
    pub async fn store(&self) -> Arc<dyn Store> {
        self.migrate().await;
        store::open(&self.section).await.unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let Place::Schema { name } = &self.place else {
            return;
        };
        let sql = format!("SET lock_timeout = '5s'; DROP SCHEMA {name} CASCADE");
        // The test's own runtime is busy with this very line.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async { connect(&server_url()).await.batch_execute(&sql).await })
        });
        if !std::thread::panicking() {
            dropped.join().unwrap().unwrap();
        }
    }
}
