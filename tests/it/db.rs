//! A fresh database for each test.

use std::sync::Arc;

use curtail::config;
use curtail::config::SecretString;
use curtail::store::{self, Store};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// A database that lives as long as this.
pub struct TestDatabase {
    /// The settings that lead to it.
    pub section: config::Store,
    place: Place,
}

enum Place {
    /// A schema of the server that `TEST_DATABASE_URL` names.
    Schema { name: String },
    /// A file in a directory.
    File { _directory: TempDir },
}

/// The server that the tests share.
pub fn server_url() -> String {
    variable("TEST_DATABASE_URL")
        .expect("TEST_DATABASE_URL names a PostgreSQL server for tests: use scripts/with-servers")
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
        let base = server_url();
        connect(&base)
            .await
            .batch_execute(&format!("CREATE SCHEMA {name}"))
            .await
            .unwrap();
        let mark = if base.contains('?') { '&' } else { '?' };
        // The schema's name in `application_name` tells a test's sessions from those of others.
        let own = format!("options=-c%20search_path%3D{name}&application_name={name}");
        let url = format!("{base}{mark}{own}{options}");
        let kind = config::StoreKind::Postgres(postgres_at(&url));
        Self {
            section: config::Store {
                kind,
                migrate_on_start: false,
            },
            place: Place::Schema { name },
        }
    }

    /// The same, with the settings for a transaction-mode pooler.
    pub async fn postgres_behind_pooler() -> Self {
        let mut database = Self::postgres().await;
        if let config::StoreKind::Postgres(section) = &mut database.section.kind {
            section.transaction_pooler = true;
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
        Self {
            section: config::Store {
                kind,
                migrate_on_start: true,
            },
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

    /// A connection without the store, in this schema.
    pub async fn connect(&self) -> Client {
        let client = connect(&server_url()).await;
        client
            .batch_execute(&format!("SET search_path = {}", self.name()))
            .await
            .unwrap();
        client
    }

    /// Opens the store, its schema in place.
    pub async fn store(&self) -> Arc<dyn Store> {
        store::migrate(&self.section).await.unwrap();
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
