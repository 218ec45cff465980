//! `curtail serve`

use std::sync::Arc;
use std::time::Duration;

use super::output;
use super::signals::{Asked, Hangups, Signals};
use crate::app::{Application, Parts};
use crate::config::ExposeSecret;
use crate::telemetry::gcp::Metadata;
use crate::telemetry::log;

/// How long the service goes on answering after SIGTERM, for routers that have not heard of it yet.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT.
pub(super) fn serve() -> Result<(), String> {
    let settings = super::settings::load().map_err(|faults| faults.to_string())?;
    let config = &settings.config;
    let metadata = Arc::new(Metadata::new(&config.traces.place));
    let started = log::start(&config.logs, log::Stream::Output, Some(&config.traces), &metadata);
    settings.log_warnings();
    let config = settings.config;
    let base_url = config.http.base_url.clone();
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
        if let Some(key) = application.generated_key() {
            let local = || format!("http://localhost:{}/app", application.port());
            let url = base_url.map_or_else(local, |base| base.join("app"));
            output::note(&format!(
                "curtail: open {url} and sign in with the admin key {}",
                key.expose_secret()
            ));
        }
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
