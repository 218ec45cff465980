//! `POST /api/v1/links/disable`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::link::answer;
use crate::domain::{Fault, FaultCode, KeyId, Link, Selection, Slug};
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::body::{self, Fields};
use crate::http::openapi::Operation;
use crate::http::problem::Problem;
use crate::service::{Error, Scope, Toggled};

/// The most bytes of a body: a thousand slugs.
const LIMIT: usize = 128 * 1024;

/// What became of the links that fit.
#[derive(Serialize, ToSchema)]
#[schema(as = Disabled)]
struct Body {
    /// What was asked for.
    disabled: bool,
    /// What was asked for.
    dry_run: bool,
    /// How many links were changed, or would be.
    count: u64,
    /// Some of them.
    examples: Vec<Slug>,
    /// Whether that was all. If not, send the request again.
    complete: bool,
}

/// Takes down every link that fits, or puts them up again.
pub(in crate::http) async fn disable(
    request: HttpRequest,
    payload: web::Payload,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LinksWrite)?;
    let body = body::json(&request, payload, LIMIT).await?;
    let (selection, dry_run) = selection(body).map_err(Error::InvalidPatch)?;
    let disabled = !selection.disabled;
    let Toggled {
        count,
        examples,
        complete,
    } = services.links.toggle(&caller, selection, dry_run).await?;
    Ok(answer(StatusCode::OK).json(Body {
        disabled,
        dry_run,
        count,
        examples,
        complete,
    }))
}

fn selection(body: Value) -> Result<(Selection, bool), Vec<Fault>> {
    let mut fields = Fields::of(body)?;
    let domain = fields.parsed("domain", "must be a host name, such as example.org");
    let owner = fields.parsed("key_id", "must be the id of a key");
    let tag = fields.text("tag").flatten();
    if tag
        .as_ref()
        .is_some_and(|tag| !(1..=Link::MAX_TAG_CHARS).contains(&tag.chars().count()) || tag.contains('\0'))
    {
        fields.fault("tag", FaultCode::OutOfRange, "a tag has 1 to 64 characters");
    }
    let slugs = fields.texts("slugs").flatten();
    let slugs = slugs.map(|slugs| slugs_of(&slugs, &mut fields));
    let disabled = fields.flag("disabled").flatten().unwrap_or(true);
    let dry_run = fields.flag("dry_run").flatten().unwrap_or_default();
    let selection = Selection {
        domain,
        owner,
        tag,
        slugs,
        // Only those that are not yet as they shall be.
        disabled: !disabled,
    };
    if selection.is_open() && fields.is_whole() {
        fields.fault_of_all(
            FaultCode::Missing,
            "this needs one of domain, key_id, tag and slugs: all links are not taken down at once",
        );
    }
    fields.finish()?;
    Ok((selection, dry_run))
}

fn slugs_of(texts: &[String], fields: &mut Fields) -> Vec<Slug> {
    if texts.is_empty() || texts.len() > Selection::MAX_SLUGS {
        fields.fault("slugs", FaultCode::OutOfRange, "1 to 1000 slugs");
        return Vec::new();
    }
    let mut slugs = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(slug) => slugs.push(slug),
            Err(_) => fields.fault(
                &format!("slugs/{at}"),
                FaultCode::SlugInvalid,
                "no link has such a slug",
            ),
        }
    }
    slugs
}

/// Which links are meant: those that fit all of `domain`, `key_id`, `tag` and `slugs` that is given, which is one of them
/// at least.
#[derive(ToSchema)]
#[schema(as = Selection)]
#[expect(
    dead_code,
    reason = "for the document: `selection` reads the fields one by one"
)]
struct SelectionBody {
    /// They lead to this domain or one of its subdomains.
    domain: Option<String>,
    /// This key made them.
    key_id: Option<KeyId>,
    /// They have this tag.
    #[schema(min_length = 1, max_length = 64)]
    tag: Option<String>,
    /// They are among these.
    #[schema(min_items = 1, max_items = 1000)]
    slugs: Option<Vec<Slug>>,
    /// Take them down, or put them up again.
    #[schema(default = true)]
    disabled: Option<bool>,
    /// Only count them.
    #[schema(default = false)]
    dry_run: Option<bool>,
}

pub(in crate::http) fn described() -> Operation {
    Operation::of_api(
        "POST",
        "/links/disable",
        "disableLinks",
        "Take many links down, or put them up again",
        Scope::LinksWrite,
    )
    .group("links")
    .takes::<SelectionBody>(
        "application/json",
        r#"{"domain": "evil.example", "dry_run": true}"#,
    )
    .answers::<Body>(
        StatusCode::OK,
        "How many links were changed; they are gone everywhere within 5 seconds",
        r#"{"disabled": true, "dry_run": true, "count": 1234, "examples": ["x7Kq2mP"], "complete": true}"#,
    )
    .problems(&["invalid_patch", "outcome_unknown"])
}
