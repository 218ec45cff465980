//! Who may do what.

use secrecy::{ExposeSecret, SecretString};

use super::{Env, Place};

/// The settings of access.
#[derive(Debug, Clone)]
pub struct Access {
    /// The key with every scope.
    pub admin_api_key: Option<SecretString>,
    /// Under which sessions of the web interface are sealed.
    pub session_secret: Option<SecretString>,
    /// Whether links may be made without a key.
    pub anonymous_create: bool,
    /// Trial mode: no key is needed for anything.
    pub trial: bool,
}

/// The fewest characters of `ADMIN_API_KEY`.
const MIN_KEY_CHARS: usize = 24;

/// The fewest bytes of `SESSION_SECRET`.
const MIN_SECRET_LEN: usize = 32;

impl Access {
    pub(super) fn read(env: &mut Env, place: Place) -> Self {
        let admin_api_key = env.secret("ADMIN_API_KEY");
        if let Some(key) = &admin_api_key {
            let key = key.expose_secret();
            if key.chars().count() < MIN_KEY_CHARS {
                env.fault(
                    "ADMIN_API_KEY",
                    format!("is too short: at least {MIN_KEY_CHARS} characters"),
                );
            }
            if !key.bytes().all(|b| b.is_ascii_graphic()) {
                env.fault(
                    "ADMIN_API_KEY",
                    "is not valid: visible ASCII characters without spaces",
                );
            }
        }
        let session_secret = env.secret("SESSION_SECRET");
        if session_secret
            .as_ref()
            .is_some_and(|secret| secret.expose_secret().len() < MIN_SECRET_LEN)
        {
            env.fault(
                "SESSION_SECRET",
                format!("is too short: at least {MIN_SECRET_LEN} bytes"),
            );
        }
        Self {
            admin_api_key,
            session_secret,
            anonymous_create: env.flag_or("ANONYMOUS_CREATE", false),
            trial: place.trial,
        }
    }
}
