//! Which lines are written, changed while the program runs.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::reload::Handle;

/// What the HTTP server logs at each start and stop, and at every malformed request that a stranger sends: as an
/// error, which would fill an error report. `RUST_LOG` can ask for it by these names.
const QUIET: &str = "actix_server=warn,actix_http::h1::dispatcher=off";

/// Reads directives such as `curtail=debug,info`: a level for everything, or for a module and what is in it.
///
/// Those that name spans or fields would be taken for the names of modules.
pub(super) fn targets(directives: &str) -> Result<Targets, InvalidLevel> {
    if directives.contains(['[', '{']) {
        return Err(InvalidLevel);
    }
    format!("{QUIET},{directives}").parse().map_err(|_| InvalidLevel)
}

/// These are no directives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("directives such as info or curtail=debug,info")]
pub struct InvalidLevel;

/// Which lines are written now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// The directives in force.
    pub directives: String,
    /// Those of the settings.
    pub default: String,
    /// When the settings' are in force again.
    pub expires_at: Option<Timestamp>,
}

/// Changes which lines this process writes. Clones change the same.
#[derive(Debug, Clone)]
pub struct LogLevel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    default: String,
    handle: Option<Handle<Targets, Registry>>,
    changed: Mutex<Option<(String, Option<Timestamp>)>>,
}

impl LogLevel {
    /// The directives of the settings are in force; without a handle nothing is written in any case.
    pub(super) fn new(default: &str, handle: Option<Handle<Targets, Registry>>) -> Self {
        Self(Arc::new(Inner {
            default: default.to_owned(),
            handle,
            changed: Mutex::default(),
        }))
    }

    /// What is in force at `now`. What has expired is taken back first.
    #[must_use]
    pub fn get(&self, now: Timestamp) -> Level {
        let mut changed = self.changed();
        if matches!(&*changed, Some((_, Some(end))) if *end <= now) {
            *changed = None;
            self.apply(&self.0.default);
            tracing::info!("the log level is that of the settings again");
        }
        let (directives, expires_at) = changed.clone().unwrap_or((self.0.default.clone(), None));
        Level {
            directives,
            default: self.0.default.clone(),
            expires_at,
        }
    }

    /// Puts other directives in force, until a time or until the end of the process.
    pub fn set(&self, directives: &str, expires_at: Option<Timestamp>) -> Result<(), InvalidLevel> {
        targets(directives)?;
        let mut changed = self.changed();
        self.apply(directives);
        *changed = Some((directives.to_owned(), expires_at));
        Ok(())
    }

    fn apply(&self, directives: &str) {
        if let (Some(handle), Ok(targets)) = (&self.0.handle, targets(directives)) {
            // It fails only if the log is gone.
            let _ = handle.reload(targets);
        }
    }

    fn changed(&self) -> MutexGuard<'_, Option<(String, Option<Timestamp>)>> {
        self.0.changed.lock()
    }
}

/// Without a log: what a test of the rest needs.
impl Default for LogLevel {
    fn default() -> Self {
        Self::new("info", None)
    }
}

#[cfg(test)]
mod tests {
    use super::{LogLevel, targets};
    use jiff::{SignedDuration, Timestamp};
    use tracing::Level;

    #[test]
    fn directives_name_levels_and_modules() {
        let read = targets("curtail=debug,info").unwrap();

        assert!(read.would_enable("curtail::http", &Level::DEBUG));
        assert!(!read.would_enable("h2", &Level::DEBUG));
        assert!(!read.would_enable("actix_server::worker", &Level::INFO));
        assert!(
            targets("actix_server=debug")
                .unwrap()
                .would_enable("actix_server", &Level::DEBUG)
        );
        assert!(targets("[span]=debug").is_err());
        assert!(targets("curtail=loud").is_err());
    }

    #[test]
    fn a_change_falls_back_at_its_time() {
        let level = LogLevel::default();
        let end = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60);

        level.set("debug", Some(end)).unwrap();

        assert_eq!(level.get(Timestamp::UNIX_EPOCH).directives, "debug");
        assert_eq!(level.get(end).directives, "info");
        assert_eq!(level.get(end).expires_at, None);
        assert!(level.set("curtail=loud", None).is_err());
        assert_eq!(level.get(end).directives, "info");
    }
}
