//! `GET /api/v1/export`

use std::io;

use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream;

use super::link::answer;
use crate::http::auth::Sender;
use crate::http::openapi::{Operation, text, word};
use crate::http::problem::Problem;
use crate::http::query::{MalformedQuery, Parameters};
use crate::http::{Services, accept};
use crate::service::{Error, Export, ExportFormat, Scope};

/// Gives every link that the caller sees, as a stream. A page is read when the client has taken the one before. `HEAD` reads
/// none: without a body to wait for, it would walk every link at once.
pub(in crate::http) async fn export(
    request: HttpRequest,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let format = wanted(&request)?;
    let mut export = Export::new(&caller, format)?;
    let (kind, disposition) = match format {
        ExportFormat::Ndjson => ("application/x-ndjson", "attachment; filename=\"links.ndjson\""),
        ExportFormat::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"links.csv\""),
    };
    let mut response = answer(StatusCode::OK);
    response
        .content_type(kind)
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .insert_header((header::VARY, "Accept"));
    if request.method() == Method::HEAD {
        return Ok(response.streaming(stream::empty::<io::Result<web::Bytes>>()));
    }
    let Some(running) = services.admission.export() else {
        services.metrics.shed.add_one();
        return Err(Error::Overloaded.into());
    };
    // Before the answer begins: what fails here is still a problem of its own.
    let first = export.next(&services.links).await?;
    let parts = stream::try_unfold(
        (first, export, services, running),
        |(next, mut export, services, running)| async move {
            let Some(part) = next else {
                return Ok(None);
            };
            // The connection is cut then, so that nobody takes the part for the whole.
            let next = export.next(&services.links).await.map_err(|err| {
                tracing::error!(error = ?err, "an export was cut off: {err}");
                io::Error::other("cut off")
            })?;
            let state = (next, export, services, running);
            Ok::<_, io::Error>(Some((web::Bytes::from(part), state)))
        },
    );
    Ok(response.streaming(parts))
}

fn wanted(request: &HttpRequest) -> Result<ExportFormat, MalformedQuery> {
    let mut parameters = Parameters::of(request.query_string())?;
    let named = parameters.parsed::<ExportFormat>("format")?;
    parameters.finish()?;
    Ok(named.unwrap_or_else(|| {
        const OFFERS: [&str; 4] = [
            "application/x-ndjson",
            "application/ndjson",
            "application/json",
            "text/csv",
        ];
        match accept::preferred(request, &OFFERS) {
            Some(3) => ExportFormat::Csv,
            _ => ExportFormat::Ndjson,
        }
    }))
}

pub(in crate::http) fn described() -> Operation {
    Operation::of_api("GET", "/export", "exportLinks", "Export every link", Scope::LinksRead)
        .group("links")
        .in_query(
            "format",
            word(["ndjson", "csv"], "The form; that which `Accept` prefers without it."),
        )
        .answers_any(
            StatusCode::OK,
            "application/x-ndjson",
            "The links, oldest first, an object a line. It is cut off without its proper end if the store is lost meanwhile",
        )
        .or_any("text/csv")
        .with_header("Content-Disposition", text("A name for the file."))
        .problems(&["malformed_query"])
}
