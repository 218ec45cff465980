//! `curtail serve`

use std::sync::Arc;
use std::time::Duration;

use super::signals::{Asked, Hangups, Signals};
use crate::app::{Application, Parts};
use crate::telemetry::gcp::Metadata;
use crate::telemetry::log;

/// How long the service goes on answering after SIGTERM, for routers that have not heard of it yet.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
pub(super) fn serve() -> Result<(), String> {
    let (config, _) = super::settings::load().map_err(|faults| faults.to_string())?;
    let metadata = Arc::new(Metadata::new(&config.traces.place));
    let started = log::start(&config.logs, log::Stream::Output, Some(&config.traces), &metadata);
    let parts = Parts {
        log: started.level,
        spans: started.spans,
        metadata,
        ..Parts::default()
    };
    super::block_on(async {
        let signals = Signals::listen()?;
        let mut hangups = Hangups::listen()?;
        let application = Application::build(config, parts)
            .await
            .map_err(|err| err.to_string())?;
        let blocklist = application.blocklist();
        let reload = async {
            loop {
                hangups.next().await;
                blocklist.reload().await;
            }
        };
        let stop = async {
            let asked = tokio::select! {
                asked = signals.first() => asked,
                asked = reload => asked,
            };
            match asked {
                Asked::ByOrchestrator => DRAIN,
                Asked::ByPerson => Duration::ZERO,
            }
        };
        application.run(stop).await.map_err(|err| err.to_string())
    })?
}
