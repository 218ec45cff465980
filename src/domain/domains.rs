//! Domains: names that stand for all their subdomains too.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use url::Host;

use super::block_rule::BlockRule;

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
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self(Host::<String>::Ipv6(address).to_string().into()));
        }
        let host = Host::parse(text).map_err(|_| NoDomain)?;
        if let Host::Domain(name) = &host
            && !name.split('.').all(is_label)
        {
            return Err(NoDomain);
        }
        Ok(Self(host.to_string().into()))
    }
}

/// Letters, digits, hyphens (RFC 1123, section 2.1) and underscores, which some names have. Parsers of URLs let more pass.
fn is_label(label: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !label.is_empty() && label.bytes().all(is_of_name)
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
pub struct DomainList {
    domains: HashSet<Domain>,
    /// Lines that say something else than to block a domain.
    other_lines: usize,
    /// The first line with a domain of a single label.
    broad_line: Option<usize>,
}

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
            if self.domains.contains(name) {
                return true;
            }
            rest = name.split_once('.').map(|(_, above)| above);
        }
        false
    }

    /// The domains of both lists.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.domains.extend(other.domains.iter().cloned());
        self.other_lines += other.other_lines;
        self.broad_line = self.broad_line.or(other.broad_line);
        self
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.domains.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// What an operator may not expect of the list.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let others = (self.other_lines > 0).then(|| {
            format!(
                "{} lines block no whole domain (exceptions, single pages or parts of pages) and are left out",
                self.other_lines
            )
        });
        let broad = self.broad_line.map(|line| {
            format!("line {line} blocks a single label, such as a top-level domain, with everything below it")
        });
        others.into_iter().chain(broad).collect()
    }
}

impl FromStr for DomainList {
    type Err = BadList;

    /// Domains between commas, spaces and line breaks. What follows a `#` on its line is a comment. Lines of hosts files and
    /// of ad blockers that block a whole domain are read too.
    fn from_str(text: &str) -> Result<Self, BadList> {
        let mut list = Self::default();
        for (line, at) in text.lines().zip(1..) {
            match BlockRule::read(line) {
                BlockRule::Other => list.other_lines += 1,
                BlockRule::Domains(words) => {
                    for word in words {
                        let domain: Domain = word.parse().map_err(|_| BadList { line: at })?;
                        if !domain.as_str().contains(['.', ':']) {
                            list.broad_line = list.broad_line.or(Some(at));
                        }
                        list.domains.insert(domain);
                    }
                }
            }
        }
        Ok(list)
    }
}

impl fmt::Display for DomainList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut domains: Vec<&str> = self.domains.iter().map(Domain::as_str).collect();
        domains.sort_unstable();
        f.write_str(&domains.join(","))
    }
}
