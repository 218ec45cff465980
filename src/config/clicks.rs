//! Clicks: how they are gathered, and how long they are kept.

use std::time::Duration;

use super::Env;

/// The settings of clicks.
#[derive(Debug, Clone)]
pub struct Clicks {
    /// How long a click waits for others before it is stored.
    pub flush: Duration,
    /// Different clicks that may wait for the store.
    pub buffer: usize,
    /// The memory that they may take.
    pub buffer_bytes: usize,
    /// The header in which a load balancer names the visitor's country, lower case.
    pub country_header: Option<String>,
    /// How long clicks and their sums are kept.
    pub retention_days: u32,
    /// How long a link that has expired is kept; `None` keeps it for ever.
    pub purge_after_days: Option<u32>,
    /// How long recorded changes of links and keys are kept.
    pub audit_retention_days: u32,
}

/// As long as a time in this program can be: some 1,000 years.
const MAX_DAYS: u64 = 365_000;

impl Clicks {
    pub(super) fn read(env: &mut Env) -> Self {
        let country_header = env.text("COUNTRY_HEADER").map(|name| name.to_ascii_lowercase());
        if country_header.as_deref().is_some_and(|name| {
            name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        }) {
            env.fault(
                "COUNTRY_HEADER",
                "is not valid: the name of a header, such as X-Country",
            );
        }
        let purge_after_days = env.parsed::<u32>("PURGE_AFTER_DAYS");
        match purge_after_days {
            None => env.remember("PURGE_AFTER_DAYS", None),
            Some(days) if u64::from(days) > MAX_DAYS => {
                env.fault(
                    "PURGE_AFTER_DAYS",
                    format!("is not valid: a number from 0 to {MAX_DAYS}"),
                );
            }
            Some(_) => {}
        }
        Self {
            flush: Duration::from_millis(env.number_or("CLICK_FLUSH_MS", 1000, 10..=60_000)),
            buffer: env.number_or("CLICK_BUFFER", 65_536, 1..=10_000_000),
            buffer_bytes: env.number_or::<usize>("CLICK_BUFFER_MIB", 16, 1..=4096) * 1024 * 1024,
            country_header,
            retention_days: env.number_or("CLICK_RETENTION_DAYS", 400, 1..=MAX_DAYS),
            purge_after_days,
            audit_retention_days: env.number_or("AUDIT_RETENTION_DAYS", 400, 1..=MAX_DAYS),
        }
    }
}
