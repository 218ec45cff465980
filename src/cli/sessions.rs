//! `curtail sessions`

use std::sync::Arc;

use clap::Subcommand;

use crate::domain::SystemClock;
use crate::lifecycle::Lifecycle;
use crate::service::{Caller, Sessions};
use crate::store;
use crate::telemetry::log::Stream;

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Replace the secret that seals sessions, which ends all of them, on every instance within 5 seconds
    #[command(after_help = "Example:\n  curtail sessions rotate")]
    Rotate,
}

/// Ends the sessions in the database.
pub(super) fn sessions(command: &Command) -> Result<(), String> {
    let settings = super::settings::load().map_err(|faults| faults.to_string())?;
    settings.start_log(Stream::Error);
    let config = settings.config;
    super::block_on(async {
        let store = store::open(&config.store).await.map_err(|err| err.to_string())?;
        let sessions = Sessions::new(Arc::clone(&store), Arc::new(SystemClock), Lifecycle::new());
        let done = match command {
            Command::Rotate => sessions.rotate(&Caller::Operator).await,
        };
        store.close().await;
        done.map_err(|err| err.to_string())
    })?
}
