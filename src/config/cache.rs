//! The caches.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::Env;

/// The caches' settings.
#[derive(Debug, Clone)]
pub struct Cache {
    /// The shared cache; `None` runs without one.
    pub redis: Option<Redis>,
    /// The most that the in-process cache takes; 0 turns it off.
    pub memory_bytes: u64,
    /// How long an entry of the in-process cache is fresh.
    pub memory_fresh: Duration,
    /// How long an entry of the shared cache is fresh.
    pub redis_fresh: Duration,
    /// How long either cache remembers that a slug is unknown.
    pub negative_fresh: Duration,
    /// How long past its freshness an entry may serve while the store is down.
    pub stale: Duration,
}

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct Redis {
    /// `redis://`, `rediss://` or `redis+unix://`, several of them for a cluster. It may hold a password.
    pub url: SecretString,
    /// Whether it leads to a Redis Cluster.
    pub cluster: bool,
    /// The password, when the URL has none.
    pub password: Option<SecretString>,
    /// A PEM file of the certificate authority that signed the server's certificate; `None` is the bundled
    /// public roots.
    pub ca_file: Option<PathBuf>,
    /// What the server's certificate must prove.
    pub verify: TlsVerify,
    /// What every key begins with, so that two services can share one server.
    pub key_prefix: String,
}

/// What a server's certificate must prove, beside that its owner holds the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVerify {
    /// That a trusted authority signed it for this host, as libpq's `verify-full`.
    Full,
    /// That a trusted authority signed it, as libpq's `verify-ca`.
    Ca,
}

impl FromStr for TlsVerify {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "full" => Ok(Self::Full),
            "ca" => Ok(Self::Ca),
            _ => Err("full or ca"),
        }
    }
}

impl fmt::Display for TlsVerify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Ca => "ca",
        })
    }
}

impl Cache {
    pub(super) fn read(env: &mut Env) -> Self {
        let url = env.secret_line("REDIS_URL");
        let cluster = env.flag_or("REDIS_CLUSTER", false);
        let password = env.secret_line("REDIS_PASSWORD");
        let ca_file = env.text("REDIS_CA_FILE").map(PathBuf::from);
        let verify = env.parsed_or("REDIS_TLS_VERIFY", TlsVerify::Full);
        let key_prefix = env.parsed_or("REDIS_KEY_PREFIX", "curtail:".to_owned());
        let seconds =
            |env: &mut Env, name, default| Duration::from_secs(env.number_or(name, default, 0..=31_536_000));
        Self {
            redis: url.map(|url| Redis {
                url,
                cluster,
                password,
                ca_file,
                verify,
                key_prefix,
            }),
            memory_bytes: env.number_or::<u64>("MEMORY_CACHE_MIB", 40, 0..=1_048_576) * 1024 * 1024,
            memory_fresh: seconds(env, "MEMORY_CACHE_SECONDS", 300),
            redis_fresh: seconds(env, "REDIS_CACHE_SECONDS", 300),
            negative_fresh: seconds(env, "NEGATIVE_CACHE_SECONDS", 10),
            stale: seconds(env, "STALE_SECONDS", 3600),
        }
    }
}
