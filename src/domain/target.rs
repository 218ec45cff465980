//! Where a link leads: what a target must be, and what it may not.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde::{Serialize, Serializer};
use url::{Host, Url};

use super::{DomainList, FaultCode, trim_invisible};

/// An absolute `http` or `https` URL, parsed and serialised by the WHATWG rules: visible ASCII, at most
/// [`TargetUrl::MAX_LEN`] bytes.
///
/// ```
/// use curtail::domain::{TargetError, TargetPolicy, TargetUrl};
///
/// let policy = TargetPolicy::default();
/// let target = TargetUrl::parse("HTTPS://münchen.example", &policy)?;
/// assert_eq!(target.as_str(), "https://xn--mnchen-3ya.example/");
/// assert_eq!(TargetUrl::parse("http://127.1/", &policy), Err(TargetError::Private));
/// # Ok::<(), TargetError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TargetUrl(Arc<str>);

/// Why a text is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is too long once serialised.
    #[error("a target has at most {most} bytes, and this one has {length} once percent-encoded")]
    TooLong {
        /// Its bytes.
        length: usize,
        /// The most bytes that are allowed.
        most: usize,
    },
    /// It holds a C0, C1 or DEL character.
    #[error("a target holds no control characters")]
    Control,
    /// It is no absolute URL.
    #[error("a target is an absolute URL, such as https://example.org/")]
    Invalid,
    /// It begins with two schemes, as after a paste. The second one would be the host.
    #[error("a target has one scheme, and this one has two in a row")]
    TwoSchemes,
    /// Its scheme is neither `http` nor `https`.
    #[error("a target begins with http: or https:")]
    Scheme,
    /// It carries a user name or a password.
    #[error("a target carries no user name and no password")]
    UserInfo,
    /// Its host has an empty label or another fault that URL parsers let pass.
    #[error("the target's host is malformed")]
    Host,
    /// Its host is a private, loopback, link-local or metadata address or name.
    #[error("the target's host is a private address")]
    Private,
    /// Its host is one of the service's own.
    #[error("the target's host is this service itself, which would loop")]
    OwnHost,
    /// Its host is on the deny-list.
    #[error("the target's domain is blocked")]
    Blocked,
}

impl TargetError {
    /// The stable code of this fault.
    #[must_use]
    pub fn code(self) -> FaultCode {
        match self {
            Self::TooLong { .. } => FaultCode::TooLong,
            Self::Control | Self::Invalid | Self::TwoSchemes => FaultCode::InvalidUrl,
            Self::Scheme => FaultCode::SchemeNotAllowed,
            Self::UserInfo => FaultCode::UserinfoNotAllowed,
            Self::Host | Self::Private => FaultCode::HostNotAllowed,
            Self::OwnHost => FaultCode::OwnHost,
            Self::Blocked => FaultCode::BlockedDomain,
        }
    }
}

/// Which well-formed targets are refused all the same.
#[derive(Debug, Clone, Copy)]
pub struct TargetPolicy<'a> {
    /// Hosts of the service, lower case, without ports.
    pub own_hosts: &'a [String],
    /// One more host of the service: the one that this request was sent to, without its port.
    pub request_host: Option<&'a str>,
    /// Blocked domains.
    pub blocked_domains: Option<&'a DomainList>,
    /// Whether private addresses are let through.
    pub allow_private: bool,
    /// The most bytes of the serialised URL, at most [`TargetUrl::MAX_LEN`].
    pub max_length: usize,
}

impl Default for TargetPolicy<'_> {
    fn default() -> Self {
        Self {
            own_hosts: &[],
            request_host: None,
            blocked_domains: None,
            allow_private: false,
            max_length: TargetUrl::DEFAULT_MAX_LEN,
        }
    }
}

impl TargetUrl {
    /// The most bytes that a policy can allow a serialised URL to have. Both stores and the caches hold as many.
    pub const MAX_LEN: usize = 32_768;

    /// The most bytes that a policy allows if it does not say.
    pub const DEFAULT_MAX_LEN: usize = 8192;

    /// The target that `text` spells, if `policy` lets it through. Invisible characters at its ends are left out.
    pub fn parse(text: &str, policy: &TargetPolicy<'_>) -> Result<Self, TargetError> {
        let text = trim_invisible(text);
        // The parser would drop some of these in silence.
        if text.chars().any(char::is_control) {
            return Err(TargetError::Control);
        }
        let url = Url::parse(text).map_err(|_| TargetError::Invalid)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::UserInfo);
        }
        check_host(&url, policy)?;
        check_length(url.as_str(), policy.max_length.min(Self::MAX_LEN))?;
        Ok(Self(url.as_str().into()))
    }

    /// A target read back from a store or a cache. It was parsed when it was written, so only what would
    /// harm a visitor or break the answer is checked again.
    pub fn from_stored(text: &str) -> Result<Self, TargetError> {
        check_length(text, Self::MAX_LEN)?;
        if !(text.starts_with("https://") || text.starts_with("http://")) {
            return Err(TargetError::Scheme);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TargetError::Control);
        }
        Ok(Self(text.into()))
    }

    /// The host, without its port and without the dot that ends an absolute name, as the serialised URL spells it.
    #[must_use]
    pub fn host(&self) -> &str {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        relative(match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        })
    }

    /// The serialised URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This target with a visitor's query string (without its question mark) appended to its own, before
    /// the fragment. What no query holds is percent-encoded, so the result is always a valid header value.
    #[must_use]
    pub fn with_query(&self, query: &str) -> String {
        let mut url = self.0.to_string();
        if query.is_empty() {
            return url;
        }
        let fragment = url.find('#').map(|at| url.split_off(at));
        if !url.contains('?') {
            url.push('?');
        } else if !url.ends_with(['?', '&']) {
            url.push('&');
        }
        for byte in query.bytes() {
            match byte {
                b'"' | b'#' | b'<' | b'>' | b'\'' => url.push_str(&format!("%{byte:02X}")),
                b if b.is_ascii_graphic() => url.push(char::from(b)),
                b => url.push_str(&format!("%{b:02X}")),
            }
        }
        url.push_str(fragment.as_deref().unwrap_or_default());
        url
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shows a target without its query and fragment, which may hold a secret of the person who shortened it.
impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.split(['?', '#']).next().unwrap_or_default(), f)
    }
}

impl Serialize for TargetUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

fn check_length(text: &str, most: usize) -> Result<(), TargetError> {
    let length = text.len();
    if length > most {
        return Err(TargetError::TooLong { length, most });
    }
    Ok(())
}

/// A name without the dot at the end that makes it absolute (RFC 3986, section 3.2.2): both mean the same host.
fn relative(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn check_host(url: &Url, policy: &TargetPolicy<'_>) -> Result<(), TargetError> {
    let host = relative(url.host_str().unwrap_or_default());
    let private = match url.host().ok_or(TargetError::Host)? {
        Host::Domain(_) => {
            if host.split('.').any(str::is_empty) {
                return Err(TargetError::Host);
            }
            if matches!(host, "http" | "https") {
                return Err(TargetError::TwoSchemes);
            }
            is_private_name(host)
        }
        Host::Ipv4(address) => is_private_v4(address),
        Host::Ipv6(address) => is_private_v6(address),
    };
    let own = policy
        .own_hosts
        .iter()
        .map(String::as_str)
        .chain(policy.request_host);
    if own
        .into_iter()
        .any(|own| relative(own).eq_ignore_ascii_case(host))
    {
        return Err(TargetError::OwnHost);
    }
    if private && !policy.allow_private {
        return Err(TargetError::Private);
    }
    if policy.blocked_domains.is_some_and(|blocked| blocked.covers(host)) {
        return Err(TargetError::Blocked);
    }
    Ok(())
}

/// Whether `host` is `domain` or one of its subdomains.
fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Names that lead to this machine or network: RFC 6761 (`localhost`), RFC 6762 (`local`), RFC 8375
/// (`home.arpa`), ICANN's `internal`, and the clouds' metadata names.
fn is_private_name(name: &str) -> bool {
    name == "metadata"
        || ["localhost", "localdomain", "local", "internal", "home.arpa"]
            .iter()
            .any(|domain| is_within(name, domain))
}

/// Addresses that are not global unicast: the IANA special-purpose registry (RFC 6890), IPv4.
fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || (a == 100 && (64..128).contains(&b)) // shared address space, RFC 6598
        || (a == 192 && b == 0 && c == 0) // protocol assignments, RFC 6890
        || (a == 198 && (18..20).contains(&b)) // benchmarking, RFC 2544
        || a >= 240 // reserved, RFC 1112
        || address == Ipv4Addr::new(168, 63, 129, 16) // Azure's platform address
}

/// Addresses that are not global unicast, IPv6. Forms that carry an IPv4 address are judged by it.
fn is_private_v6(address: Ipv6Addr) -> bool {
    let s = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_private_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low), // mapped, RFC 4291
        [0, 0, 0, 0, 0, 0, ..] => true,                            // unspecified, loopback, compatible
        [0, 0, 0, 0, 0xffff, 0, high, low] => embedded(high, low), // translated, RFC 2765
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low), // NAT64, RFC 6052
        [0x64, 0xff9b, 1, ..] => true,                             // local NAT64, RFC 8215
        [0x2002, high, low, ..] => embedded(high, low),            // 6to4, RFC 3056
        [0x2001, 0, ..] => true,                                   // Teredo, RFC 4380
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => true,     // documentation
        [0x100, 0, 0, 0, ..] => true,                              // discard, RFC 6666
        [first, ..] => (first & 0xe000) != 0x2000, // all but 2000::/3: fc00::/7, fe80::/10, ff00::/8
    }
}
