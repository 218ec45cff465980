//! The domains that no new link may lead to. They can be listed anew while the service runs.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::config;
use crate::domain::DomainList;

/// The blocked domains. Clones share them.
#[derive(Debug, Clone)]
pub struct Blocklist(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: config::BlockedDomains,
    current: RwLock<Arc<DomainList>>,
}

impl Blocklist {
    /// The domains that the settings list.
    #[must_use]
    pub fn new(config: &config::BlockedDomains) -> Self {
        warn_of(config.at_start());
        Self(Arc::new(Inner {
            current: RwLock::new(Arc::new(config.at_start().clone())),
            config: config.clone(),
        }))
    }

    /// The domains that are blocked now.
    #[must_use]
    pub fn current(&self) -> Arc<DomainList> {
        Arc::clone(&self.0.current.read())
    }

    /// Reads the list again. A list that cannot be used changes nothing.
    pub async fn reload(&self) {
        let inner = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || inner.config.read_again()).await;
        match read.unwrap_or_else(|err| Err(err.to_string())) {
            Ok(domains) => {
                let count = domains.len();
                warn_of(&domains);
                *self.0.current.write() = Arc::new(domains);
                tracing::info!(
                    blocked_domains.count = count,
                    "{count} domains are blocked from now on"
                );
            }
            Err(reason) => tracing::error!(
                blocked_domains.count = self.current().len(),
                "the blocked domains stay as they were: BLOCKED_DOMAINS_FILE {reason}"
            ),
        }
    }
}

fn warn_of(domains: &DomainList) {
    for remark in domains.remarks() {
        tracing::warn!(blocked_domains.count = domains.len(), "blocked domains: {remark}");
    }
}
