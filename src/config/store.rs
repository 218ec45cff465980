//! The database.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::{DATA, Env, Place};

/// The store's settings.
#[derive(Debug, Clone)]
pub struct Store {
    /// Which database, and where.
    pub kind: StoreKind,
    /// Whether the start migrates the schema.
    pub migrate_on_start: bool,
}

/// Which database.
#[derive(Debug, Clone)]
pub enum StoreKind {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Postgres),
}

/// How to reach PostgreSQL.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// The connection URL or `key=value` text. Not parsed here; it may hold a password.
    pub url: SecretString,
    /// The password, when the URL has none.
    pub password: Option<SecretString>,
    /// Connections of this instance.
    pub pool_size: usize,
    /// Whether a transaction-mode pooler stands between, so that no named statement may be used.
    pub transaction_pooler: bool,
    /// The role of the service, where the owner of the tables is another one. A migration grants it what it needs.
    pub service_role: Option<ServiceRole>,
}

/// A role that reads and writes rows, and changes no table.
#[derive(Debug, Clone)]
pub struct ServiceRole {
    /// As the server spells it.
    pub name: String,
    /// With it, a migration creates the role, or sets its password.
    pub password: Option<SecretString>,
}

impl ServiceRole {
    fn read(env: &mut Env) -> Option<Self> {
        let name = env.text("DATABASE_SERVICE_ROLE");
        let password = env.secret("DATABASE_SERVICE_PASSWORD");
        if name.is_none() && password.is_some() {
            env.fault("DATABASE_SERVICE_PASSWORD", "needs DATABASE_SERVICE_ROLE");
        }
        // What PostgreSQL would cut off is another name.
        if name.as_ref().is_some_and(|name| name.len() > 63) {
            env.fault("DATABASE_SERVICE_ROLE", "is not valid: at most 63 bytes");
        }
        name.map(|name| Self { name, password })
    }
}

/// The file in [`DATA`] of a service without `DATABASE_URL`.
const TRIAL_FILE: &str = "curtail.db";

impl Store {
    pub(super) fn read(env: &mut Env, place: Place) -> Self {
        let url = env.secret_line("DATABASE_URL");
        let password = env.secret_line("DATABASE_PASSWORD");
        let pool_size = env.number_or("DATABASE_POOL_SIZE", 4, 1..=1000);
        let transaction_pooler = match env.text("DATABASE_POOLER").as_deref() {
            None => false,
            Some("transaction") => true,
            Some(_) => {
                env.fault("DATABASE_POOLER", "is not valid: transaction, or unset");
                false
            }
        };
        let service_role = ServiceRole::read(env);
        let ephemeral = env.flag_or("ALLOW_EPHEMERAL_STORE", false);
        let kind = match url {
            None => StoreKind::Sqlite(PathBuf::from(DATA).join(TRIAL_FILE)),
            Some(url) => match url.expose_secret().strip_prefix("sqlite:") {
                Some(path) => StoreKind::Sqlite(PathBuf::from(path.strip_prefix("//").unwrap_or(path))),
                None => StoreKind::Postgres(Postgres {
                    url,
                    password,
                    pool_size,
                    transaction_pooler,
                    service_role,
                }),
            },
        };
        let sqlite = matches!(kind, StoreKind::Sqlite(_));
        if place.cloud_run && sqlite && !ephemeral {
            env.fault(
                "DATABASE_URL",
                "must be a postgres:// URL on Cloud Run: a container's file system is not storage \
                 (ALLOW_EPHEMERAL_STORE=true starts all the same, and loses every link with the instance)",
            );
        }
        Self {
            kind,
            migrate_on_start: env.flag_or("MIGRATE_ON_START", sqlite),
        }
    }
}
