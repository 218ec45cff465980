//! The role of the service, apart from the owner that migrates: it reads and writes rows, and changes no table.

use postgres_protocol::password::scram_sha_256;
use secrecy::ExposeSecret;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Transaction};

use crate::config::ServiceRole;
use crate::store::StoreError;

/// Partitions that the service creates at this moment would get no grant. The number is that of `partitions.rs`.
const TAKE_TURN: &str = "-- take_turn_for_grants()
SELECT pg_advisory_xact_lock(794203918, hashtext(coalesce(current_schema(), '')))";

/// Whether the role exists, and whether it has the rights of the role that migrates: it is that role, a member of it or a
/// superuser.
const ROLE: &str = "-- service_role()
SELECT pg_has_role(oid, current_user, 'MEMBER') FROM pg_roles WHERE rolname = $1";

/// The statement that creates the role, or sets its password. The server quotes what is in it.
const SET_ROLE: &str = "-- set_service_role()
SELECT format('%s ROLE %I LOGIN PASSWORD %L', $1, $2, $3)";

/// The statements that grant what the role lacks: rows of all tables, but only to read the record of migrations; sequences; and
/// the functions that run with the owner's rights. Tables that those create get their grants from the default privileges.
const GRANTS: &str = "-- missing_grants()
WITH objects AS (
    SELECT c.oid, c.relkind, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND pg_has_role(c.relowner, 'USAGE')
)
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), $1)
WHERE NOT has_database_privilege($1, current_database(), 'CONNECT')
UNION ALL
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), $1)
WHERE NOT has_schema_privilege($1, current_schema(), 'USAGE')
UNION ALL
SELECT format('GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE %s TO %I', oid::regclass, $1) FROM objects
WHERE relkind IN ('r', 'p') AND relname <> 'curtail_migrations' AND NOT (
    has_table_privilege($1, oid, 'SELECT') AND has_table_privilege($1, oid, 'INSERT')
    AND has_table_privilege($1, oid, 'UPDATE') AND has_table_privilege($1, oid, 'DELETE'))
UNION ALL
SELECT format('GRANT SELECT ON TABLE %s TO %I', oid::regclass, $1) FROM objects
WHERE relname = 'curtail_migrations' AND NOT has_table_privilege($1, oid, 'SELECT')
UNION ALL
SELECT format('GRANT USAGE ON SEQUENCE %s TO %I', oid::regclass, $1) FROM objects
WHERE CASE relkind WHEN 'S' THEN NOT has_sequence_privilege($1, oid, 'USAGE') END
UNION ALL
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', p.oid::regprocedure, $1)
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = current_schema() AND p.prosecdef AND pg_has_role(p.proowner, 'USAGE')
    AND NOT has_function_privilege($1, p.oid, 'EXECUTE')
UNION ALL
SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I',
    current_schema(), $1)";

/// Why nothing was granted.
pub(super) enum Refused {
    /// By the server.
    Server(Error),
    /// By us: the settings name a role that may not be it.
    Settings(StoreError),
}

impl From<Error> for Refused {
    fn from(err: Error) -> Self {
        Self::Server(err)
    }
}

/// Grants the service's role what it lacks, in the schema of this connection. With a password, it creates the role where the
/// server has none, and sets the password of one that exists: as a SCRAM verifier, so that the password is in no log of the
/// server.
pub(super) async fn grant(transaction: &Transaction<'_>, role: &ServiceRole) -> Result<(), Refused> {
    let refused = |reason: &str| {
        let text = format!("DATABASE_SERVICE_ROLE {reason}");
        Err(Refused::Settings(StoreError::Settings(text)))
    };
    transaction.query_typed(TAKE_TURN, &[]).await?;
    let found = transaction.query_typed_opt(ROLE, &[name_of(role)]).await?;
    let verb = match found.map(|row| row.try_get::<_, bool>(0)).transpose()? {
        Some(true) => {
            return refused(
                "names the role that migrates, a member of it or a superuser: the service has a role of its own",
            );
        }
        Some(false) => "ALTER",
        None if role.password.is_none() => {
            return refused(
                "names a role that the server does not have: create it, or set DATABASE_SERVICE_PASSWORD",
            );
        }
        None => "CREATE",
    };
    if let Some(password) = &role.password {
        let verifier = scram_sha_256(password.expose_secret().as_bytes());
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (/* verb */ &verb, Type::TEXT),
            (/* role */ &role.name, Type::TEXT),
            (/* password */ &verifier, Type::TEXT),
        ];
        let row = transaction.query_typed_one(SET_ROLE, &parameters).await?;
        transaction.batch_execute(row.try_get(0)?).await?;
    }
    let rows = transaction.query_typed(GRANTS, &[name_of(role)]).await?;
    let statements: Vec<&str> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    transaction.batch_execute(&statements.join(";\n")).await?;
    tracing::info!(
        database.role = role.name,
        "the role {} may read and write rows, and change no table",
        role.name
    );
    Ok(())
}

fn name_of(role: &ServiceRole) -> (&(dyn ToSql + Sync), Type) {
    (/* role */ &role.name, Type::NAME)
}
