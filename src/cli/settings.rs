//! Reads and checks all settings.

use std::sync::Arc;

use crate::config::{Config, Effective, Env, Faults};
use crate::telemetry::gcp::Metadata;
use crate::telemetry::{log, traces};
use crate::{cache, store};

/// The settings, checked by every part that they are for.
pub(super) fn load() -> Result<(Config, Vec<Effective>), Faults> {
    let mut env = Env::of_process();
    let config = Config::read(&mut env);
    env.more_faults(store::faults(&config.store));
    env.more_faults(cache::faults(&config.cache));
    env.more_faults(log::faults(&config.logs));
    env.more_faults(traces::faults(&config.traces));
    Ok((config, env.finish()?))
}

/// Starts the log of a command that makes no traces.
pub(super) fn start_log(config: &Config, stream: log::Stream) {
    let metadata = Arc::new(Metadata::new(&config.traces.place));
    log::start(&config.logs, stream, None, &metadata);
}
