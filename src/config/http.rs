//! Listening, addresses, proxies and headers of answers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use url::Url;

use super::cors::CorsOrigins;
use super::{Env, Place};

/// The HTTP server's settings.
#[derive(Debug, Clone)]
pub struct Http {
    /// Address to listen on.
    pub address: IpAddr,
    /// Port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Port of the metrics endpoint; 0 lets the system choose, `None` has no such endpoint.
    pub metrics_port: Option<u16>,
    /// IP address of the metrics endpoint.
    pub metrics_address: IpAddr,
    /// What short URLs begin with; `None` takes it from each request.
    pub base_url: Option<BaseUrl>,
    /// How many entries of `X-Forwarded-For`, from the right, were written by proxies of ours.
    pub trusted_proxy_hops: u64,
    /// How many requests of the API may be at work at once.
    pub api_concurrency: usize,
    /// How many exports may be under way at once.
    pub export_concurrency: usize,
    /// Value of `Referrer-Policy` on redirects; `None` sends none.
    pub referrer_policy: Option<String>,
    /// For how long browsers shall come over HTTPS alone, in seconds; 0 sends no `Strict-Transport-Security`.
    pub hsts_seconds: u32,
    /// Whose pages may read answers.
    pub cors_origins: CorsOrigins,
    /// Whether `/yourls-api.php` answers.
    pub yourls_api: bool,
    /// Name of the cookie of the web interface's sessions; `None` takes the default.
    pub session_cookie: Option<String>,
    /// Trial mode: answer only requests for a loopback host.
    pub trial: bool,
    /// Cloud Run's container contract holds.
    pub cloud_run: bool,
}

/// What short URLs begin with: scheme, host and port, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    host: String,
}

impl BaseUrl {
    /// The address of `path`, which begins without a slash.
    #[must_use]
    pub fn join(&self, path: &str) -> String {
        format!("{}/{path}", self.text)
    }

    /// The host, lower case, without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for BaseUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "a URL of scheme, host and port alone, such as https://go.example.com";
        let url = Url::parse(text).map_err(|_| WANTED)?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        match url.host_str() {
            Some(host) if plain => Ok(Self {
                host: host.to_owned(),
                text: url.as_str().trim_end_matches('/').to_owned(),
            }),
            _ => Err(WANTED),
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Seconds.
const YEAR: u64 = 365 * 24 * 60 * 60;

/// The values that <https://www.w3.org/TR/referrer-policy/> defines.
const REFERRER_POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "same-origin",
    "origin",
    "strict-origin",
    "origin-when-cross-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];

impl Http {
    pub(super) fn read(env: &mut Env, place: Place) -> Self {
        let default = if place.trial {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        let address = env.parsed_or("LISTEN_ADDRESS", IpAddr::V4(default));
        let referrer_policy = env.text("REFERRER_POLICY");
        if referrer_policy
            .as_deref()
            .is_some_and(|value| !REFERRER_POLICIES.contains(&value))
        {
            env.fault(
                "REFERRER_POLICY",
                format!("is not valid: one of {}", REFERRER_POLICIES.join(", ")),
            );
        }
        let base_url = env.parsed::<BaseUrl>("BASE_URL");
        if base_url.is_none() {
            env.remember("BASE_URL", None);
        }
        let port = env.parsed_or("PORT", 8080);
        let metrics_port = env.parsed::<u16>("METRICS_PORT");
        if metrics_port.is_none() {
            env.remember("METRICS_PORT", None);
        }
        if metrics_port == Some(port) && port != 0 {
            env.fault(
                "METRICS_PORT",
                "must not be PORT: what it shows is not for visitors",
            );
        }
        let metrics_address = env.parsed_or("METRICS_ADDRESS", address);
        Self {
            address,
            port,
            metrics_port,
            metrics_address,
            base_url,
            trusted_proxy_hops: env.number_or("TRUSTED_PROXY_HOPS", u64::from(place.cloud_run), 0..=16),
            api_concurrency: env.number_or("API_CONCURRENCY", 128, 1..=65_536),
            export_concurrency: env.number_or("EXPORT_CONCURRENCY", 4, 1..=1_024),
            referrer_policy,
            hsts_seconds: env.number_or("HSTS_SECONDS", YEAR, 0..=2 * YEAR),
            cors_origins: CorsOrigins::read(env, place),
            yourls_api: env.flag_or("YOURLS_API", false),
            session_cookie: session_cookie(env),
            trial: place.trial,
            cloud_run: place.cloud_run,
        }
    }
}

/// The most characters of `SESSION_COOKIE`.
const MAX_COOKIE_NAME: usize = 64;

/// A name of RFC 6265: visible ASCII characters without separators.
fn session_cookie(env: &mut Env) -> Option<String> {
    let name = env.text("SESSION_COOKIE")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.len() > MAX_COOKIE_NAME || !name.bytes().all(plain) {
        env.fault(
            "SESSION_COOKIE",
            format!("is not valid: at most {MAX_COOKIE_NAME} letters, digits and -_. without spaces"),
        );
    }
    Some(name)
}
