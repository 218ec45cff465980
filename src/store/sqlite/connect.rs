//! Opens the file.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::failure::unavailable;
use crate::store::StoreError;

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens the file for writing, and makes it, and the directories on the way, if need be. Only the owner may
/// read what is made: targets may be secret.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    make_file(path)
        .map_err(|err| StoreError::unavailable(format!("cannot make {}: {err}", path.display())))?;
    let connection = open(path)?;
    // FULL: a link that was acknowledged survives a loss of power. NORMAL would lose the last ones.
    set_up(
        &connection,
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON",
    )?;
    Ok(connection)
}

/// Opens the file for reading. There must be one.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = open(path)?;
    set_up(&connection, "PRAGMA query_only = ON")?;
    Ok(connection)
}

/// Moves what was written into the main file, so that it is whole without its journal.
pub(super) fn checkpoint(connection: &Connection) {
    if let Err(err) = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
        tracing::warn!(error = %err, "the journal was not emptied, and will be at the next start: {err}");
    }
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    // Without CREATE and URI: the path is the name of the file that was made above, and nothing else.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(unavailable)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(unavailable)?;
    Ok(connection)
}

/// Runs the pragmas. SQLite does not wait by itself for another process that changes the journal mode.
fn set_up(connection: &Connection, pragmas: &str) -> Result<(), StoreError> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match connection.execute_batch(pragmas) {
            Err(err) if is_busy(&err) && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result.map_err(unavailable),
        }
    }
}

fn is_busy(err: &rusqlite::Error) -> bool {
    matches!(
        err.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn make_file(path: &Path) -> io::Result<()> {
    let mut directories = fs::DirBuilder::new();
    let mut file = fs::OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
        directories.mode(0o700);
        file.mode(0o600);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        directories.recursive(true).create(parent)?;
    }
    file.create(true).append(true).open(path).map(drop)
}
