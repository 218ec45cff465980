//! `POST /api/v1/keys`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::Value;

use super::key::KeyBody;
use super::link::answer;
use crate::domain::{Fault, FaultCode, KeyDraft};
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::body::{self, Fields};
use crate::http::problem::Problem;
use crate::service::{Actor, Error, Scope};

#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    about: KeyBody<'a>,
    /// Shown this once.
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
    let issued = services.keys.create(Actor::Caller(&caller), draft).await?;
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
