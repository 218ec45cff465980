//! From the settings of the store to what tokio-postgres and the pools need.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, Host, SslMode, SslNegotiation};

use super::class::{Class, IDLE_IN_TRANSACTION_MS, TimeLimits};
use super::conninfo::Conninfo;
use super::tls::{Proof, Roots, Tls};
use crate::config;

/// What a connection is for first, which decides the time limits of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Statements that find a row by its key, for which somebody waits.
    Reads,
    /// Statements that write.
    Writes,
    /// Batches of clicks, and maintenance.
    Clicks,
    /// Migrations, whose statements may take as long as they need.
    Migration,
}

impl Purpose {
    /// The purpose of connections that belong to a class first.
    pub(super) fn of(class: Class) -> Self {
        match class {
            Class::Read | Class::Search => Self::Reads,
            Class::Write | Class::LimitedClick => Self::Writes,
            Class::Click | Class::Maintenance => Self::Clicks,
        }
    }

    fn time_limits(self) -> Option<TimeLimits> {
        match self {
            Self::Reads => Some(Class::Read.time_limits()),
            Self::Writes => Some(Class::Write.time_limits()),
            Self::Clicks => Some(Class::Click.time_limits()),
            Self::Migration => None,
        }
    }
}

/// The settings of PostgreSQL, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    config: Config,
    pub(super) tls: Tls,
    pub(super) pool_size: usize,
    /// Whether a transaction-mode pooler stands between.
    pub(super) pooler: bool,
    /// The role that a migration grants what the service needs.
    pub(super) service_role: Option<config::ServiceRole>,
}

/// The options that tokio-postgres takes, and those that are handled here.
const OPTIONS: [&str; 20] = [
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslmode",
    "sslrootcert",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// Options of libpq and of other programs. Only these are repeated in a fault: any other word may be a piece
/// of a password that was not escaped.
const FOREIGN_OPTIONS: [&str; 22] = [
    "client_encoding",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "keepalives_count",
    "krbsrvname",
    "passfile",
    "pgbouncer",
    "pool_timeout",
    "replication",
    "require_auth",
    "requiressl",
    "schema",
    "search_path",
    "service",
    "sslcert",
    "sslcompression",
    "sslcrl",
    "sslkey",
    "sslpassword",
    "sslsni",
    "statement_timeout",
];

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVES_RETRIES: u32 = 3;

/// What is wrong with the settings, by variable, without their values.
pub(in crate::store) fn faults(section: &config::Postgres) -> Vec<String> {
    Settings::read(section).err().unwrap_or_default()
}

impl Settings {
    /// Checks a section; on failure its faults, by variable, without their values.
    pub fn read(section: &config::Postgres) -> Result<Self, Vec<String>> {
        let named = |reason: &dyn std::fmt::Display| vec![format!("DATABASE_URL {reason}")];
        let conninfo = Conninfo::parse(section.url.expose_secret()).map_err(|reason| named(&reason))?;
        let unknown: Vec<String> = unknown_options(&conninfo);
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let mut config: Config = conninfo.rest.parse().map_err(|err| named(&parse_fault(&err)))?;
        if let (None, Some(password)) = (config.get_password(), &section.password) {
            config.password(password.expose_secret());
        }
        set_timeouts(&mut config, &conninfo).map_err(|reason| named(&reason))?;
        check_hosts(&mut config).map_err(|reason| named(&reason))?;
        let tls = encryption(&mut config, &conninfo).map_err(|reason| named(&reason))?;
        if config.get_application_name().is_none() {
            config.application_name("curtail");
        }
        Ok(Self {
            config,
            tls,
            pool_size: section.pool_size.max(1),
            pooler: section.transaction_pooler,
            service_role: section.service_role.clone(),
        })
    }

    /// What a connection for `purpose` asks of the server. The settings of the session go into the startup
    /// message, before the options of the URL, so that the URL has the last word. A transaction-mode pooler
    /// may refuse such options, or hand the session to somebody else, so behind one there are none of ours.
    #[must_use]
    pub fn config(&self, purpose: Purpose) -> Config {
        let timeouts = match purpose.time_limits() {
            Some(TimeLimits { statement, lock }) => format!(
                "-c statement_timeout={statement} -c lock_timeout={lock} \
                 -c idle_in_transaction_session_timeout={IDLE_IN_TRANSACTION_MS}"
            ),
            None => "-c statement_timeout=0".to_owned(),
        };
        let mut config = self.config.clone();
        if !self.pooler {
            match self.config.get_options() {
                Some(own) => config.options(format!("{timeouts} {own}")),
                None => config.options(timeouts),
            };
        }
        config
    }

    /// What begins a transaction with these time limits. Those that the options of the URL set are left to it.
    pub(super) fn begin(&self, limits: TimeLimits) -> String {
        let own = self.config.get_options().unwrap_or_default();
        let limits = [
            ("statement_timeout", limits.statement),
            ("lock_timeout", limits.lock),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MS),
        ];
        let mut sql = "BEGIN".to_owned();
        for (name, limit) in limits.into_iter().filter(|(name, _)| !own.contains(name)) {
            // Writing to a string does not fail.
            let _ = write!(sql, "; SET LOCAL {name} = {limit}");
        }
        sql
    }
}

fn unknown_options(conninfo: &Conninfo) -> Vec<String> {
    let unknown = conninfo
        .names
        .iter()
        .filter(|name| !OPTIONS.contains(&name.as_str()));
    let mut faults: Vec<String> = unknown
        .map(|name| match FOREIGN_OPTIONS.contains(&name.as_str()) {
            true if name == "statement_timeout" || name == "search_path" => {
                format!("DATABASE_URL has the option {name}, which goes into options=-c {name}=...")
            }
            true => format!("DATABASE_URL has the option {name}, which is not supported"),
            false => "DATABASE_URL has an option that is not known".to_owned(),
        })
        .collect();
    faults.dedup();
    faults
}

/// tokio-postgres names the option of a bad value, and never the value; its other messages repeat characters.
fn parse_fault(err: &tokio_postgres::Error) -> String {
    let cause = err.source().map(ToString::to_string).unwrap_or_default();
    if cause.starts_with("invalid value for option") {
        format!("is not valid: {cause}")
    } else {
        "is not valid: a postgres:// URL, or key=value text".to_owned()
    }
}

fn set_timeouts(config: &mut Config, conninfo: &Conninfo) -> Result<(), &'static str> {
    if !conninfo.has("connect_timeout") {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    let tcp_user_timeout = match &conninfo.tcp_user_timeout {
        None => TCP_USER_TIMEOUT,
        Some(text) => text
            .parse()
            .map(Duration::from_millis)
            .map_err(|_| "is not valid: invalid value for option `tcp_user_timeout` (milliseconds)")?,
    };
    if !tcp_user_timeout.is_zero() {
        config.tcp_user_timeout(tcp_user_timeout);
    }
    if !conninfo.has("keepalives_idle") {
        config.keepalives_idle(KEEPALIVES_IDLE);
    }
    if !conninfo.has("keepalives_interval") {
        config.keepalives_interval(KEEPALIVES_INTERVAL);
    }
    if !conninfo.has("keepalives_retries") {
        config.keepalives_retries(KEEPALIVES_RETRIES);
    }
    Ok(())
}

/// Refuses what tokio-postgres would refuse at every connection, or would not do right.
fn check_hosts(config: &mut Config) -> Result<(), &'static str> {
    if config.get_hosts().is_empty() {
        // TLS needs a host's name, and takes an address for one.
        for address in config.get_hostaddrs().to_vec() {
            config.host(address.to_string());
        }
    }
    let hosts = config.get_hosts().len();
    let sockets = config
        .get_hosts()
        .iter()
        .filter(|host| matches!(host, Host::Unix(_)))
        .count();
    let addresses = config.get_hostaddrs().len();
    if hosts == 0 {
        Err("names no host")
    } else if sockets != 0 && (sockets != hosts || addresses != 0) {
        Err("names both a socket directory and a host: one kind at a time, since sockets have no TLS")
    } else if addresses != 0 && addresses != hosts {
        Err("has another number of hostaddr than of host")
    } else if config.get_ports().len() > 1 && config.get_ports().len() != hosts {
        Err("has another number of ports than of hosts")
    } else {
        Ok(())
    }
}

/// Chooses the encryption by libpq's rules, and sets the mode that tokio-postgres has for it. As there, a
/// given `sslrootcert` is used in every mode. Otherwise than there, `prefer` never goes on in plain text
/// after a handshake has failed, only if the server has no TLS.
fn encryption(config: &mut Config, conninfo: &Conninfo) -> Result<Tls, String> {
    let roots = match conninfo.sslrootcert.as_deref() {
        None | Some("system") => Roots::Public,
        Some(path) => Roots::File(PathBuf::from(path)),
    };
    let system = conninfo.sslrootcert.as_deref() == Some("system");
    let private = matches!(roots, Roots::File(_));
    let default = if system { "verify-full" } else { "prefer" };
    let (mode, proof) = match conninfo.sslmode.as_deref().unwrap_or(default) {
        "disable" => (SslMode::Disable, Proof::Nothing),
        "prefer" if !system => (
            SslMode::Prefer,
            if private { Proof::Chain } else { Proof::Nothing },
        ),
        "require" if !system => (
            SslMode::Require,
            if private { Proof::Chain } else { Proof::Nothing },
        ),
        "verify-ca" if private => (SslMode::Require, Proof::Chain),
        "verify-full" => (SslMode::Require, Proof::ChainAndName),
        "prefer" | "require" => {
            return Err("has a weak sslmode with sslrootcert=system: use verify-full".to_owned());
        }
        "verify-ca" => {
            let reason = "has sslmode=verify-ca without the sslrootcert of a private authority: \
                          any public certificate would pass, so use verify-full";
            return Err(reason.to_owned());
        }
        _ => {
            return Err(
                "has an unknown sslmode: disable, prefer, require, verify-ca or verify-full".to_owned(),
            );
        }
    };
    let direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
    let off = mode == SslMode::Disable || matches!(config.get_hosts(), [Host::Unix(_), ..]);
    config.ssl_mode(if off { SslMode::Disable } else { mode });
    if off && config.get_channel_binding() == ChannelBinding::Require {
        return Err("has channel_binding=require without TLS".to_owned());
    }
    if off {
        return Ok(Tls::Off);
    }
    if direct && mode == SslMode::Prefer {
        return Err("has sslnegotiation=direct with a weak sslmode: use require or verify-full".to_owned());
    }
    Tls::on(proof, &roots, direct)
}
