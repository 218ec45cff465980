//! Floor 5: builds every part from the settings, binds, runs and stops. The only wiring.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Server;
use actix_web::http::header::HeaderName;
use actix_web::{App, HttpServer, web};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, StoreKind};
use crate::domain::{Clock, SystemClock};
use crate::http::{Build, Scrape, Services, routes};
use crate::lifecycle::Lifecycle;
use crate::service::{
    Blocklist, Clicks, Health, Housekeeping, Keys, Limits, Links, RandomSlugs, Resolver, Sessions,
    SlugSource, Stats,
};
use crate::store::{Store, StoreError};
use crate::telemetry::exposition::About;
use crate::telemetry::metrics::Metrics;
use crate::{cache, store, worker};

/// What this build is.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    git_commit: env!("CURTAIL_GIT_COMMIT"),
    build_time: env!("CURTAIL_BUILD_TIME"),
};

/// Time for requests in flight once the service has stopped listening.
const FINISH_SECONDS: u64 = 5;

/// When the last clicks must be stored, counted from the stop; but they get a second in any case.
const CLICKS_BY: Duration = Duration::from_millis(6500);
const CLICKS_AT_LEAST: Duration = Duration::from_secs(1);

/// Time for background tasks to end, after the last request and the last click.
const TASKS: Duration = Duration::from_millis(700);

/// How long an idle connection is kept. Longer on Cloud Run than its front end keeps its own: the side that
/// closes first may cut a request that is on its way.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
const KEEP_ALIVE_ON_CLOUD_RUN: Duration = Duration::from_secs(650);

/// Time between two questions to a store that has not answered yet.
const FIRST_CHECK: Duration = Duration::from_millis(50);
const SLOWEST_CHECK: Duration = Duration::from_secs(1);

/// What a test replaces.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes up slugs.
    pub slugs: Arc<dyn SlugSource>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            slugs: Arc::new(RandomSlugs),
            metrics: Arc::default(),
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
    #[error("{setting} {port} on LISTEN_ADDRESS {address} cannot be listened on: {cause}")]
    Bind {
        /// The setting that names the port.
        setting: &'static str,
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
    blocklist: Blocklist,
    server: Running,
    unusable: oneshot::Receiver<StoreError>,
}

struct Running(Server);

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}

impl Application {
    /// Builds the service and binds its port. Nothing is asked of Postgres or Redis yet.
    pub async fn build(config: Config, parts: Parts) -> Result<Self, StartError> {
        let lifecycle = Lifecycle::new();
        let store = store::open_measured(&config.store, &parts.metrics).await?;
        let memory = cache::memory(&config.cache);
        let shared = cache::shared(
            &config.cache,
            Arc::clone(&parts.metrics),
            Arc::clone(&parts.clock),
        )
        .map_err(StartError::Settings)?;
        let budgets =
            cache::budgets(&config.cache, Arc::clone(&parts.metrics)).map_err(StartError::Settings)?;
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
            &lifecycle,
        );
        if matches!(config.store.kind, StoreKind::Sqlite(_)) {
            // There is no second process that could: the file is this one's.
            let jobs = Housekeeping::new(&config.clicks, Arc::clone(&store), Arc::clone(&parts.clock));
            lifecycle.spawn(|stop| async move { worker::run(&jobs, &stop).await });
        }
        let blocklist = Blocklist::new(&config.links.blocked_domains);
        let health = Arc::new(Health::new(Arc::clone(&store), shared, lifecycle.clone()));
        let services = web::Data::new(Services {
            config: config.http.clone(),
            security: config.security.clone(),
            clock: Arc::clone(&parts.clock),
            keys: Keys::new(&config.access, Arc::clone(&store), Arc::clone(&parts.clock)),
            sessions: Sessions::new(&config.access, Arc::clone(&parts.clock)),
            limits: Limits::new(
                &config.limits,
                budgets,
                Arc::clone(&parts.clock),
                Arc::clone(&parts.metrics),
            ),
            links: Links::new(
                &config.links,
                blocklist.clone(),
                Arc::clone(&store),
                resolver.clone(),
                parts.slugs,
                Arc::clone(&parts.clock),
            ),
            resolver,
            clicks: clicks.clone(),
            country_header: config
                .clicks
                .country_header
                .as_deref()
                .and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok()),
            stats: Stats::new(Arc::clone(&store), Arc::clone(&parts.clock)),
            health: Arc::clone(&health),
            lifecycle: lifecycle.clone(),
            metrics: Arc::clone(&parts.metrics),
            build: BUILD,
        });
        let (port, server) = listen(&config, services)?;
        let metrics_port = (config.http.metrics_port)
            .map(|port| show_metrics(&config, port, parts.metrics, parts.clock.as_ref(), &lifecycle))
            .transpose()?;
        announce(&config, port, metrics_port);
        let unusable = watch_start(&lifecycle, health, config.store);
        Ok(Self {
            port,
            metrics_port,
            lifecycle,
            store,
            clicks,
            blocklist,
            server: Running(server),
            unusable,
        })
    }

    /// The port that is listened on: the one asked for, or the one that the system chose for 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
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
            server: Running(mut server),
            unusable,
            ..
        } = self;
        let handle = server.handle();
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
        clicks.finish(left.max(CLICKS_AT_LEAST)).await;
        if !lifecycle.stop(TASKS).await {
            tracing::warn!("some tasks did not end in time");
        }
        store.close().await;
        tracing::info!("stopped");
        fault.map_or(Ok(()), Err)
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
    let jobs = Housekeeping::new(&config.clicks, Arc::clone(&store), clock);
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

fn listen(config: &Config, services: web::Data<Services>) -> Result<(u16, Server), StartError> {
    let (address, port) = (config.http.address, config.http.port);
    let bind_error = |cause| StartError::Bind {
        setting: "PORT",
        port,
        address,
        cause,
    };
    let server = HttpServer::new(move || App::new().app_data(services.clone()).configure(routes))
        .keep_alive(if config.http.cloud_run {
            KEEP_ALIVE_ON_CLOUD_RUN
        } else {
            KEEP_ALIVE
        })
        .shutdown_timeout(FINISH_SECONDS)
        .disable_signals()
        .bind((address, port))
        .map_err(bind_error)?;
    let port = server.addrs().first().map_or(port, std::net::SocketAddr::port);
    Ok((port, server.run()))
}

/// Shows figures on a port of their own, until the tasks end: a stop can be watched too.
fn show_metrics(
    config: &Config,
    port: u16,
    metrics: Arc<Metrics>,
    clock: &dyn Clock,
    lifecycle: &Lifecycle,
) -> Result<u16, StartError> {
    let address = config.http.address;
    let (store, cache) = kinds(config);
    let about = About {
        version: BUILD.version,
        git_commit: BUILD.git_commit,
        store,
        cache,
        started: clock.now(),
    };
    let shown = Scrape { metrics, about };
    let (port, mut server) = shown.listen(address, port).map_err(|cause| StartError::Bind {
        setting: "METRICS_PORT",
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

/// The kinds of the store and of the shared cache.
fn kinds(config: &Config) -> (&'static str, &'static str) {
    let store = match config.store.kind {
        StoreKind::Sqlite(_) => "sqlite",
        StoreKind::Postgres(_) => "postgres",
    };
    let cache = if config.cache.redis.is_some() {
        "redis"
    } else {
        "none"
    };
    (store, cache)
}

fn announce(config: &Config, port: u16, metrics_port: Option<u16>) {
    let (store, cache) = kinds(config);
    let (version, commit) = (BUILD.version, BUILD.git_commit);
    tracing::info!(
        service.version = version,
        git.commit = commit,
        build.time = BUILD.build_time,
        store.kind = store,
        cache.kind = cache,
        metrics.port = metrics_port,
        "curtail {version} ({commit}) listens on {}:{port}, store {store}, shared cache {cache}",
        config.http.address,
    );
    if config.access.trial {
        tracing::info!(
            "trial mode: DATABASE_URL is unset, links are kept in ./data, only this machine is answered, no key is needed"
        );
    } else if config.access.admin_api_key.is_none() {
        tracing::warn!(
            "ADMIN_API_KEY is unset: the links API answers 401 to everybody without a key from `curtail keys create`"
        );
    }
}

/// Asks the store until it has answered once, and migrates it before if the settings say so. A schema that
/// this build does not know ends the service.
fn watch_start(
    lifecycle: &Lifecycle,
    health: Arc<Health>,
    config: config::Store,
) -> oneshot::Receiver<StoreError> {
    let (report, unusable) = oneshot::channel();
    lifecycle.spawn(|stop| async move {
        let watch = async {
            let mut pause = FIRST_CHECK;
            loop {
                if config.migrate_on_start
                    && let Err(err) = store::migrate(&config).await
                {
                    tracing::warn!(error = ?err, "the store could not be migrated yet: {err}");
                }
                match health.has_started().await {
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
