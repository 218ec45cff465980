//! `POST /api/v1/keys`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::key::KeyBody;
use super::link::answer;
use crate::domain::{Fault, FaultCode, KeyDraft};
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::body::{self, Fields};
use crate::http::openapi::Operation;
use crate::http::problem::Problem;
use crate::service::{Error, Scope};

/// A key that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedKey)]
struct Body<'a> {
    #[serde(flatten)]
    about: KeyBody<'a>,
    /// The secret, shown this once.
    key: &'a str,
}

/// Makes a key.
pub(in crate::http) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysAdmin)?;
    let body = body::json(&request, payload, body::LIMIT).await?;
    let draft = draft(body).map_err(Error::InvalidKey)?;
    let issued = services.keys.create(&caller, draft).await?;
    Ok(answer(StatusCode::CREATED).json(Body {
        about: KeyBody::new(&issued.key),
        key: issued.secret.expose_secret(),
    }))
}

fn draft(body: Value) -> Result<KeyDraft, Vec<Fault>> {
    let mut fields = Fields::of(body)?;
    let missing = ["name", "scopes"].map(|name| (name, !fields.has(name)));
    for (name, _) in missing.iter().filter(|(_, missing)| *missing) {
        fields.fault(name, FaultCode::Missing, "a key needs this");
    }
    let (name, scopes) = (fields.text("name"), fields.texts("scopes"));
    let draft = KeyDraft {
        name: fields.required("name", name).unwrap_or_default(),
        scopes: fields.required("scopes", scopes).unwrap_or_default(),
        own_links_only: fields.flag("own_links_only").flatten().unwrap_or_default(),
        expires_at: fields.time("expires_at").flatten(),
    };
    fields.finish()?;
    Ok(draft)
}

/// A key to be made.
#[derive(ToSchema)]
#[schema(as = NewKey)]
#[expect(dead_code, reason = "for the document: `draft` reads the fields one by one")]
struct NewKeyBody {
    /// A name for people, which is not blank.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(min_items = 1)]
    scopes: Vec<Scope>,
    /// Hide other links than those it made from it. Not together with `keys:admin`.
    own_links_only: Option<bool>,
    /// Of no use from this time on, which is still to come.
    expires_at: Option<Timestamp>,
}

pub(in crate::http) fn described() -> Operation {
    const KEY: &str = r#"{
        "id": "k3yExAmPlE", "name": "shop", "scopes": ["links:create", "links:read"], "own_links_only": true,
        "expires_at": null, "created_at": "2026-11-21T02:00:00Z", "key": "ctl_0123456789ABCDEFabcdef0123456789"
    }"#;
    const NEW: &str = r#"{"name": "shop", "scopes": ["links:create", "links:read"], "own_links_only": true}"#;
    Operation::of_api("POST", "/keys", "createKey", "Make a key", Scope::KeysAdmin)
        .group("keys")
        .takes::<NewKeyBody>("application/json", NEW)
        .answers::<Body<'_>>(StatusCode::CREATED, "The key, with its secret", KEY)
        .problems(&["invalid_key", "outcome_unknown"])
}
