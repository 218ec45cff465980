//! How often somebody may ask.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use quick_cache::unsync::Cache as BoundedMap;
use ring::hmac;

use super::{Caller, Error, random};
use crate::cache::Budgets;
use crate::config;
use crate::domain::{Clock, Rate, Taken};
use crate::store::{SecretName, Store};
use crate::telemetry::metrics::{Counter, Metrics};

/// The most budgets, and the most scanners, that this instance keeps by itself. Beyond them those go that are used least:
/// however many addresses come, who comes often is still known.
const MAX_LOCAL: usize = if cfg!(test) { 1_000 } else { 100_000 };

/// The look-ups a minute that all suspects of one kind share.
const SUSPECTS_PER_MINUTE: u32 = 300;

/// How long a network is a suspect after it was last refused, in microseconds.
const SUSPECT_MICROS: i64 = 10_000_000;

/// Policies: their names are in the headers of answers, and are parts of the names of budgets.
const CREATE: &str = "create";
const MISS: &str = "miss";
const KEY: &str = "key";

/// The limits. One budget for all instances while the shared cache answers, one for each while it does not.
pub struct Limits {
    create: Option<Rate>,
    miss: Option<Rate>,
    wrong_key: Option<Rate>,
    shared: Option<SharedLimits>,
    /// For each budget, when it is whole again, in microseconds since 1970.
    local: Mutex<BoundedMap<Name, i64>>,
    /// Networks that asked for too many unknown slugs.
    scanners: Suspects,
    /// Networks that showed too many wrong keys.
    guessers: Suspects,
    /// Names budgets in this instance.
    names: hmac::Key,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// Time between two requests for the secret of the shared names, in microseconds.
const SECRET_AGAIN_MICROS: i64 = 1_000_000;

/// The budgets that all instances share, and the secret that names them, which the store keeps. Until it is known, this
/// instance counts by itself.
pub struct SharedLimits {
    budgets: Arc<dyn Budgets>,
    store: Arc<dyn Store>,
    names: OnceLock<hmac::Key>,
    /// When the store may be asked for the secret again, in microseconds since 1970.
    ask_at: AtomicI64,
}

impl fmt::Debug for SharedLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLimits").finish_non_exhaustive()
    }
}

impl SharedLimits {
    /// Budgets whose names are keyed by a secret of `store`.
    #[must_use]
    pub fn new(budgets: Arc<dyn Budgets>, store: Arc<dyn Store>) -> Self {
        Self {
            budgets,
            store,
            names: OnceLock::new(),
            ask_at: AtomicI64::new(i64::MIN),
        }
    }

    /// The key of the names, if it is known. One request at a time asks the store for it.
    async fn names(&self, now: i64) -> Option<&hmac::Key> {
        if let Some(names) = self.names.get() {
            return Some(names);
        }
        let ask_at = self.ask_at.load(Ordering::Relaxed);
        let next = now.saturating_add(SECRET_AGAIN_MICROS);
        let take_turn = || {
            let swapped = self
                .ask_at
                .compare_exchange(ask_at, next, Ordering::Relaxed, Ordering::Relaxed);
            swapped.is_ok()
        };
        if ask_at > now || !take_turn() {
            return None;
        }
        match self
            .store
            .shared_secret(SecretName::RateLimits, &random::bytes())
            .await
        {
            Ok(secret) => Some(
                self.names
                    .get_or_init(|| hmac::Key::new(hmac::HMAC_SHA256, &secret)),
            ),
            Err(err) => {
                tracing::debug!(error = %err, "rate limits are not shared yet: {err}");
                None
            }
        }
    }
}

/// The name of a budget: a keyed hash, since addresses are so few that each could be tried. No address is stored as such.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Name([u8; 16]);

impl Name {
    fn new(key: &hmac::Key, what: &str, who: &str) -> Self {
        let mut context = hmac::Context::with_key(key);
        context.update(what.as_bytes());
        context.update(&[0]);
        context.update(who.as_bytes());
        let mut name = [0; 16];
        name.copy_from_slice(&context.sign().as_ref()[..16]);
        Self(name)
    }

    fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Networks that were refused lately. They share a few look-ups, so that guessing is no work for the database, and finds little.
struct Suspects {
    /// Until when each is one, in microseconds since 1970.
    until: Mutex<BoundedMap<Name, i64>>,
    /// Until when there is any: nothing is hashed or locked while there is none.
    any_until: AtomicI64,
}

impl Suspects {
    fn new() -> Self {
        Self {
            until: Mutex::new(BoundedMap::new(MAX_LOCAL)),
            any_until: AtomicI64::new(i64::MIN),
        }
    }

    fn remember(&self, name: Name, now: i64) {
        let until = now + SUSPECT_MICROS;
        self.until.lock().insert(name, until);
        self.any_until.store(until, Ordering::Relaxed);
    }

    fn contain(&self, name: impl FnOnce() -> Name, now: i64) -> bool {
        self.any_until.load(Ordering::Relaxed) > now
            && self.until.lock().get(&name()).is_some_and(|until| *until > now)
    }
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
        shared: Option<SharedLimits>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            create: Rate::per_minute(config.create_per_minute),
            miss: Rate::per_minute(config.miss_per_minute),
            wrong_key: Rate::per_minute(config.wrong_key_per_minute),
            shared,
            local: Mutex::new(BoundedMap::new(MAX_LOCAL)),
            scanners: Suspects::new(),
            guessers: Suspects::new(),
            names: hmac::Key::new(hmac::HMAC_SHA256, &random::bytes::<32>()),
            clock,
            metrics,
        }
    }

    /// Takes a request that makes links: of the caller's key, or of the address. `None` is no limit.
    pub async fn create(&self, caller: &Caller, address: IpAddr) -> Result<Option<Taken>, Error> {
        let who = match caller {
            Caller::Admin | Caller::Operator => "admin".to_owned(),
            Caller::Key(key) => format!("key:{}", key.id),
            Caller::Anonymous { .. } => network_of(address),
        };
        self.take(CREATE, &who, self.create, &self.metrics.limited.create)
            .await
    }

    /// Takes an unknown slug.
    pub async fn miss(&self, address: IpAddr) -> Result<(), Error> {
        if self.miss.is_none() {
            return Ok(());
        }
        let who = network_of(address);
        let refused = &self.metrics.limited.miss;
        let taken = self.take(MISS, &who, self.miss, refused).await;
        if taken.is_err() {
            self.suspect(&self.scanners, MISS, &who);
        }
        taken.map(|_| ())
    }

    /// Whether the store may be asked for a slug that no cache knows. A scanner has to share a few look-ups with all
    /// others, so that guessing slugs does not become work for the database. Costs nothing while nobody scans.
    pub fn look_up(&self, address: IpAddr) -> Result<(), Error> {
        self.admit(&self.scanners, MISS, self.miss, address)
    }

    /// Takes a key that is not known.
    pub async fn wrong_key(&self, address: IpAddr) -> Result<(), Error> {
        let who = network_of(address);
        let refused = &self.metrics.limited.key;
        let taken = self.take(KEY, &who, self.wrong_key, refused).await;
        if taken.is_err() {
            self.suspect(&self.guessers, KEY, &who);
        }
        taken.map(|_| ())
    }

    /// Whether a key may be looked up that was not found right lately. Networks that showed too many wrong keys share a few
    /// look-ups: neither the database nor the key of the administrator is theirs to try as often as they like.
    pub fn check_key(&self, address: IpAddr) -> Result<(), Error> {
        let admitted = self.admit(&self.guessers, KEY, self.wrong_key, address);
        if admitted.is_err() {
            self.metrics.limited.key.add_one();
        }
        admitted
    }

    fn suspect(&self, suspects: &Suspects, what: &str, who: &str) {
        suspects.remember(self.name_of(what, who), self.clock.now().as_microsecond());
    }

    fn admit(
        &self,
        suspects: &Suspects,
        policy: &'static str,
        rate: Option<Rate>,
        address: IpAddr,
    ) -> Result<(), Error> {
        let now = self.clock.now().as_microsecond();
        let is_suspect = suspects.contain(|| self.name_of(policy, &network_of(address)), now);
        let (Some(rate), Some(shared), true) = (rate, Rate::per_minute(SUSPECTS_PER_MINUTE), is_suspect)
        else {
            return Ok(());
        };
        let taken = self.take_here(self.name_of("suspects", policy), shared);
        if taken.granted {
            return Ok(());
        }
        let wait = i64::from(taken.retry_after) * 1_000_000;
        let taken = Taken::of(rate, false, wait, rate.all_micros());
        Err(Error::RateLimited(Taken { policy, ..taken }))
    }

    async fn take(
        &self,
        policy: &'static str,
        who: &str,
        rate: Option<Rate>,
        refused: &Counter,
    ) -> Result<Option<Taken>, Error> {
        let Some(rate) = rate else { return Ok(None) };
        let taken = match self.take_shared(policy, who, rate).await {
            Some(taken) => taken,
            None => self.take_here(self.name_of(policy, who), rate),
        };
        let taken = Taken { policy, ..taken };
        if taken.granted {
            Ok(Some(taken))
        } else {
            refused.add_one();
            Err(Error::RateLimited(taken))
        }
    }

    async fn take_shared(&self, what: &str, who: &str, rate: Rate) -> Option<Taken> {
        let shared = self.shared.as_ref()?;
        let names = shared.names(self.clock.now().as_microsecond()).await?;
        shared
            .budgets
            .take(&Name::new(names, what, who).hex(), rate)
            .await
    }

    fn take_here(&self, name: Name, rate: Rate) -> Taken {
        let now = self.clock.now().as_microsecond();
        let mut local = self.local.lock();
        let full = local.get(&name).copied().unwrap_or(now);
        let (after, taken) = rate.take(full, now);
        local.insert(name, after);
        taken
    }

    fn name_of(&self, what: &str, who: &str) -> Name {
        Name::new(&self.names, what, who)
    }
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use super::{Limits, MAX_LOCAL, MISS};
    use crate::config;
    use crate::domain::ManualClock;

    fn limits() -> Limits {
        let config = config::Limits {
            create_per_minute: 2,
            miss_per_minute: 2,
            wrong_key_per_minute: 2,
        };
        Limits::new(&config, None, Arc::<ManualClock>::default(), Arc::default())
    }

    /// The 100,001st address cleared the budgets of all.
    #[tokio::test]
    async fn however_many_addresses_come_who_comes_often_keeps_to_its_budget() {
        let limits = limits();
        let often = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        for _ in 0..5 {
            let _ = limits.miss(often).await;
        }

        let mut granted = 0;
        for number in 0..(3 * MAX_LOCAL as u32) {
            let _ = limits
                .miss(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
                .await;
            if number % 10 == 0 {
                granted += u32::from(limits.miss(often).await.is_ok());
                assert!(limits.scanners.until.lock().len() <= MAX_LOCAL);
            }
        }

        assert_eq!(granted, 0);
        assert!(limits.local.lock().len() <= MAX_LOCAL);
        assert!(
            limits
                .scanners
                .until
                .lock()
                .peek(&limits.name_of(MISS, "192.0.2.1"))
                .is_some()
        );
    }
}
