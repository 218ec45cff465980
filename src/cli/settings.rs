//! Reads and checks all settings.

use std::sync::Arc;

use super::output;
use crate::config::{Config, Effective, Env, Faults};
use crate::telemetry::gcp::Metadata;
use crate::telemetry::{log, traces};
use crate::{cache, store};

/// The settings, checked by every part that they are for.
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) effective: Vec<Effective>,
    /// A sentence for each variable that looks like a setting and is not read.
    pub(super) warnings: Vec<String>,
}

/// Reads the settings from the environment.
pub(super) fn load() -> Result<Settings, Faults> {
    let mut env = Env::of_process();
    let config = Config::read(&mut env);
    env.more_faults(store::faults(&config.store));
    env.more_faults(cache::faults(&config.cache));
    env.more_faults(log::faults(&config.logs));
    env.more_faults(traces::faults(&config.traces));
    Ok(Settings {
        config,
        warnings: env.warnings(),
        effective: env.finish()?,
    })
}

impl Settings {
    /// Starts the log of a command that makes no traces.
    pub(super) fn start_log(&self, stream: log::Stream) {
        let metadata = Arc::new(Metadata::new(&self.config.traces.place));
        log::start(&self.config.logs, stream, None, &metadata);
        self.log_warnings();
    }

    /// Writes the warnings to the log.
    pub(super) fn log_warnings(&self) {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// Writes the warnings to the standard error, for a command without a log.
    pub(super) fn note_warnings(&self) {
        for warning in &self.warnings {
            output::note(&format!("curtail: warning: {warning}"));
        }
    }
}
