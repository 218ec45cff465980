//! `POST /api/v1/import`

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;

use super::link::answer;
use crate::http::auth::Sender;
use crate::http::problem::Problem;
use crate::http::query::{MalformedQuery, Parameters};
use crate::http::{Services, address, origin};
use crate::service::{Format, ImportRequest, OnConflict};

/// The most bytes of a body. It is read as a stream, so this bounds the time and not the memory.
const LIMIT: usize = 1024 * 1024 * 1024;

/// The time in which the next bytes must come.
const DEADLINE: Duration = Duration::from_secs(20);

/// The most links that the answer tells of one by one.
const MAX_PROBLEMS: usize = 1000;

/// Takes links from elsewhere.
pub(in crate::http) async fn import(
    request: HttpRequest,
    mut payload: web::Payload,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let wanted = wanted(&request)?;
    let mut import = services.links.import(&caller, wanted)?;
    let address = address::client(&request, &services.config);
    services.limits.create(&caller, address).await?;
    let mut length = 0;
    loop {
        let bytes = match tokio::time::timeout(DEADLINE, payload.next()).await {
            Err(_) => return Err(Problem::unreadable("The body stopped for 20 seconds.")),
            Ok(Some(Err(_))) => return Err(Problem::unreadable("The body could not be read to its end.")),
            Ok(Some(Ok(bytes))) => bytes,
            Ok(None) => break,
        };
        length += bytes.len();
        if length > LIMIT {
            return Err(Problem::body_too_large(LIMIT));
        }
        import.feed(&bytes).await?;
    }
    import.finish().await?;
    Ok(answer(StatusCode::OK).json(import.report()))
}

fn wanted(request: &HttpRequest) -> Result<ImportRequest, MalformedQuery> {
    let mut parameters = Parameters::of(request.query_string())?;
    let wanted = ImportRequest {
        format: parameters.parsed::<Format>("format")?,
        on_conflict: parameters
            .parsed::<OnConflict>("on_conflict")?
            .unwrap_or_default(),
        skip: parameters.parsed::<u64>("skip")?.unwrap_or_default(),
        max_problems: MAX_PROBLEMS,
        host: origin::host(request).map(str::to_owned),
    };
    parameters.finish()?;
    Ok(wanted)
}
