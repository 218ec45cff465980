//! The migrations that this build carries, the same numbers and names for both dialects.

use super::StoreError;

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// Its place in the order, from 1.
    pub(super) version: i64,
    /// What it does, as in its file's name.
    pub(super) name: &'static str,
    /// Its statements.
    pub(super) sql: &'static str,
    /// The oldest build, by the schema's version that it knows, that can work with the schema from here on.
    pub(super) oldest_build: i64,
}

/// The schema that a database has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Its version; 0 is none.
    pub(super) version: i64,
    /// The oldest build that can work with it.
    pub(super) oldest_build: i64,
}

impl Found {
    /// An empty database.
    pub(super) const NOTHING: Self = Self {
        version: 0,
        oldest_build: 0,
    };

    /// Whether this build can work with it: it is the one that the build knows, or a newer one that says so.
    /// A migration runs before its build is deployed, and instances of the old build start meanwhile.
    pub(super) fn check(self) -> Result<(), StoreError> {
        if self.version < SCHEMA_VERSION || self.oldest_build > SCHEMA_VERSION {
            return Err(StoreError::Schema {
                found: self.version,
                known: SCHEMA_VERSION,
            });
        }
        Ok(())
    }

    /// The first of `migrations` that the database does not have; an error if it is of a newer build that
    /// this one cannot work with.
    pub(super) fn next(self, migrations: &[Migration]) -> Result<Option<&Migration>, StoreError> {
        if self.version >= SCHEMA_VERSION {
            self.check()?;
        }
        Ok(migrations
            .iter()
            .find(|migration| migration.version > self.version))
    }
}

/// What a migration run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// The schema's version before; 0 is an empty database.
    pub from: i64,
    /// The schema's version now.
    pub to: i64,
}

/// The schema's version that this build knows.
pub const SCHEMA_VERSION: i64 = 1;

macro_rules! migrations {
    ($dialect:literal: $($version:literal $name:literal works_from $oldest_build:literal),+ $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../migrations/", $dialect, "/", $name, ".sql")),
            oldest_build: $oldest_build,
        }),+]
    };
}

/// For PostgreSQL.
pub(super) const POSTGRES: &[Migration] = migrations!("postgres":
    1 "0001_baseline" works_from 1,
);

/// For SQLite.
pub(super) const SQLITE: &[Migration] = migrations!("sqlite":
    1 "0001_baseline" works_from 1,
);
