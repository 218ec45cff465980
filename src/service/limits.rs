//! How often somebody may ask.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::{Caller, Error};
use crate::cache::Budgets;
use crate::config;
use crate::domain::{Clock, Rate, Taken};
use crate::telemetry::metrics::{Counter, Metrics};

/// The budgets that this instance keeps by itself. Beyond it those are dropped that are whole again.
const MAX_LOCAL: usize = 100_000;

/// The store look-ups a minute that all scanners share: addresses that have asked for too many unknown slugs.
const SCANNERS_PER_MINUTE: u32 = 300;

/// How long an address counts as a scanner after it was last refused, in microseconds.
const SCANNER_MICROS: i64 = 10_000_000;

/// The limits. One budget for all instances while the shared cache answers, one for each while it does not.
pub struct Limits {
    create: Option<Rate>,
    miss: Option<Rate>,
    shared: Option<Arc<dyn Budgets>>,
    /// For each budget, when it is whole again, in microseconds since 1970.
    local: Mutex<HashMap<String, i64>>,
    /// Until when each scanner is one, in microseconds since 1970; and until when there is any.
    scanners: Mutex<HashMap<String, i64>>,
    scanned_until: AtomicI64,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the names: they stand for addresses.
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Limits {
    /// The limits of the settings.
    pub fn new(
        config: &config::Limits,
        shared: Option<Arc<dyn Budgets>>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            create: Rate::per_minute(config.create_per_minute),
            miss: Rate::per_minute(config.miss_per_minute),
            shared,
            local: Mutex::default(),
            scanners: Mutex::default(),
            scanned_until: AtomicI64::new(i64::MIN),
            clock,
            metrics,
        }
    }

    /// Takes a request that makes links: of the caller's key, or of the address.
    pub async fn create(&self, caller: &Caller, address: IpAddr) -> Result<(), Error> {
        let who = match caller {
            Caller::Admin | Caller::Operator => "admin".to_owned(),
            Caller::Key(key) => format!("key:{}", key.id),
            Caller::Anonymous { .. } => network_of(address),
        };
        self.take("create", &who, self.create, &self.metrics.limited.create)
            .await
    }

    /// Takes an unknown slug.
    pub async fn miss(&self, address: IpAddr) -> Result<(), Error> {
        if self.miss.is_none() {
            return Ok(());
        }
        let who = network_of(address);
        let taken = self
            .take("miss", &who, self.miss, &self.metrics.limited.miss)
            .await;
        if taken.is_err() {
            self.remember_scanner(name_of("miss", &who));
        }
        taken
    }

    /// Whether the store may be asked for a slug that no cache knows. A scanner has to share a few look-ups with all
    /// others, so that guessing slugs does not become work for the database. Costs nothing while nobody scans.
    pub fn look_up(&self, address: IpAddr) -> Result<(), Error> {
        let now = self.clock.now().as_microsecond();
        let (Some(rate), true) = (self.miss, self.scanned_until.load(Ordering::Relaxed) > now) else {
            return Ok(());
        };
        let name = name_of("miss", &network_of(address));
        let scanners = self.scanners.lock().expect("limits lock poisoned");
        if scanners.get(&name).is_none_or(|until| *until <= now) {
            return Ok(());
        }
        drop(scanners);
        let shared = Rate::per_minute(SCANNERS_PER_MINUTE);
        match shared.map(|shared| self.take_here("scanners".to_owned(), shared)) {
            Some(taken) if !taken.granted => {
                let wait = i64::from(taken.retry_after) * 1_000_000;
                Err(Error::RateLimited(Taken::of(
                    rate,
                    false,
                    wait,
                    rate.all_micros(),
                )))
            }
            _ => Ok(()),
        }
    }

    fn remember_scanner(&self, name: String) {
        let now = self.clock.now().as_microsecond();
        let mut scanners = self.scanners.lock().expect("limits lock poisoned");
        if scanners.len() >= MAX_LOCAL {
            scanners.retain(|_, until| *until > now);
            if scanners.len() >= MAX_LOCAL {
                scanners.clear();
            }
        }
        scanners.insert(name, now + SCANNER_MICROS);
        self.scanned_until.store(now + SCANNER_MICROS, Ordering::Relaxed);
    }

    /// Takes a key that is not known.
    pub async fn wrong_key(&self, address: IpAddr) -> Result<(), Error> {
        self.take(
            "key",
            &network_of(address),
            self.create,
            &self.metrics.limited.key,
        )
        .await
    }

    async fn take(&self, what: &str, who: &str, rate: Option<Rate>, refused: &Counter) -> Result<(), Error> {
        let Some(rate) = rate else { return Ok(()) };
        let name = name_of(what, who);
        let shared = match &self.shared {
            Some(shared) => shared.take(&name, rate).await,
            None => None,
        };
        let taken = shared.unwrap_or_else(|| self.take_here(name, rate));
        if taken.granted {
            Ok(())
        } else {
            refused.add_one();
            Err(Error::RateLimited(taken))
        }
    }

    fn take_here(&self, name: String, rate: Rate) -> Taken {
        let now = self.clock.now().as_microsecond();
        let mut local = self.local.lock().expect("limits lock poisoned");
        if local.len() >= MAX_LOCAL && !local.contains_key(&name) {
            local.retain(|_, full| *full > now);
            if local.len() >= MAX_LOCAL {
                local.clear();
            }
        }
        let full = local.entry(name).or_insert(now);
        let (after, taken) = rate.take(*full, now);
        *full = after;
        taken
    }
}

/// The name of a budget. No address is kept anywhere as such.
fn name_of(what: &str, who: &str) -> String {
    let digest = Sha256::new()
        .chain_update(what)
        .chain_update([0])
        .chain_update(who)
        .finalize();
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An address, or the network that one customer has of IPv6.
pub(super) fn network_of(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = address.segments();
            format!(
                "{:x}:{:x}:{:x}:{:x}::/64",
                network[0], network[1], network[2], network[3]
            )
        }
    }
}
