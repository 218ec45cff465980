//! Values of the shared cache: what is taken is written again as the same bytes.
#![no_main]

use curtail::cache::{decode, encode};
use curtail::domain::{Rank, Revision, Slug};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| {
    let (text, rest) = input;
    let Ok(slug) = text.parse::<Slug>() else { return };
    // As they come, and behind a header that fits, so that the fields are reached.
    let revision = rest
        .get(25..33)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, i64::from_be_bytes);
    let rank = match rest.get(24) {
        Some(1) => Rank::of_link(Revision::new(revision)),
        _ => Rank::of_deletion(Revision::new(revision)),
    };
    let whole = [format!("C2{:020}{slug}\n", rank.get()).as_bytes(), rest].concat();
    for bytes in [rest, &whole] {
        if let Ok(entry) = decode(&slug, bytes) {
            let written = encode(&slug, &entry);
            assert_eq!(decode(&slug, &written), Ok(entry));
        }
    }
});
