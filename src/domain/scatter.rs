//! Numbers as texts that say nothing of what they are, and show when they were typed wrong. They are no secret.

use jiff::Timestamp;

/// An odd number, so that multiplying by it can be undone.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;
/// `SCATTER * GATHER` is 1, modulo 2^64.
const GATHER: u64 = 0xf1de_83e1_9937_733d;

/// The number as 24 hexadecimal digits.
pub(super) fn scatter(number: i64) -> String {
    let scattered = number.cast_unsigned().wrapping_mul(SCATTER);
    format!("{scattered:016x}{:08x}", check(scattered))
}

/// The number that [`scatter`] made `text` of.
pub(super) fn gather(text: &str) -> Option<i64> {
    if text.len() != 24 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let scattered = u64::from_str_radix(&text[..16], 16).ok()?;
    (text[16..] == format!("{:08x}", check(scattered))).then(|| scattered.wrapping_mul(GATHER).cast_signed())
}

/// The time whose microseconds [`scatter`] made `text` of; none before 1970.
pub(super) fn gather_time(text: &str) -> Option<Timestamp> {
    let micros = gather(text).filter(|micros| *micros >= 0)?;
    Timestamp::from_microsecond(micros).ok()
}

fn check(scattered: u64) -> u32 {
    let mixed = (scattered ^ (scattered >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    u32::try_from(mixed >> 32).unwrap_or_default()
}
