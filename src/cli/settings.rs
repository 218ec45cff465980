//! Reads and checks all settings.

use crate::config::{Config, Effective, Env, Faults};
use crate::telemetry::log;
use crate::{cache, store};

/// The settings, checked by every part that they are for.
pub(super) fn load() -> Result<(Config, Vec<Effective>), Faults> {
    let mut env = Env::of_process();
    let config = Config::read(&mut env);
    env.more_faults(store::faults(&config.store));
    env.more_faults(cache::faults(&config.cache));
    env.more_faults(log::faults(&config.logs));
    Ok((config, env.finish()?))
}
