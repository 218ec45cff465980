//! The rules of single fields, for new links and for changes alike.

use jiff::Timestamp;

use super::{
    Fault, FaultCode, Link, RedirectStatus, Slug, SlugError, SlugPolicy, TargetPolicy, TargetUrl,
    UnknownStatus,
};

pub(super) fn keep<T>(faults: &mut Vec<Fault>, result: Result<T, Fault>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}

pub(super) fn target(text: &str, policy: &TargetPolicy<'_>) -> Result<TargetUrl, Fault> {
    TargetUrl::parse(text, policy).map_err(|err| Fault::new("/url", err.code(), err.to_string()))
}

pub(super) fn slug(text: &str, policy: SlugPolicy) -> Result<Slug, Fault> {
    Slug::claim(text, policy).map_err(|err| {
        let code = match err {
            SlugError::Empty | SlugError::TooLong | SlugError::Char => FaultCode::SlugInvalid,
            SlugError::Reserved | SlugError::FinalZ => FaultCode::SlugReserved,
        };
        Fault::new("/slug", code, err.to_string())
    })
}

pub(super) fn length(n: i64) -> Result<u8, Fault> {
    u8::try_from(n)
        .ok()
        .filter(|_| Link::GENERATED_LEN.contains(&n))
        .ok_or_else(|| {
            Fault::new(
                "/length",
                FaultCode::OutOfRange,
                "a generated slug has 5 to 32 characters",
            )
        })
}

pub(super) fn title(text: String) -> Result<String, Fault> {
    check_text("/title", &text, Link::MAX_TITLE_CHARS)?;
    Ok(text)
}

pub(super) fn tags(tags: Vec<String>) -> Result<Vec<String>, Fault> {
    if tags.len() > Link::MAX_TAGS {
        let detail = format!("a link has at most {} tags", Link::MAX_TAGS);
        return Err(Fault::new("/tags", FaultCode::TooLong, detail));
    }
    for (at, tag) in tags.iter().enumerate() {
        let pointer = format!("/tags/{at}");
        if tag.is_empty() {
            return Err(Fault::new(
                pointer,
                FaultCode::OutOfRange,
                "a tag has at least one character",
            ));
        }
        check_text(&pointer, tag, Link::MAX_TAG_CHARS)?;
    }
    Ok(tags)
}

/// Postgres keeps no NUL in a text, so no text that is kept may hold one.
pub(super) fn check_text(pointer: &str, text: &str, max_chars: usize) -> Result<(), Fault> {
    if text.chars().count() > max_chars {
        return Err(Fault::new(
            pointer,
            FaultCode::TooLong,
            format!("at most {max_chars} characters"),
        ));
    }
    if text.contains('\0') {
        return Err(Fault::new(
            pointer,
            FaultCode::OutOfRange,
            "the text holds a NUL character",
        ));
    }
    Ok(())
}

pub(super) fn redirect_status(code: i64) -> Result<RedirectStatus, Fault> {
    code.try_into()
        .map_err(|err: UnknownStatus| Fault::new("/redirect_status", FaultCode::OutOfRange, err.to_string()))
}

pub(super) fn cache_seconds(n: i64) -> Result<u32, Fault> {
    u32::try_from(n)
        .ok()
        .filter(|_| n <= Link::MAX_CACHE_SECONDS)
        .ok_or_else(|| {
            let detail = format!("0 to {} seconds", Link::MAX_CACHE_SECONDS);
            Fault::new("/cache_seconds", FaultCode::OutOfRange, detail)
        })
}

pub(super) fn max_clicks(n: i64) -> Result<i64, Fault> {
    if n >= 1 {
        Ok(n)
    } else {
        Err(Fault::new(
            "/max_clicks",
            FaultCode::OutOfRange,
            "a click limit is at least 1",
        ))
    }
}

/// Keeps whole microseconds, the finest unit of both stores, from 1970 on.
pub(super) fn time(pointer: &str, time: Timestamp) -> Result<Timestamp, Fault> {
    Timestamp::from_microsecond(time.as_microsecond())
        .ok()
        .filter(|time| *time >= Timestamp::UNIX_EPOCH)
        .ok_or_else(|| {
            Fault::new(
                pointer,
                FaultCode::OutOfRange,
                "a time is in the years 1970 to 9999",
            )
        })
}

pub(super) fn time_order(valid_from: Option<Timestamp>, expires_at: Option<Timestamp>) -> Option<Fault> {
    let (start, end) = (valid_from?, expires_at?);
    (start >= end).then(|| {
        Fault::new(
            "/expires_at",
            FaultCode::TimeOrder,
            "expires_at must be after valid_from",
        )
    })
}
