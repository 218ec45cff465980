//! Entries as bytes.

use std::sync::Arc;
use std::time::Duration;

use curtail::cache::{CodecError, Entry, Known, decode, encode};
use curtail::domain::{
    Clock, ManualClock, Period, Rank, Redirect, RedirectStatus, Revision, Slug, TargetUrl,
};

fn sample_slug() -> Slug {
    "launch-2026".parse().unwrap()
}

/// Entries of one slug that differ in every field.
pub fn samples_of(slug: &Slug) -> Vec<Entry> {
    let now = ManualClock::default().now();
    let entry = |known| Entry {
        known,
        read_at: now - Duration::from_millis(3),
        fresh_until: now,
        stale_until: now + Duration::from_secs(3600),
    };
    let plain = Redirect {
        slug: slug.clone(),
        revision: Revision::new(1),
        target: TargetUrl::from_stored("https://example.org/").unwrap(),
        status: RedirectStatus::Found,
        cache_seconds: None,
        forward_query: false,
        period: Period::default(),
        limited: false,
        disabled: false,
    };
    let longest = format!("https://example.org/{}", "x".repeat(TargetUrl::MAX_LEN - 20));
    let link = |redirect| entry(Known::Link(Arc::new(redirect)));
    vec![
        entry(Known::Absent(Rank::UNSEEN)),
        entry(Known::Absent(Rank::of_deletion(Revision::new(1)))),
        entry(Known::Absent(Rank::of_deletion(Revision::new(i64::MAX)))),
        link(plain.clone()),
        link(Redirect {
            revision: Revision::new(i64::MAX),
            ..plain.clone()
        }),
        link(Redirect {
            target: TargetUrl::from_stored(&longest).unwrap(),
            ..plain.clone()
        }),
        link(Redirect {
            status: RedirectStatus::Permanent,
            cache_seconds: Some(31_536_000),
            ..plain.clone()
        }),
        link(Redirect {
            status: RedirectStatus::MovedPermanently,
            forward_query: true,
            ..plain.clone()
        }),
        link(Redirect {
            status: RedirectStatus::Temporary,
            limited: true,
            ..plain.clone()
        }),
        link(Redirect {
            disabled: true,
            period: Period::new(Some(now), None),
            ..plain.clone()
        }),
        link(Redirect {
            period: Period::new(None, Some(now)),
            ..plain.clone()
        }),
        link(Redirect {
            cache_seconds: Some(0),
            forward_query: true,
            period: Period::new(Some(now), Some(now + Duration::from_micros(1))),
            limited: true,
            disabled: true,
            ..plain
        }),
    ]
}

fn samples() -> Vec<Entry> {
    samples_of(&sample_slug())
}

/// The sample with every field.
fn full() -> (Slug, Vec<u8>) {
    (sample_slug(), encode(&sample_slug(), samples().last().unwrap()))
}

/// The bytes with what stands `at` a distance from the end of the header replaced.
fn patched(at: usize, with: &[u8]) -> Result<Entry, CodecError> {
    let (slug, mut bytes) = full();
    let start = 22 + slug.as_str().len() + 1 + at;
    bytes[start..start + with.len()].copy_from_slice(with);
    decode(&slug, &bytes)
}

#[test]
fn every_entry_comes_back() {
    for entry in samples() {
        assert_eq!(decode(&sample_slug(), &encode(&sample_slug(), &entry)), Ok(entry));
    }
}

/// The layout is shared with other versions that run at the same time: a change of it changes the format.
#[test]
fn the_layout_is_pinned() {
    let slug: Slug = "a".parse().unwrap();
    let redirect = Redirect {
        slug: slug.clone(),
        revision: Revision::new(7),
        target: TargetUrl::from_stored("http://b/").unwrap(),
        status: RedirectStatus::Found,
        cache_seconds: Some(60),
        forward_query: true,
        period: Period::default(),
        limited: false,
        disabled: false,
    };
    let at = |micros| jiff::Timestamp::from_microsecond(micros).unwrap();
    let entry = Entry {
        known: Known::Link(Arc::new(redirect)),
        read_at: at(1),
        fresh_until: at(2),
        stale_until: at(3),
    };

    let bytes = encode(&slug, &entry);

    let header = b"C200000000000000000014a\n\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03";
    let body = b"\x01\0\0\0\0\0\0\0\x07\x01\x2e\x09\0\0\0\x3c\0\x09http://b/";
    assert_eq!(bytes, [header.as_slice(), body].concat());
}

#[test]
fn another_slugs_value_is_refused() {
    let (_, bytes) = full();

    for other in ["launch-2025", "launch-202", "launch-20266", "LAUNCH-2026", "l"] {
        assert_eq!(
            decode(&other.parse().unwrap(), &bytes),
            Err(CodecError::Slug),
            "{other}"
        );
    }
}

#[test]
fn another_version_is_refused() {
    let (slug, mut bytes) = full();
    bytes[1] = b'1';

    assert_eq!(decode(&slug, &bytes), Err(CodecError::Format));
    assert_eq!(
        decode(&slug, b"{\"slug\":\"launch-2026\"}"),
        Err(CodecError::Format)
    );
}

#[test]
fn every_cut_is_refused() {
    for entry in samples() {
        let bytes = encode(&sample_slug(), &entry);
        for length in 0..bytes.len() {
            assert!(
                decode(&sample_slug(), &bytes[..length]).is_err(),
                "{length} of {}",
                bytes.len()
            );
        }
    }
}

#[test]
fn bytes_behind_the_end_are_refused() {
    for entry in samples() {
        let mut bytes = encode(&sample_slug(), &entry);
        bytes.push(0);

        assert_eq!(decode(&sample_slug(), &bytes), Err(CodecError::Long));
    }
}

/// A header that says more than the body would keep later writes out.
#[test]
fn a_rank_that_does_not_fit_is_refused() {
    for (rank, sample) in [
        ("00000000000000000004", 3),
        ("00000000000000000002", 0),
        ("+0000000000000000002", 3),
    ] {
        let mut bytes = encode(&sample_slug(), &samples()[sample]);
        bytes[2..22].copy_from_slice(rank.as_bytes());

        assert_eq!(
            decode(&sample_slug(), &bytes),
            Err(CodecError::Field("rank")),
            "{rank}"
        );
    }
}

#[test]
fn impossible_fields_are_refused() {
    assert!(patched(0, &[]).is_ok());
    assert_eq!(
        patched(0, &i64::MAX.to_be_bytes()),
        Err(CodecError::Field("read_at"))
    );
    assert_eq!(
        patched(8, &i64::MAX.to_be_bytes()),
        Err(CodecError::Field("fresh_until"))
    );
    assert_eq!(
        patched(16, &i64::MIN.to_be_bytes()),
        Err(CodecError::Field("stale_until"))
    );
    assert_eq!(patched(24, &[2]), Err(CodecError::Field("kind")));
    assert_eq!(
        patched(25, &(-1_i64).to_be_bytes()),
        Err(CodecError::Field("revision"))
    );
    assert_eq!(
        patched(33, &200_u16.to_be_bytes()),
        Err(CodecError::Field("status"))
    );
    assert_eq!(patched(35, &[0xff]), Err(CodecError::Field("flags")));
    assert_eq!(
        patched(36, &31_536_001_u32.to_be_bytes()),
        Err(CodecError::Field("cache_seconds"))
    );
    assert_eq!(
        patched(40, &i64::MAX.to_be_bytes()),
        Err(CodecError::Field("valid_from"))
    );
    assert_eq!(
        patched(48, &i64::MAX.to_be_bytes()),
        Err(CodecError::Field("expires_at"))
    );
}

/// A cache that somebody else can write to must not send a visitor to a script.
#[test]
fn a_harmful_target_is_refused() {
    let harmful: [&[u8]; 4] = [
        b"javascript:alert(1)/",
        b"https://a/\r\nX-A: bc",
        b"data:text/html,12345",
        b"https://example.or\xff/",
    ];
    for target in harmful {
        assert_eq!(
            patched(58, target),
            Err(CodecError::Field("target")),
            "{target:?}"
        );
    }
}

#[test]
fn no_flipped_byte_panics_or_becomes_another_slugs() {
    let (slug, bytes) = full();
    for at in 0..bytes.len() {
        for flip in 1..=u8::MAX {
            let mut flipped = bytes.clone();
            flipped[at] ^= flip;
            if let Ok(Entry {
                known: Known::Link(redirect),
                ..
            }) = decode(&slug, &flipped)
            {
                assert_eq!(redirect.slug, slug);
            }
        }
    }
}

#[test]
fn no_noise_panics() {
    let mut rng = fastrand::Rng::with_seed(11);
    let (slug, bytes) = full();
    for _ in 0..100_000 {
        let mut noise = bytes[..rng.usize(..=bytes.len())].to_vec();
        for _ in 0..rng.usize(..8) {
            let at = rng.usize(..=noise.len());
            noise.insert(at, rng.u8(..));
        }
        let _ = decode(&slug, &noise);
    }
}
