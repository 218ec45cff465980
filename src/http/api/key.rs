//! The key object of the API.

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{Key, KeyId, Scope};

/// A key as the API shows it. Field names are part of the contract.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyAbout)]
pub(super) struct KeyBody<'a> {
    #[schema(value_type = KeyId)]
    id: &'a KeyId,
    name: &'a str,
    #[schema(value_type = Vec<Scope>)]
    scopes: Vec<&'static str>,
    /// Whether other links than those it made are hidden from it.
    own_links_only: bool,
    /// Of no use from this time on.
    #[schema(required = true)]
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
