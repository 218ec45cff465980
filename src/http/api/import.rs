//! `POST /api/v1/import`

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::link::answer;
use crate::http::auth::Sender;
use crate::http::openapi::{Operation, text, word};
use crate::http::payload::Content;
use crate::http::problem::Problem;
use crate::http::query::{MalformedQuery, Parameters};
use crate::http::{Services, origin, rate};
use crate::service::{Concern, Format, ImportRequest, OnConflict, Report, Scope};

/// The most bytes of a body, counted after decoding. It is read as a stream, so this bounds the time and not the memory.
const LIMIT: usize = 1024 * 1024 * 1024;

/// The time in which the next bytes must come.
const DEADLINE: Duration = Duration::from_secs(20);

/// The most links that the answer tells of one by one.
const MAX_PROBLEMS: usize = 1000;

/// The most characters of what short URLs begin with.
const MAX_BASE_CHARS: usize = 255;

/// Takes links from elsewhere.
pub(in crate::http) async fn import(
    request: HttpRequest,
    payload: web::Payload,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let wanted = wanted(&request)?;
    let mut import = services.links.import(&caller, wanted)?;
    rate::create(&request, &services, &caller).await?;
    let mut content = Content::of(&request, payload)?;
    let mut length = 0;
    while let Some(bytes) = tokio::time::timeout(DEADLINE, content.next_part())
        .await
        .unwrap_or_else(|_| Err(Problem::request_timeout("The body stopped for 20 seconds.")))?
    {
        length += bytes.len();
        if length > LIMIT {
            return Err(Problem::body_too_large(LIMIT));
        }
        import.feed(&bytes).await?;
    }
    import.finish().await?;
    Ok(answer(StatusCode::OK).json(ReportBody::of(import.report())))
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
        base: parameters.text("base", MAX_BASE_CHARS)?,
    };
    parameters.finish()?;
    Ok(wanted)
}

/// What became of an import.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportReport)]
struct ReportBody<'a> {
    /// The form of the input; `null` if it was empty.
    #[schema(required = true)]
    format: Option<&'a str>,
    /// Whether the form was guessed.
    guessed: bool,
    /// Whether creation times, clicks and owners were kept: for keys with `keys:admin`.
    kept_history: bool,
    /// Links that are dealt with.
    read: u64,
    /// Those of them that `skip` passed over.
    skipped_at_start: u64,
    created: u64,
    unchanged: u64,
    overwritten: u64,
    /// Links whose slug is another link's.
    conflicts: u64,
    /// Links that break the rules.
    refused: u64,
    /// Titles of others that were cut to the length of ours.
    titles_cut: u64,
    /// Links that were not taken, the first thousand of them.
    problems: Vec<ConcernBody<'a>>,
    /// How many more there are.
    problems_left_out: u64,
}

/// A link that was not taken.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportProblem)]
struct ConcernBody<'a> {
    /// The line that it begins in, from 1.
    line: u64,
    /// Its slug, as far as it is known.
    #[schema(required = true)]
    slug: Option<&'a str>,
    /// `refused`, or `conflict` if its slug is another link's.
    outcome: &'static str,
    errors: Vec<TroubleBody<'a>>,
}

/// What is wrong with it.
#[derive(Serialize, ToSchema)]
#[schema(as = ImportFault)]
struct TroubleBody<'a> {
    /// JSON Pointer to the field, as the source calls it.
    pointer: &'a str,
    /// The stable code.
    code: &'static str,
    detail: &'a str,
}

impl<'a> ReportBody<'a> {
    fn of(report: &'a Report) -> Self {
        Self {
            format: report.format.map(Format::as_str),
            guessed: report.guessed,
            kept_history: report.kept_history,
            read: report.read,
            skipped_at_start: report.skipped_at_start,
            created: report.created,
            unchanged: report.unchanged,
            overwritten: report.overwritten,
            conflicts: report.conflicts,
            refused: report.refused,
            titles_cut: report.titles_cut,
            problems: report.problems.iter().map(ConcernBody::of).collect(),
            problems_left_out: report.problems_left_out,
        }
    }
}

impl<'a> ConcernBody<'a> {
    fn of(concern: &'a Concern) -> Self {
        let errors = concern.errors.iter().map(|error| TroubleBody {
            pointer: &error.pointer,
            code: error.code,
            detail: &error.detail,
        });
        Self {
            line: concern.line,
            slug: concern.slug.as_deref(),
            outcome: concern.outcome.as_str(),
            errors: errors.collect(),
        }
    }
}

pub(in crate::http) fn described() -> Operation {
    const LINK: &str = r#"{"slug": "spring", "url": "https://example.org/spring", "clicks": 41, "created_at": "2024-03-01T00:00:00Z"}"#;
    const REPORT: &str = r#"{"format": "shlink", "guessed": false, "kept_history": true, "read": 2, "skipped_at_start": 0,
        "created": 1, "unchanged": 0, "overwritten": 0, "conflicts": 0, "refused": 1, "titles_cut": 0,
        "problems": [{"line": 5, "slug": "a/b", "outcome": "refused",
            "errors": [{"pointer": "/slug", "code": "slug_invalid", "detail": "a slug is made of A-Z a-z 0-9 _ and -"}]}],
        "problems_left_out": 0}"#;
    let formats = ["ndjson", "csv", "yourls", "shlink", "kutt", "bitly"];
    let conflicts = word(
        ["report", "skip", "overwrite"],
        "What to do where a slug is another link's.",
    );
    let operation = Operation::of_api("POST", "/import", "importLinks", "Import links", Scope::LinksCreate)
        .says(
            "Needs a key with the scope `links:create`, and `links:write` to overwrite. Each link is taken or refused for \
             itself, and an import may be repeated. Creation times, clicks and owners are kept for keys with `keys:admin`.",
        )
        .group("links")
        .in_query("format", word(formats, "Whose form it is; guessed without it."))
        .in_query("on_conflict", conflicts)
        .in_query(
            "base",
            text("What the short URLs of the source begin with, if that is more than a host, such as `https://example.com/s`.")
                .min_length(Some(1))
                .max_length(Some(MAX_BASE_CHARS)),
        )
        .in_query("skip", text("Links at the start to pass over.").pattern(Some("^[0-9]{1,18}$")))
        .takes_any(
            &["application/x-ndjson", "application/json", "text/csv"],
            "An export of this service as NDJSON or CSV, answers of the API of YOURLS, Shlink or Kutt, or Bitly's CSV. At \
             most 1 GiB; its media type is not looked at.",
            LINK,
        )
        .answers::<ReportBody<'_>>(StatusCode::OK, "What became of the links", REPORT);
    rate::described(operation).problems(&["malformed_import", "malformed_query", "outcome_unknown"])
}
