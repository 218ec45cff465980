//! Domains: names that stand for all their subdomains too.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use url::Host;

/// A domain as a parsed target spells it: lower case, punycode. An address stands for itself alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Box<str>);

/// A text that is no domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a domain is a host name, such as example.org")]
pub struct NoDomain;

impl Domain {
    /// The domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `host` is this domain or one of its subdomains.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        host.strip_suffix(&*self.0)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl FromStr for Domain {
    type Err = NoDomain;

    /// Takes `*.example.org` and `.example.org` for the domain too, as other lists spell it.
    fn from_str(text: &str) -> Result<Self, NoDomain> {
        let text = text.strip_prefix('*').unwrap_or(text);
        let text = text.strip_prefix('.').unwrap_or(text);
        let text = text.strip_suffix('.').unwrap_or(text);
        let host = Host::parse(text).map_err(|_| NoDomain)?.to_string();
        if host.split('.').any(str::is_empty) {
            return Err(NoDomain);
        }
        Ok(Self(host.into()))
    }
}

impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Domains to be refused. Asking costs the same however many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DomainList(HashSet<Domain>);

/// A list with a line that holds something else than domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not valid: host names separated by commas, spaces or line breaks")]
pub struct BadList {
    /// The first such line, counted from 1.
    pub line: usize,
}

impl DomainList {
    /// Whether `host` is one of the domains or below one.
    #[must_use]
    pub fn covers(&self, host: &str) -> bool {
        let mut rest = Some(host);
        while let Some(name) = rest {
            if self.0.contains(name) {
                return true;
            }
            rest = name.split_once('.').map(|(_, above)| above);
        }
        false
    }

    /// The domains of both lists.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for DomainList {
    type Err = BadList;

    /// Domains between commas, spaces and line breaks. What follows a `#` on its line is a comment.
    fn from_str(text: &str) -> Result<Self, BadList> {
        let mut domains = HashSet::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            for word in line.split(|c: char| c == ',' || c.is_whitespace()) {
                if !word.is_empty() {
                    domains.insert(word.parse().map_err(|_| BadList { line: at + 1 })?);
                }
            }
        }
        Ok(Self(domains))
    }
}

impl fmt::Display for DomainList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut domains: Vec<&str> = self.0.iter().map(Domain::as_str).collect();
        domains.sort_unstable();
        f.write_str(&domains.join(","))
    }
}
