//! The key object of the API.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{Key, KeyId};

/// A key as the API shows it. Field names are part of the contract.
#[derive(Serialize)]
pub(super) struct KeyBody<'a> {
    id: &'a KeyId,
    name: &'a str,
    scopes: Vec<&'static str>,
    own_links_only: bool,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl<'a> KeyBody<'a> {
    pub(super) fn new(key: &'a Key) -> Self {
        Self {
            id: &key.id,
            name: &key.name,
            scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
            own_links_only: key.own_links_only,
            expires_at: key.expires_at,
            created_at: key.created_at,
        }
    }
}
