//! Floor 5: builds every part from the settings, binds, runs and stops. The only wiring.

mod admin_key;
mod start;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Server;
use actix_web::http::header::HeaderName;
use actix_web::web;
use futures_util::FutureExt;
use secrecy::SecretString;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, StoreKind};
use crate::domain::{Clock, CorrectedClock};
use crate::http::{self, Admission, Documents, Services};
use crate::lifecycle::Lifecycle;
use crate::service::{
    AuditTrail, Blocklist, Clicks, Health, Housekeeping, Keys, Limits, Links, RandomSlugs, Rendering,
    Resolver, Sessions, SharedLimits, SlugSource, Stats,
};
use crate::store::{Store, StoreError};
use crate::telemetry::gcp::Metadata;
use crate::telemetry::log::LogLevel;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{self, Sampler, Spans};
use crate::{cache, store, worker};

/// Time for the last spans, while the background tasks end.
const SPANS: Duration = TASKS;

/// When the last clicks must be stored, counted from the stop; but they get a second in any case.
const CLICKS_BY: Duration = Duration::from_millis(6500);
const CLICKS_AT_LEAST: Duration = Duration::from_secs(1);

/// Time for background tasks to end, after the last request and the last click.
const TASKS: Duration = Duration::from_millis(700);

/// What a test replaces.
#[derive(Debug)]
pub struct Parts {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes up slugs.
    pub slugs: Arc<dyn SlugSource>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Changes which lines are logged.
    pub log: LogLevel,
    /// Spans that wait to be sent. Without them nothing is traced.
    pub spans: Option<Spans>,
    /// What Google Cloud says of this process.
    pub metadata: Arc<Metadata>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            clock: Arc::new(CorrectedClock::default()),
            slugs: Arc::new(RandomSlugs),
            metrics: Arc::default(),
            log: LogLevel::default(),
            spans: None,
            metadata: Arc::default(),
        }
    }
}

/// Why the service did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings name something that cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The port cannot be listened on.
    #[error("{setting} {port} on {address_setting} {address} cannot be listened on: {cause}")]
    Bind {
        /// The setting that names the port.
        setting: &'static str,
        /// The setting that names the address.
        address_setting: &'static str,
        /// The port asked for.
        port: u16,
        /// The address asked for.
        address: std::net::IpAddr,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// The store cannot be opened, or has a schema that this build does not know.
    #[error("DATABASE_URL: {0}")]
    Store(#[from] StoreError),
    /// The service stopped before all clicks were stored.
    #[error("{0} clicks were not stored before the stop")]
    ClicksLost(u64),
    /// The server ended with an error.
    #[error("the server failed: {0}")]
    Server(#[source] std::io::Error),
}

/// The service, listening, not yet answering.
#[derive(Debug)]
pub struct Application {
    port: u16,
    metrics_port: Option<u16>,
    lifecycle: Lifecycle,
    store: Arc<dyn Store>,
    clicks: Clicks,
    traces: Option<traces::Finish>,
    blocklist: Blocklist,
    server: Running,
    unusable: oneshot::Receiver<StoreError>,
    generated_key: Option<SecretString>,
}

struct Running(Server);

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}

impl Application {
    /// Builds the service and binds its port. Nothing is asked of Postgres or Redis yet.
    pub async fn build(mut config: Config, parts: Parts) -> Result<Self, StartError> {
        let generated_key = config.access.generated_key.as_deref();
        let generated_key = generated_key.map(admin_key::kept_or_generated).transpose()?;
        if let Some(key) = &generated_key {
            config.access.admin_api_key = Some(key.clone());
        }
        let lifecycle = Lifecycle::new();
        start::count_panics(&lifecycle, &parts.metrics);
        let build = start::build(&config);
        let mut store = store::open_measured(&config.store, &parts.metrics).await?;
        // A file answers at once, so nothing else is asked of it before its schema.
        if matches!(config.store.kind, StoreKind::Sqlite(_))
            && let Err(err @ StoreError::Schema { .. }) = store.check().await
        {
            return Err(err.into());
        }
        let mut memory = cache::memory(&config.cache);
        let mut shared = cache::shared(
            &config.cache,
            Arc::clone(&parts.metrics),
            Arc::clone(&parts.clock),
        )
        .map_err(StartError::Settings)?;
        let budgets =
            cache::budgets(&config.cache, Arc::clone(&parts.metrics)).map_err(StartError::Settings)?;
        let traces = start::export(&config, parts.spans, &parts.metadata, &build, &lifecycle);
        let sampler = match traces {
            Some(_) => Sampler::new(&config.traces),
            None => Sampler::default(),
        };
        if traces.is_some() {
            store = store::traced(store, &config.store);
            memory = memory.map(|cache| cache::traced(cache, cache::Layer::Memory));
            shared = shared.map(|cache| cache::traced(cache, cache::Layer::Redis));
        }
        let resolver = Resolver::new(
            &config.cache,
            memory,
            shared.clone(),
            Arc::clone(&store),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.metrics),
            lifecycle.clone(),
        );
        let clicks = Clicks::new(
            &config.clicks,
            Arc::clone(&store),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.metrics),
            sampler.clone(),
            &lifecycle,
        );
        let jobs = Housekeeping::new(
            &config.clicks,
            Arc::clone(&store),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.metrics),
        );
        let jobs = Arc::new(jobs);
        match config.store.kind {
            // No second process could: the file is this one's.
            StoreKind::Sqlite(_) => lifecycle.spawn_loop("the hourly maintenance", move |stop| {
                let jobs = Arc::clone(&jobs);
                async move { worker::run(&jobs, &stop).await }
            }),
            StoreKind::Postgres(_) => lifecycle.spawn_loop("the partitions of clicks", move |stop| {
                let jobs = Arc::clone(&jobs);
                async move { worker::keep_partitions(&jobs, &stop).await }
            }),
        };
        let blocklist = Blocklist::new(&config.links.blocked_domains);
        let health = Arc::new(Health::new(
            Arc::clone(&store),
            shared,
            lifecycle.clone(),
            Arc::clone(&parts.clock),
        ));
        let shared_limits = budgets.map(|budgets| SharedLimits::new(budgets, Arc::clone(&store)));
        let rendering = Rendering::new(lifecycle.clone());
        let services = web::Data::new(Services {
            config: config.http.clone(),
            security: config.security.clone(),
            clock: Arc::clone(&parts.clock),
            keys: Keys::new(
                &config.access,
                Arc::clone(&store),
                Arc::clone(&parts.clock),
                lifecycle.clone(),
            ),
            audit: AuditTrail::new(Arc::clone(&store)),
            sessions: Sessions::new(Arc::clone(&store), Arc::clone(&parts.clock), lifecycle.clone()),
            limits: Limits::new(
                &config.limits,
                shared_limits,
                Arc::clone(&parts.clock),
                Arc::clone(&parts.metrics),
            ),
            admission: Admission::new(config.http.api_concurrency, config.http.export_concurrency),
            documents: Documents::new(rendering.clone()),
            rendering,
            links: Links::new(
                &config.links,
                blocklist.clone(),
                Arc::clone(&store),
                resolver.clone(),
                parts.slugs,
                Arc::clone(&parts.clock),
                lifecycle.clone(),
            ),
            resolver,
            clicks: clicks.clone(),
            hsts: http::hsts(config.http.hsts_seconds),
            country_header: config
                .clicks
                .country_header
                .as_deref()
                .and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok()),
            stats: Stats::new(Arc::clone(&store), Arc::clone(&parts.clock)),
            health: Arc::clone(&health),
            lifecycle: lifecycle.clone(),
            metrics: Arc::clone(&parts.metrics),
            build,
            sampler,
            log: parts.log,
        });
        let (port, server) = start::listen(&config, services)?;
        let metrics_port = (config.http.metrics_port)
            .map(|port| {
                start::show_metrics(
                    &config,
                    &build,
                    port,
                    parts.metrics,
                    parts.clock.as_ref(),
                    &lifecycle,
                )
            })
            .transpose()?;
        start::announce(&config, &build, port, metrics_port);
        let unusable = start::watch_start(&lifecycle, health, config.store, config.cache.redis.is_some());
        Ok(Self {
            port,
            metrics_port,
            lifecycle,
            store,
            clicks,
            traces,
            blocklist,
            server: Running(server),
            unusable,
            generated_key,
        })
    }

    /// The port that is listened on: the one asked for, or the one that the system chose for 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The admin key that was generated at this or an earlier start, if `ADMIN_API_KEY` is unset and one is needed.
    #[must_use]
    pub fn generated_key(&self) -> Option<&SecretString> {
        self.generated_key.as_ref()
    }

    /// The blocked domains, to be read again while the service runs.
    #[must_use]
    pub fn blocklist(&self) -> Blocklist {
        self.blocklist.clone()
    }

    /// The port that shows figures, if there is one.
    #[must_use]
    pub fn metrics_port(&self) -> Option<u16> {
        self.metrics_port
    }

    /// Answers requests until `stop` tells how long to go on answering before the listener closes; then
    /// drains, answers what is in flight, stores the last clicks, ends the tasks and closes the store, all
    /// within 8 seconds.
    pub async fn run(self, stop: impl Future<Output = Duration>) -> Result<(), StartError> {
        let Self {
            lifecycle,
            store,
            clicks,
            traces,
            server: Running(server),
            unusable,
            ..
        } = self;
        let handle = server.handle();
        // It may end by itself, and is looked at again after that.
        let mut server = server.fuse();
        let mut fault = None;
        let drain = tokio::select! {
            ended = &mut server => {
                ended.map_err(StartError::Server)?;
                Duration::ZERO
            }
            drain = stop => drain,
            Ok(err) = unusable => {
                fault = Some(StartError::Store(err));
                Duration::ZERO
            }
        };
        let asked = Instant::now();
        lifecycle.begin_drain();
        tracing::info!(
            drain_ms = u64::try_from(drain.as_millis()).unwrap_or(u64::MAX),
            "stopping: requests in flight are answered first"
        );
        let closing = async {
            tokio::time::sleep(drain).await;
            handle.stop(true).await;
        };
        tokio::select! {
            () = closing => {}
            // The server's future must be polled for the stop to come about.
            _ = async { let _ = (&mut server).await; std::future::pending::<()>().await } => {}
        }
        let left = CLICKS_BY.saturating_sub(asked.elapsed());
        let lost = clicks.finish(left.max(CLICKS_AT_LEAST)).await;
        // The requests and the last batch of clicks have ended, and so have their spans.
        let spans = async {
            match &traces {
                Some(traces) => traces.within(SPANS).await,
                None => true,
            }
        };
        let (tasks_ended, spans_sent) = futures_util::future::join(lifecycle.stop(TASKS), spans).await;
        if !tasks_ended {
            tracing::warn!("some tasks did not end in time");
        }
        if !spans_sent {
            tracing::warn!("the last spans were not sent in time");
        }
        store.close().await;
        tracing::info!("stopped");
        match fault {
            Some(fault) => Err(fault),
            None if lost > 0 => Err(StartError::ClicksLost(lost)),
            None => Ok(()),
        }
    }
}

/// Does the jobs of `curtail worker`: one round with `once`, else a round every hour until `stop`.
pub async fn work(
    config: &Config,
    clock: Arc<dyn Clock>,
    once: bool,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let store = store::open(&config.store).await?;
    let jobs = Housekeeping::new(&config.clicks, Arc::clone(&store), clock, Arc::default());
    let result = match jobs.check().await {
        Err(err) if once || matches!(err, StoreError::Schema { .. }) => Err(err.into()),
        // A store that is down now may be back at the next round.
        _ if !once => {
            worker::run(&jobs, &stop).await;
            Ok(())
        }
        _ if worker::round(&jobs, &stop).await => Ok(()),
        _ => Err(StartError::Settings(
            "some jobs failed, as the log says".to_owned(),
        )),
    };
    store.close().await;
    result
}
