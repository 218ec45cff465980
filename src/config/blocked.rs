//! Where the blocked domains are listed.

use std::path::{Path, PathBuf};

use super::Env;
use crate::domain::DomainList;

/// The longest file that is read, in bytes: some hundred thousand domains.
const MAX_LEN: u64 = 16 * 1024 * 1024;

/// The settings of blocked domains.
#[derive(Debug, Clone)]
pub struct BlockedDomains {
    listed: DomainList,
    file: Option<PathBuf>,
    first: DomainList,
}

impl BlockedDomains {
    pub(super) fn read(env: &mut Env) -> Self {
        let listed = env.parsed::<DomainList>("BLOCKED_DOMAINS").unwrap_or_default();
        env.remember(
            "BLOCKED_DOMAINS",
            (!listed.is_empty()).then(|| listed.to_string()),
        );
        let file = env.text("BLOCKED_DOMAINS_FILE").map(PathBuf::from);
        let mut blocked = Self {
            first: listed.clone(),
            listed,
            file,
        };
        match blocked.read_again() {
            Ok(domains) => blocked.first = domains,
            Err(reason) => env.fault("BLOCKED_DOMAINS_FILE", reason),
        }
        blocked
    }

    /// The domains as they were listed at the start.
    #[must_use]
    pub fn at_start(&self) -> &DomainList {
        &self.first
    }

    /// The domains as they are listed now, or what is wrong with the file.
    pub fn read_again(&self) -> Result<DomainList, String> {
        match &self.file {
            Some(file) => Ok(read_file(file)?.and(&self.listed)),
            None => Ok(self.listed.clone()),
        }
    }
}

fn read_file(path: &Path) -> Result<DomainList, String> {
    let unreadable = |err| format!("names a file that cannot be read: {err}");
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_LEN {
        return Err(format!("names a file of more than {MAX_LEN} bytes"));
    }
    // Comments may be in another encoding. A name that is, is none.
    let bytes = std::fs::read(path).map_err(unreadable)?;
    String::from_utf8_lossy(&bytes)
        .parse::<DomainList>()
        .map_err(|err| format!("names a file whose {err}"))
}
