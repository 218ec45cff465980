//! Random bytes for secrets.

use ring::rand::{SecureRandom, SystemRandom};

/// `N` bytes that cannot be predicted.
pub(super) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the operating system has random numbers");
    bytes
}
