//! Picks the caches that the settings ask for.

use std::path::Path;
use std::sync::Arc;

use deadpool_redis::redis::io::tcp::TcpSettings;
use deadpool_redis::redis::{Client, ConnectionAddr, IntoConnectionInfo, TlsCertificates};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::runtime::Handle;

use super::budget::RedisBudgets;
use super::redis::RedisCache;
use super::{Budgets, Cache, MemoryCache};
use crate::config::{self, ExposeSecret};
use crate::domain::Clock;
use crate::telemetry::metrics::Metrics;

/// What is wrong with the settings of the caches, by the variable's name. Connects to nothing.
#[must_use]
pub fn faults(config: &config::Cache) -> Vec<String> {
    config
        .redis
        .as_ref()
        .and_then(|redis| client(redis).err())
        .into_iter()
        .collect()
}

/// The in-process cache, unless it is turned off.
#[must_use]
pub fn memory(config: &config::Cache) -> Option<Arc<dyn Cache>> {
    (config.memory_entries > 0).then(|| Arc::new(MemoryCache::new(config.memory_entries)) as _)
}

/// The shared cache, if there is one. Does not wait for it: a Redis that is down is no reason not to start.
///
/// Its connections live on the runtime that this is called on, so that is to be the one that ends last.
pub fn shared(
    config: &config::Cache,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Cache>>, String> {
    let Some(redis) = &config.redis else {
        return Ok(None);
    };
    let runtime = Handle::try_current().map_err(|err| format!("the shared cache cannot be opened: {err}"))?;
    let cache = RedisCache::open(client(redis)?, &redis.key_prefix, runtime, metrics, clock)
        .map_err(|_| "REDIS_URL cannot be used by the Redis client".to_owned())?;
    Ok(Some(Arc::new(cache)))
}

/// Budgets in the shared cache, if there is one. They have a connection and a breaker of their own.
pub fn budgets(config: &config::Cache, metrics: Arc<Metrics>) -> Result<Option<Arc<dyn Budgets>>, String> {
    let Some(redis) = &config.redis else {
        return Ok(None);
    };
    let runtime = Handle::try_current().map_err(|err| format!("the shared cache cannot be opened: {err}"))?;
    let budgets = RedisBudgets::open(client(redis)?, &redis.key_prefix, runtime, metrics)
        .map_err(|_| "REDIS_URL cannot be used by the Redis client".to_owned())?;
    Ok(Some(Arc::new(budgets)))
}

/// The client's own errors may hold a part of the URL, so none of their text is passed on.
fn client(config: &config::Redis) -> Result<Client, String> {
    let mut info = (config.url.expose_secret().into_connection_info())
        .map_err(|_| "REDIS_URL is not valid: redis://, rediss:// or redis+unix://".to_owned())?;
    let login = info.redis_settings();
    if let Some(password) = &config.password
        && login.password().is_none_or(str::is_empty)
    {
        let login = login.clone().set_password(password.expose_secret());
        info = info.set_redis_settings(login);
    }
    info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let tls = match info.addr() {
        ConnectionAddr::TcpTls { insecure: true, .. } => {
            return Err("REDIS_URL is not valid: #insecure is refused, see REDIS_CA_FILE".to_owned());
        }
        ConnectionAddr::TcpTls { .. } => true,
        _ => false,
    };
    let client = match &config.ca_file {
        Some(_) if !tls => return Err("REDIS_CA_FILE is for a REDIS_URL that begins with rediss:".to_owned()),
        Some(path) => {
            let root_cert =
                Some(root_certificates(path).map_err(|reason| format!("REDIS_CA_FILE {reason}"))?);
            Client::build_with_tls(
                info,
                TlsCertificates {
                    client_tls: None,
                    root_cert,
                },
            )
            .map_err(|_| "REDIS_CA_FILE holds a certificate that cannot be a root".to_owned())
        }
        None => Client::open(info).map_err(|_| "REDIS_URL is not valid".to_owned()),
    };
    if tls {
        // The client asks for the process's provider and would panic without one. Another part of the process
        // may have installed the same one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    client
}

fn root_certificates(path: &Path) -> Result<Vec<u8>, String> {
    let pem = std::fs::read(path).map_err(|err| format!("names a file that cannot be read: {err}"))?;
    let mut certificates = CertificateDer::pem_slice_iter(&pem);
    // A file with none would trust nobody, and show only as a cache that never answers.
    match certificates.next() {
        Some(Ok(_)) => Ok(pem),
        Some(Err(_)) | None => Err("names a file without a PEM certificate".to_owned()),
    }
}
