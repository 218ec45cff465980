//! The migrations that this build carries, the same numbers and names for both dialects.

use super::StoreError;

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its place in the order, from 1.
    pub version: i64,
    /// What it does, as in its file's name.
    pub name: &'static str,
    /// Its statements. If its first line is `-- concurrently`, PostgreSQL builds the indexes outside a transaction.
    pub sql: &'static str,
    /// The oldest build, by the schema's version that it knows, that can work with the schema from here on.
    pub oldest_build: i64,
}

/// How PostgreSQL runs a migration.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// In one transaction, together with its record.
    Transaction(&'a str),
    /// One index after the other, each outside a transaction.
    Concurrently(Vec<IndexBuild<'a>>),
}

/// An index to be built while its table is in use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IndexBuild<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// The statement that builds it.
    pub(super) sql: &'a str,
}

/// The first line of a migration that builds indexes outside a transaction.
const CONCURRENTLY: &str = "-- concurrently\n";

/// How each statement of such a migration begins.
const BUILD: &str = "CREATE INDEX CONCURRENTLY IF NOT EXISTS ";

impl Migration {
    /// How PostgreSQL runs it. An error if a migration of the concurrent kind holds another statement.
    pub(super) fn step(&self) -> Result<Step<'_>, StoreError> {
        let Some(statements) = self.sql.strip_prefix(CONCURRENTLY) else {
            return Ok(Step::Transaction(self.sql));
        };
        let builds = statements
            .split(";\n")
            .map(|statement| without_comments(statement).trim_end_matches(';'))
            .filter(|statement| !statement.is_empty())
            .map(|sql| {
                let name = sql
                    .strip_prefix(BUILD)
                    .and_then(|rest| rest.split_whitespace().next());
                let name = name.ok_or_else(|| {
                    StoreError::Settings(format!(
                        "{}: every statement has to begin with {BUILD:?}",
                        self.name
                    ))
                })?;
                Ok(IndexBuild { name, sql })
            });
        builds.collect::<Result<_, _>>().map(Step::Concurrently)
    }
}

/// A statement without the lines of comment before it.
fn without_comments(statement: &str) -> &str {
    let mut rest = statement.trim();
    while rest.starts_with("--") {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest.trim_start());
    }
    rest
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

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(sql: &'static str) -> Migration {
        Migration {
            version: 2,
            name: "0002_test",
            sql,
            oldest_build: 1,
        }
    }

    #[test]
    fn every_migration_that_this_build_carries_can_be_run() {
        for migration in POSTGRES.iter().chain(SQLITE) {
            migration.step().unwrap();
        }
    }

    #[test]
    fn a_concurrent_migration_is_a_list_of_indexes() {
        let migration = migration(
            "-- concurrently\n-- For lists; by owner.\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a_idx ON a (b);\n\n\
             CREATE INDEX CONCURRENTLY IF NOT EXISTS c_idx ON c (d);\n",
        );

        let Step::Concurrently(builds) = migration.step().unwrap() else {
            panic!("a transaction")
        };

        let names: Vec<&str> = builds.iter().map(|build| build.name).collect();
        assert_eq!(names, ["a_idx", "c_idx"]);
        assert_eq!(
            builds[0].sql,
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS a_idx ON a (b)"
        );
    }

    #[test]
    fn a_concurrent_migration_holds_no_other_statement() {
        for sql in [
            "-- concurrently\nALTER TABLE links ADD COLUMN a text;\n",
            "-- concurrently\nCREATE INDEX a_idx ON a (b);",
        ] {
            assert!(migration(sql).step().is_err(), "{sql}");
        }
    }
}
