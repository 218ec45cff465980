//! The parts of a start: what listens, what is told, what goes on beside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::web;
use tokio::sync::oneshot;

use super::StartError;
use crate::config::{self, Config, StoreKind};
use crate::domain::Clock;
use crate::http::{self, Build, Scrape, Services, Serving};
use crate::lifecycle::{Lifecycle, PanicOf};
use crate::service::Health;
use crate::store::{self, StoreError};
use crate::telemetry::exposition::About;
use crate::telemetry::gcp::Metadata;
use crate::telemetry::metrics::{Metrics, PANICS};
use crate::telemetry::traces::{self, Exporter, Spans};

/// Time for requests in flight once the service has stopped listening.
const FINISH_SECONDS: u64 = 5;

/// How long an idle connection is kept. Longer on Cloud Run than its front end keeps its own: the side that
/// closes first may cut a request that is on its way.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const KEEP_ALIVE_ON_CLOUD_RUN: Duration = Duration::from_secs(650);

/// Time between two questions to a store that has not answered yet.
const FIRST_CHECK: Duration = Duration::from_millis(50);
const SLOWEST_CHECK: Duration = Duration::from_secs(1);

/// How long the shared cache has the thread of the connections to itself. To log in to PostgreSQL takes that thread more
/// than a millisecond, which the first visitor would wait for. A probe, or a visitor whom the cache cannot help, asks
/// the store earlier.
const CACHE_FIRST: Duration = Duration::from_millis(20);

pub(super) fn listen(config: &Config, services: web::Data<Services>) -> Result<(u16, Server), StartError> {
    let (address, port) = (config.http.address, config.http.port);
    let bind_error = |cause| StartError::Bind {
        setting: "PORT",
        address_setting: "LISTEN_ADDRESS",
        port,
        address,
        cause,
    };
    let serving = Serving {
        address,
        port,
        keep_alive: if config.http.cloud_run {
            KEEP_ALIVE_ON_CLOUD_RUN
        } else {
            KEEP_ALIVE
        },
        finish_seconds: FINISH_SECONDS,
        workers: None,
    };
    http::listen(serving, services).map_err(bind_error)
}

pub(super) fn build(config: &Config) -> Build {
    Build {
        version: env!("CARGO_PKG_VERSION"),
        git_commit: env!("CURTAIL_GIT_COMMIT"),
        build_time: env!("CURTAIL_BUILD_TIME"),
        store: match config.store.kind {
            StoreKind::Sqlite(_) => "sqlite",
            StoreKind::Postgres(_) => "postgres",
        },
        cache: match (config.cache.memory_bytes > 0, &config.cache.redis) {
            (true, Some(redis)) if redis.cluster => "memory+redis-cluster",
            (true, Some(_)) => "memory+redis",
            (true, None) => "memory",
            (false, Some(redis)) if redis.cluster => "redis-cluster",
            (false, Some(_)) => "redis",
            (false, None) => "none",
        },
    }
}

pub(super) fn count_panics(lifecycle: &Lifecycle, metrics: &Metrics) {
    for (of, label) in [(PanicOf::Request, "request"), (PanicOf::Task, "task")] {
        let lifecycle = lifecycle.clone();
        metrics.watch(&PANICS, label, move || Some(lifecycle.panics(of) as f64));
    }
}

/// Sends spans in the background, if there are to be any.
pub(super) fn export(
    config: &Config,
    spans: Option<Spans>,
    metadata: &Arc<Metadata>,
    build: &Build,
    lifecycle: &Lifecycle,
) -> Option<traces::Finish> {
    if config.traces.place.cloud_run && metadata.known_project().is_none() {
        // For the lines of the log: they name their trace by its project.
        let metadata = Arc::clone(metadata);
        lifecycle.spawn(|stop| async move { stop.run_until_cancelled(metadata.find_project()).await });
    }
    let (exporter, finish) = Exporter::new(&config.traces, Arc::clone(metadata), spans?, build.version)?;
    // Not told to stop with the others: it ends when it is asked for the last spans.
    lifecycle.spawn(|_stop| exporter.run());
    Some(finish)
}

/// Shows figures on a port of their own, until the tasks end: a stop can be watched too.
pub(super) fn show_metrics(
    config: &Config,
    build: &Build,
    port: u16,
    metrics: Arc<Metrics>,
    clock: &dyn Clock,
    lifecycle: &Lifecycle,
) -> Result<u16, StartError> {
    let address = config.http.metrics_address;
    let about = About {
        version: build.version,
        git_commit: build.git_commit,
        store: build.store,
        cache: build.cache,
        started: clock.now(),
    };
    let shown = Scrape { metrics, about };
    let (port, mut server) = shown.listen(address, port).map_err(|cause| StartError::Bind {
        setting: "METRICS_PORT",
        address_setting: "METRICS_ADDRESS",
        port,
        address,
        cause,
    })?;
    lifecycle.spawn(|stop| async move {
        let handle = server.handle();
        tokio::select! {
            ended = &mut server => tracing::error!(error = ?ended.err(), "the port for figures was closed"),
            () = stop.cancelled() => {
                let _ = tokio::join!(handle.stop(false), server);
            }
        }
    });
    Ok(port)
}

pub(super) fn announce(config: &Config, build: &Build, port: u16, metrics_port: Option<u16>) {
    let Build {
        version,
        git_commit: commit,
        store,
        cache,
        ..
    } = build;
    tracing::info!(
        service.version = version,
        git.commit = commit,
        build.time = build.build_time,
        store.kind = store,
        cache.kind = cache,
        metrics.port = metrics_port,
        "curtail {version} ({commit}) listens on {}, store {store}, cache {cache}",
        SocketAddr::new(config.http.address, port),
    );
    if config.access.trial {
        tracing::info!(
            "trial mode: DATABASE_URL is unset, links are kept in ./data, only this machine is answered, no key is needed"
        );
    } else if let Some(file) = &config.access.generated_key {
        tracing::info!(
            "trial that others can reach: DATABASE_URL is unset, links are kept in ./data, redirects are public, everything else needs the admin key in {}",
            file.display()
        );
    } else if config.access.admin_api_key.is_none() {
        tracing::warn!(
            "ADMIN_API_KEY is unset: the links API answers 401 to everybody without a key from `curtail keys create`"
        );
    }
}

/// Asks the store until it has answered once, and migrates it before if the settings say so. A schema that
/// this build does not know ends the service.
pub(super) fn watch_start(
    lifecycle: &Lifecycle,
    health: Arc<Health>,
    config: config::Store,
    has_shared_cache: bool,
) -> oneshot::Receiver<StoreError> {
    let (report, unusable) = oneshot::channel();
    lifecycle.spawn(|stop| async move {
        let watch = async {
            if has_shared_cache {
                tokio::time::sleep(CACHE_FIRST).await;
            }
            let mut pause = FIRST_CHECK;
            loop {
                if config.migrate_on_start
                    && let Err(err) = store::migrate(&config).await
                {
                    tracing::warn!(error = ?err, "the store could not be migrated yet: {err}");
                }
                match health.knows_schema().await {
                    Ok(true) => return std::future::pending::<StoreError>().await,
                    Ok(false) => tokio::time::sleep(pause).await,
                    Err(err) => return err,
                }
                pause = (pause * 2).min(SLOWEST_CHECK);
            }
        };
        if let Some(err) = stop.run_until_cancelled_owned(watch).await {
            // Nobody listens any more when the service is stopping anyway.
            let _ = report.send(err);
        }
    });
    unusable
}
