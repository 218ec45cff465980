//! `curtail serve`

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{Application, Parts};
use crate::lifecycle::Lifecycle;
use crate::telemetry::log;

/// How long the service goes on answering after SIGTERM, for routers that have not heard of it yet.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
pub(super) fn serve() -> Result<(), String> {
    let (config, _) = super::settings::load().map_err(|faults| faults.to_string())?;
    log::start(&config.logs);
    super::block_on(async {
        // Before anything else, so that no signal finds the process without a handler: as process 1 of a
        // container it would be ignored.
        let terminate = listen(SignalKind::terminate())?;
        let interrupt = listen(SignalKind::interrupt())?;
        let application = Application::build(config, Parts::default())
            .await
            .map_err(|err| err.to_string())?;
        application
            .run(asked_to_stop(terminate, interrupt))
            .await
            .map_err(|err| err.to_string())
    })?
}

fn listen(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|err| format!("signals cannot be received: {err}"))
}

/// A router sends SIGTERM and may still send requests; a person at a terminal sends SIGINT and waits. A
/// second signal ends the process at once.
async fn asked_to_stop(mut terminate: Signal, mut interrupt: Signal) -> Duration {
    let drain = tokio::select! {
        _ = terminate.recv() => DRAIN,
        _ = interrupt.recv() => Duration::ZERO,
    };
    Lifecycle::new().spawn(|_stop| async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
    drain
}
