//! How often somebody may ask.

use super::Env;

/// The limits' settings. 0 is no limit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests a minute that make links, of a key or, without one, of an address. So many wrong keys a minute
    /// may come from an address, too.
    pub create_per_minute: u32,
    /// Unknown slugs a minute that an address may ask for.
    pub miss_per_minute: u32,
}

impl Limits {
    pub(super) fn read(env: &mut Env) -> Self {
        let rate = |env: &mut Env, name, default| env.number_or(name, default, 0..=1_000_000);
        Self {
            create_per_minute: rate(env, "CREATE_RATE_PER_MINUTE", 60),
            miss_per_minute: rate(env, "MISS_RATE_PER_MINUTE", 120),
        }
    }
}
