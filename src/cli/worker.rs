//! `curtail worker`

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::signals::Signals;
use crate::app;
use crate::domain::CorrectedClock;
use crate::lifecycle::Lifecycle;
use crate::telemetry::log::Stream;

/// Does the jobs until SIGTERM or SIGINT, or once.
pub(super) fn worker(once: bool) -> Result<(), String> {
    let settings = super::settings::load().map_err(|faults| faults.to_string())?;
    settings.start_log(Stream::Output);
    let config = settings.config;
    super::block_on(async {
        let signals = Signals::listen()?;
        let stop = CancellationToken::new();
        let asked = stop.clone();
        Lifecycle::new().spawn(|_stop| async move {
            signals.first().await;
            asked.cancel();
        });
        tracing::info!("the worker has started");
        app::work(&config, Arc::<CorrectedClock>::default(), once, stop)
            .await
            .map_err(|err| err.to_string())?;
        tracing::info!("the worker has ended");
        Ok(())
    })?
}
