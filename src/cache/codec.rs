//! An entry as bytes, and back: versioned, and naming the slug it belongs to.
//!
//! ```text
//! C2 00000000000000000014 launch \n   format, rank in 20 decimal digits, slug, line feed; without the spaces
//! read_at fresh_until stale_until     i64 microseconds each; all numbers are big-endian
//! kind                                u8: 0 absent, which ends here; 1 link
//! revision status flags               i64, u16, u8
//! [cache_seconds] [valid_from] [expires_at]   u32, i64, i64; each there if its flag is set
//! length target                       u16 and so many bytes
//! ```
//!
//! The header is text so that a script inside Redis can compare it. The rank is decimal because Lua compares
//! texts by the server's locale, and every locale agrees on the order of digits.

use std::ops::Range;
use std::str::from_utf8;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Entry, Known};
use crate::domain::{Link, Period, Rank, Redirect, RedirectStatus, Revision, Slug, TargetUrl};

/// Opens every value. A change of the layout changes it.
pub(super) const FORMAT: &[u8] = b"C2";
/// Where the rank stands in a value.
const RANK: Range<usize> = 2..22;

const ABSENT: u8 = 0;
const LINK: u8 = 1;

const FORWARD_QUERY: u8 = 1;
const LIMITED: u8 = 1 << 1;
const DISABLED: u8 = 1 << 2;
const CACHE_SECONDS: u8 = 1 << 3;
const VALID_FROM: u8 = 1 << 4;
const EXPIRES_AT: u8 = 1 << 5;
const ALL_FLAGS: u8 = FORWARD_QUERY | LIMITED | DISABLED | CACHE_SECONDS | VALID_FROM | EXPIRES_AT;

/// Why bytes are not taken for an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It does not open with the format that this version writes.
    #[error("the value is of another format")]
    Format,
    /// It belongs to another slug.
    #[error("the value belongs to another slug")]
    Slug,
    /// It ends too early.
    #[error("the value is cut short")]
    Short,
    /// It goes on after its end.
    #[error("the value has bytes behind its end")]
    Long,
    /// A field has a value that it cannot have.
    #[error("the value's {0} is not possible")]
    Field(&'static str),
}

/// A rank as it stands in a header.
pub(super) fn rank_text(rank: Rank) -> String {
    format!("{:020}", rank.get())
}

/// How many bytes of a value are its header.
pub(super) fn header_len(slug: &Slug) -> usize {
    RANK.end + slug.as_str().len() + 1
}

/// The end of a header, which names the slug.
pub(super) fn slug_line(slug: &Slug) -> String {
    format!("{slug}\n")
}

/// The bytes of `entry`. Its times are cut to whole microseconds.
#[must_use]
pub fn encode(slug: &Slug, entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(FORMAT);
    bytes.extend_from_slice(rank_text(entry.known.rank()).as_bytes());
    bytes.extend_from_slice(slug.as_str().as_bytes());
    bytes.push(b'\n');
    put_time(&mut bytes, entry.read_at);
    put_time(&mut bytes, entry.fresh_until);
    put_time(&mut bytes, entry.stale_until);
    match &entry.known {
        Known::Absent(_) => bytes.push(ABSENT),
        Known::Link(redirect) => {
            bytes.push(LINK);
            put_redirect(&mut bytes, redirect);
        }
    }
    bytes
}

fn put_redirect(bytes: &mut Vec<u8>, redirect: &Redirect) {
    let flags = [
        (redirect.forward_query, FORWARD_QUERY),
        (redirect.limited, LIMITED),
        (redirect.disabled, DISABLED),
        (redirect.cache_seconds.is_some(), CACHE_SECONDS),
        (redirect.period.valid_from().is_some(), VALID_FROM),
        (redirect.period.expires_at().is_some(), EXPIRES_AT),
    ];
    bytes.extend_from_slice(&redirect.revision.get().to_be_bytes());
    bytes.extend_from_slice(&redirect.status.code().to_be_bytes());
    bytes.push(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum());
    if let Some(seconds) = redirect.cache_seconds {
        bytes.extend_from_slice(&seconds.to_be_bytes());
    }
    for time in [redirect.period.valid_from(), redirect.period.expires_at()]
        .into_iter()
        .flatten()
    {
        put_time(bytes, time);
    }
    let target = redirect.target.as_str().as_bytes();
    let length = u16::try_from(target.len()).expect("a target has at most 32,768 bytes");
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(target);
}

fn put_time(bytes: &mut Vec<u8>, time: Timestamp) {
    bytes.extend_from_slice(&time.as_microsecond().to_be_bytes());
}

/// The slug that `bytes` say they belong to, if it is one.
pub(super) fn slug_in(bytes: &[u8]) -> Option<Slug> {
    let rest = bytes.get(RANK.end..)?;
    let end = rest.iter().position(|&byte| byte == b'\n')?;
    from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// The entry of `slug` that `bytes` hold. Whoever wrote them is not trusted: a field that could harm a
/// visitor or hide a later write is refused.
pub fn decode(slug: &Slug, bytes: &[u8]) -> Result<Entry, CodecError> {
    let mut rest = bytes.strip_prefix(FORMAT).ok_or(CodecError::Format)?;
    let rank = take_rank(&mut rest)?;
    rest = rest
        .strip_prefix(slug.as_str().as_bytes())
        .and_then(|rest| rest.strip_prefix(b"\n"))
        .ok_or(CodecError::Slug)?;
    let read_at = take_time(&mut rest, "read_at")?;
    let fresh_until = take_time(&mut rest, "fresh_until")?;
    let stale_until = take_time(&mut rest, "stale_until")?;
    let known = match take(&mut rest)? {
        [ABSENT] => Known::Absent(rank),
        [LINK] => Known::Link(Arc::new(take_redirect(slug, &mut rest)?)),
        _ => return Err(CodecError::Field("kind")),
    };
    if !rest.is_empty() {
        return Err(CodecError::Long);
    }
    // The script inside Redis goes by the header alone, so it must not say more than the body.
    let fits = match &known {
        Known::Link(_) => known.rank() == rank,
        // A deletion comes right after a link's revision, whose rank is even.
        Known::Absent(_) => rank == Rank::UNSEEN || rank.get() % 2 == 1,
    };
    if fits {
        Ok(Entry {
            known,
            read_at,
            fresh_until,
            stale_until,
        })
    } else {
        Err(CodecError::Field("rank"))
    }
}

fn take_redirect(slug: &Slug, rest: &mut &[u8]) -> Result<Redirect, CodecError> {
    let revision = i64::from_be_bytes(take(rest)?);
    if revision < 0 {
        return Err(CodecError::Field("revision"));
    }
    let status = i64::from(u16::from_be_bytes(take(rest)?));
    let status = RedirectStatus::try_from(status).map_err(|_| CodecError::Field("status"))?;
    let [flags] = take(rest)?;
    if flags & !ALL_FLAGS != 0 {
        return Err(CodecError::Field("flags"));
    }
    let is_set = |flag| flags & flag != 0;
    let cache_seconds = is_set(CACHE_SECONDS)
        .then(|| take(rest).map(u32::from_be_bytes))
        .transpose()?;
    if cache_seconds.is_some_and(|seconds| i64::from(seconds) > Link::MAX_CACHE_SECONDS) {
        return Err(CodecError::Field("cache_seconds"));
    }
    let valid_from = is_set(VALID_FROM)
        .then(|| take_time(rest, "valid_from"))
        .transpose()?;
    let expires_at = is_set(EXPIRES_AT)
        .then(|| take_time(rest, "expires_at"))
        .transpose()?;
    let length = usize::from(u16::from_be_bytes(take(rest)?));
    let (target, behind) = rest.split_at_checked(length).ok_or(CodecError::Short)?;
    *rest = behind;
    let target = from_utf8(target)
        .ok()
        .and_then(|text| TargetUrl::from_stored(text).ok());
    Ok(Redirect {
        slug: slug.clone(),
        revision: Revision::new(revision),
        target: target.ok_or(CodecError::Field("target"))?,
        status,
        cache_seconds,
        forward_query: is_set(FORWARD_QUERY),
        period: Period::new(valid_from, expires_at),
        limited: is_set(LIMITED),
        disabled: is_set(DISABLED),
    })
}

fn take_rank(rest: &mut &[u8]) -> Result<Rank, CodecError> {
    let digits: [u8; RANK.end - RANK.start] = take(rest)?;
    // `parse` would take a sign as well.
    let digits = from_utf8(&digits)
        .ok()
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number = digits
        .and_then(|text| text.parse().ok())
        .ok_or(CodecError::Field("rank"))?;
    Ok(Rank::from_number(number))
}

fn take_time(rest: &mut &[u8], name: &'static str) -> Result<Timestamp, CodecError> {
    Timestamp::from_microsecond(i64::from_be_bytes(take(rest)?)).map_err(|_| CodecError::Field(name))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CodecError> {
    let (head, behind) = rest.split_first_chunk::<N>().ok_or(CodecError::Short)?;
    *rest = behind;
    Ok(*head)
}
