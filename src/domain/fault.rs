//! What is wrong with one field of a request.

/// One fault of one field, as the `errors` of a 422 answer list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// JSON Pointer (RFC 6901) to the field, such as `/url`.
    pub pointer: String,
    /// The stable code.
    pub code: FaultCode,
    /// A sentence for a person. Never repeats a secret.
    pub detail: String,
}

impl Fault {
    /// A fault of the field at `pointer`.
    pub fn new(pointer: impl Into<String>, code: FaultCode, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            code,
            detail: detail.into(),
        }
    }
}

/// The stable codes of field faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultCode {
    /// A required field is not there.
    Missing,
    /// The field is not one that this request has.
    UnknownField,
    /// The value has another JSON type than the field.
    WrongType,
    /// The text or the list is too long.
    TooLong,
    /// The number, time or choice is outside what the field takes.
    OutOfRange,
    /// The text is not an absolute URL.
    InvalidUrl,
    /// The URL's scheme is not `http` or `https`.
    SchemeNotAllowed,
    /// The URL carries a user name or a password.
    UserinfoNotAllowed,
    /// The URL's host is empty, malformed or private.
    HostNotAllowed,
    /// The URL's host is the service itself.
    OwnHost,
    /// The URL's host is on the deny-list.
    BlockedDomain,
    /// The slug has a character or a length that no slug has.
    SlugInvalid,
    /// The slug is kept for the service itself.
    SlugReserved,
    /// `valid_from` is not before `expires_at`.
    TimeOrder,
}

impl FaultCode {
    /// Every code.
    pub const ALL: [Self; 14] = [
        Self::Missing,
        Self::UnknownField,
        Self::WrongType,
        Self::TooLong,
        Self::OutOfRange,
        Self::InvalidUrl,
        Self::SchemeNotAllowed,
        Self::UserinfoNotAllowed,
        Self::HostNotAllowed,
        Self::OwnHost,
        Self::BlockedDomain,
        Self::SlugInvalid,
        Self::SlugReserved,
        Self::TimeOrder,
    ];

    /// The code as it stands in an answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::UnknownField => "unknown_field",
            Self::WrongType => "wrong_type",
            Self::TooLong => "too_long",
            Self::OutOfRange => "out_of_range",
            Self::InvalidUrl => "invalid_url",
            Self::SchemeNotAllowed => "scheme_not_allowed",
            Self::UserinfoNotAllowed => "userinfo_not_allowed",
            Self::HostNotAllowed => "host_not_allowed",
            Self::OwnHost => "own_host",
            Self::BlockedDomain => "blocked_domain",
            Self::SlugInvalid => "slug_invalid",
            Self::SlugReserved => "slug_reserved",
            Self::TimeOrder => "time_order",
        }
    }
}
