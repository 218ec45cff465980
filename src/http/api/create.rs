//! `POST /api/v1/links`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::made;
use crate::domain::{Fault, FaultCode, LinkDraft};
use crate::http::auth::Sender;
use crate::http::body::{self, Fields};
use crate::http::problem::Problem;
use crate::http::{Services, address, origin};
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
    services.limits.create(&caller, address).await?;
    let bytes = body::bytes(&request, payload, body::LIMIT).await?;
    let name = made::name(&request, &bytes)?;
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
