//! A secret that all instances share, and the keys that are derived from it.

use std::fmt;

use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::config;

/// `SESSION_SECRET`; without it a secret that follows from `ADMIN_API_KEY`; without either one that ends with the process.
pub struct FleetSecret {
    root: hmac::Key,
    is_shared: bool,
}

impl fmt::Debug for FleetSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetSecret")
            .field("is_shared", &self.is_shared)
            .finish_non_exhaustive()
    }
}

impl FleetSecret {
    /// The secret of the settings.
    #[must_use]
    pub fn new(config: &config::Access) -> Self {
        let given = config.session_secret.as_ref().or(config.admin_api_key.as_ref());
        let secret = given
            .cloned()
            .unwrap_or_else(|| SecretString::from(nanoid::nanoid!(43)));
        Self {
            root: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()),
            is_shared: given.is_some(),
        }
    }

    /// Whether other instances have it too.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The key for one purpose. It says nothing of the keys for others.
    pub(super) fn key(&self, purpose: &str) -> hmac::Tag {
        hmac::sign(&self.root, purpose.as_bytes())
    }
}
