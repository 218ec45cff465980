//! How often somebody may ask.

use super::Env;

/// The limits' settings.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests a minute that make links, of a key or, without one, of an address; 0 is no limit.
    pub create_per_minute: u32,
    /// Unknown slugs a minute that an address may ask for; 0 is no limit.
    pub miss_per_minute: u32,
    /// Wrong keys a minute that may come from an address. Never without a limit.
    pub wrong_key_per_minute: u32,
}

impl Limits {
    pub(super) fn read(env: &mut Env) -> Self {
        let rate = |env: &mut Env, name, default| env.number_or(name, default, 0..=1_000_000);
        Self {
            create_per_minute: rate(env, "CREATE_RATE_PER_MINUTE", 60),
            miss_per_minute: rate(env, "MISS_RATE_PER_MINUTE", 120),
            wrong_key_per_minute: env.number_or("WRONG_KEY_RATE_PER_MINUTE", 30, 1..=1_000_000),
        }
    }
}
