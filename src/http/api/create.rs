//! `POST /api/v1/links`

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde_json::Value;
use utoipa::ToSchema;

use super::link::{EXAMPLE, LinkBody};
use super::made;
use crate::domain::{Fault, FaultCode, LinkDraft, RedirectStatus, Slug, TargetUrl};
use crate::http::auth::Sender;
use crate::http::body::{self, Fields};
use crate::http::openapi::{Operation, text};
use crate::http::problem::Problem;
use crate::http::{Services, address, origin, rate};
use crate::service::{Batch, Error, Item, Origin, Scope};

/// Makes a link.
pub(in crate::http) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LinksCreate)?;
    let address = address::client(&request, &services.config);
    rate::create(&request, &services, &caller).await?;
    let bytes = body::bytes(&request, payload, body::LINK_LIMIT).await?;
    let name = made::name(&request, address, &bytes)?;
    let draft = draft(body::parse(&bytes)?).map_err(Error::InvalidLink)?;
    let origin = Origin {
        host: origin::host(&request),
    };
    let render = made::one(&request, &services);
    let item = if name.is_none() && !draft.reuse_existing {
        Item::Made(services.links.create(&caller, draft, origin).await?)
    } else {
        let drafts = vec![Ok(draft)];
        match services
            .links
            .create_all(&caller, drafts, origin, name, Arc::clone(&render))
            .await?
        {
            Batch::Answered(answer) => return Ok(made::response(answer, false)),
            Batch::Replayed(answer) => return Ok(made::response(answer, true)),
            Batch::Items(mut items) => items.pop().ok_or_else(Problem::unavailable)?,
        }
    };
    if let Item::Refused(err) = item {
        return Err(err.into());
    }
    let answer = render(&[item]).ok_or_else(Problem::unavailable)?;
    Ok(made::response(answer, false))
}

/// Takes `null` for an absent field, as the link object shows it.
pub(super) fn draft(body: Value) -> Result<LinkDraft, Vec<Fault>> {
    let mut fields = Fields::of(body)?;
    let url = fields.text("url");
    if url.is_none() && fields.is_whole() {
        fields.fault("url", FaultCode::Missing, "a link needs a url");
    }
    let draft = LinkDraft {
        url: fields.required("url", url).unwrap_or_default(),
        slug: fields.text("slug").flatten(),
        length: fields.integer("length").flatten(),
        title: fields.text("title").flatten(),
        tags: fields.texts("tags").flatten().unwrap_or_default(),
        redirect_status: fields.integer("redirect_status").flatten(),
        cache_seconds: fields.integer("cache_seconds").flatten(),
        forward_query: fields.flag("forward_query").flatten().unwrap_or_default(),
        valid_from: fields.time("valid_from").flatten(),
        expires_at: fields.time("expires_at").flatten(),
        max_clicks: fields.integer("max_clicks").flatten(),
        reuse_existing: fields.flag("reuse_existing").flatten().unwrap_or_default(),
    };
    fields.finish()?;
    Ok(draft)
}

/// A link to be made. `null` stands for an absent field.
#[derive(ToSchema)]
#[schema(as = NewLink)]
#[expect(dead_code, reason = "for the document: `draft` reads the fields one by one")]
pub(super) struct NewLinkBody {
    url: TargetUrl,
    /// Generated if there is none.
    slug: Option<Slug>,
    /// The characters of a generated slug.
    #[schema(minimum = 5, maximum = 32)]
    length: Option<i64>,
    /// A name for people.
    #[schema(max_length = 200)]
    title: Option<String>,
    #[schema(max_items = 16, min_length = 1, max_length = 64)]
    tags: Option<Vec<String>>,
    redirect_status: Option<RedirectStatus>,
    /// How long a browser may keep a 301 or 308, at most until `expires_at`; without it 300. A link with `max_clicks` is never
    /// kept.
    #[schema(minimum = 0, maximum = 31_536_000)]
    cache_seconds: Option<i64>,
    /// Append the visitor's query string to the target's.
    forward_query: Option<bool>,
    /// 404 before this time, which is after 1969.
    valid_from: Option<Timestamp>,
    /// 410 from this time on, which is after `valid_from`.
    expires_at: Option<Timestamp>,
    /// 410 after so many `GET`s by people. A limit, not a secret: bots and previews do not use it up, and see the destination.
    #[schema(minimum = 1)]
    max_clicks: Option<i64>,
    /// Answer 200 and the link that this caller has already, if it is live and has the same fields.
    reuse_existing: Option<bool>,
}

/// The most common request.
pub(super) const NEW_LINK: &str =
    r#"{"url": "https://example.org/a/long/path?q=1", "title": "An example", "tags": ["docs"]}"#;

pub(in crate::http) fn described() -> Operation {
    let operation = made::sent_again(Operation::of_api(
        "POST",
        "/links",
        "createLink",
        "Make a link",
        Scope::LinksCreate,
    ))
    .group("links")
    .takes::<NewLinkBody>("application/json", NEW_LINK)
    .answers::<LinkBody<'_>>(StatusCode::CREATED, "The link that was made", EXAMPLE)
    .with_header("Location", text("The path of the link in the API."))
    .with_header("Idempotency-Replayed", text(made::ABOUT_REPLAYED));
    let operation = rate::described(operation)
        .answers::<LinkBody<'_>>(
            StatusCode::OK,
            "The link that was there already (`reuse_existing`)",
            EXAMPLE,
        )
        .with_header("Idempotency-Replayed", text(made::ABOUT_REPLAYED));
    rate::described(operation).problems(&[
        "malformed_header",
        "slug_taken",
        "invalid_link",
        "idempotency_mismatch",
        "outcome_unknown",
    ])
}
