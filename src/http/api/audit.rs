//! `GET /api/v1/audit`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{KnownFormat, SchemaFormat};

use super::link::answer;
use crate::domain::{Actor, AuditCursor, AuditPage, AuditQuery, AuditRecord, ChangeKind, KeyId, Slug};
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::openapi::{Operation, number, text, word};
use crate::http::problem::Problem;
use crate::http::query::{MalformedQuery, Parameters};
use crate::service::Scope;

/// Changes of a page, if the client does not say.
const DEFAULT_LIMIT: u8 = 50;
/// The most changes of a page.
const MAX_LIMIT: u8 = 200;

/// A page of changes, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditRecords)]
struct Body<'a> {
    changes: Vec<RecordBody<'a>>,
    /// The `cursor` of the next page; `null` on the last. A page with filters may be short, or empty, and still have a next
    /// one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A change of a link or an API key, or a sign-in.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditRecord)]
struct RecordBody<'a> {
    /// When it was made, by the database's clock.
    changed_at: Timestamp,
    /// What it did: `link.created`, `link.updated`, `link.disabled`, `link.enabled`, `link.deleted`, `link.restored`,
    /// `link.purged`, `key.created`, `key.revoked`, `session.opened`, `session.closed`, `session.refused` (a sign-in with
    /// a key that is not valid) or `sessions.rotated`.
    #[schema(value_type = String)]
    kind: ChangeKind,
    /// Who made it: `admin`, `key:` and the key's id, `anonymous`, `operator` (the command line) or `system` (maintenance).
    #[schema(value_type = String)]
    actor: &'a Actor,
    /// The link's slug; `null` for a change of a key or a session.
    #[schema(required = true)]
    slug: Option<&'a Slug>,
    /// The revision that the change gave the link, or its deletion; `null` for a change of a key or a session.
    #[schema(required = true)]
    revision: Option<i64>,
    /// The key that was created or revoked, or whose session it is; `null` for a change of a link, and for a session of
    /// `ADMIN_API_KEY`.
    #[schema(required = true)]
    key_id: Option<&'a KeyId>,
}

impl<'a> RecordBody<'a> {
    fn new(record: &'a AuditRecord) -> Self {
        Self {
            changed_at: record.changed_at,
            kind: record.kind,
            actor: &record.actor,
            slug: record.slug.as_ref(),
            revision: record.revision.map(|revision| revision.get()),
            key_id: record.key_id.as_ref(),
        }
    }
}

/// Lists the recorded changes, newest first.
pub(in crate::http) async fn list(
    request: HttpRequest,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysAdmin)?;
    let query = query(request.query_string())?;
    let AuditPage { records, next } = services.audit.list(&query).await?;
    Ok(answer(StatusCode::OK).json(Body {
        changes: records.iter().map(RecordBody::new).collect(),
        next_cursor: next.map(|cursor| cursor.to_string()),
    }))
}

fn query(text: &str) -> Result<AuditQuery, MalformedQuery> {
    let mut parameters = Parameters::of(text)?;
    let limit = parameters.parsed::<u8>("limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(MalformedQuery(format!("limit is 1 to {MAX_LIMIT}.")));
    }
    // Nothing was recorded before, and no database knows every year that can be written.
    let time = |time: Timestamp| time.max(Timestamp::UNIX_EPOCH);
    let query = AuditQuery {
        limit,
        after: parameters.parsed::<AuditCursor>("cursor")?,
        slug: parameters.parsed::<Slug>("slug")?,
        actor: parameters.parsed::<Actor>("actor")?,
        kind: parameters.parsed::<ChangeKind>("kind")?,
        since: parameters.time("since")?.map(time),
        until: parameters.time("until")?.map(time),
    };
    parameters.finish()?;
    Ok(query)
}

pub(in crate::http) fn described() -> Operation {
    let time = |about| text(about).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let limit =
        number(1, MAX_LIMIT.into(), "The most changes of a page.").default(Some(DEFAULT_LIMIT.into()));
    Operation::of_api(
        "GET",
        "/audit",
        "listChanges",
        "List the changes of links and API keys, and the sign-ins, newest first",
        Scope::KeysAdmin,
    )
    .group("keys")
    .in_query("limit", limit)
    .in_query(
        "cursor",
        text("The `next_cursor` of the page before.").pattern(Some("^[0-9a-f]{48}$")),
    )
    .in_query(
        "slug",
        text("The slug of the link.").pattern(Some("^[A-Za-z0-9_-]{1,64}$")),
    )
    .in_query(
        "actor",
        text("Who made the change.")
            .pattern(Some("^(admin|anonymous|operator|system|key:[A-Za-z0-9]{1,32})$")),
    )
    .in_query(
        "kind",
        word(ChangeKind::ALL.map(ChangeKind::as_str), "What the change did."),
    )
    .in_query("since", time("Changes at this time or later."))
    .in_query("until", time("Changes before this time."))
    .answers::<Body<'_>>(
        StatusCode::OK,
        "A page of changes",
        r#"{"changes": [{
            "changed_at": "2026-11-21T02:00:00.123456Z", "kind": "link.disabled", "actor": "key:a1B2c3D4e5F6",
            "slug": "x7Kq2mP", "revision": 1795226400123456, "key_id": null
        }], "next_cursor": null}"#,
    )
    .problems(&["malformed_query"])
}
