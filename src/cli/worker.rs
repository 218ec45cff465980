//! `curtail worker`

use super::signals::Signals;
use crate::telemetry::log;

/// Runs until SIGTERM or SIGINT. There is no work for it yet.
pub(super) fn worker() -> Result<(), String> {
    let (config, _) = super::settings::load().map_err(|faults| faults.to_string())?;
    log::start(&config.logs);
    super::block_on(async {
        let signals = Signals::listen()?;
        tracing::info!("the worker runs; there is no work for it yet");
        signals.first().await;
        Ok(())
    })?
}
