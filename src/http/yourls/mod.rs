//! `/yourls-api.php`: the API of YOURLS 1.10, for the many clients that speak it. Its words, shapes and statuses are
//! those of YOURLS; too many requests and failures are answered as everywhere else.

mod create;
mod parameters;
mod reply;
mod show;

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};

use self::parameters::Parameters;
use self::reply::{Format, Reply};
use super::openapi::{Operation, text, word};
use super::problem::Problem;
use super::{Services, auth};
use crate::service::{Caller, Error};

/// Where YOURLS answers.
pub(super) const PATH: &str = "/yourls-api.php";

/// The methods that YOURLS answers.
pub(super) const METHODS: &str = "GET, HEAD, POST";

/// The version of YOURLS whose API this is, and of its database.
const VERSION: &str = "1.10.1";
const DATABASE_VERSION: &str = "507";

/// Does what the parameter `action` says.
pub(super) async fn api(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    if !services.config.yourls_api {
        return Err(match *request.method() {
            Method::GET | Method::HEAD => Problem::not_found().for_visitor(),
            _ => Problem::method_not_allowed(super::redirect::METHODS),
        });
    }
    let parameters = Parameters::read(&request, payload).await?;
    // A `GET` can create a link here.
    if parameters.get("signature").is_empty() && matches!(auth::key(&request), Ok(None)) {
        auth::refuse_foreign(&request, &services)?;
    }
    let format = Format::of(parameters.get("format"));
    let reply = match answer(&request, &services, &parameters, format).await {
        Ok(Outcome::Reply(reply)) => reply,
        Ok(Outcome::Response(response)) => return Ok(response),
        Err(
            err @ (Error::RateLimited(_)
            | Error::Store(_)
            | Error::OutcomeUnknown(_)
            | Error::IdempotencyMismatch),
        ) => {
            return Err(err.into());
        }
        Err(err) => Reply::failed(403, &message(&err, &parameters)),
    };
    Ok(reply.response(format))
}

/// What is answered: a reply to be put into words, or an answer that was given before.
enum Outcome {
    Reply(Reply),
    Response(HttpResponse),
}

async fn answer(
    request: &HttpRequest,
    services: &Services,
    parameters: &Parameters,
    format: Format,
) -> Result<Outcome, Error> {
    let caller = caller(request, services, parameters).await?;
    Ok(Outcome::Reply(match parameters.get("action") {
        _ if format == Format::Jsonp => Reply::failed(400, "JSONP is not offered: ask for format=json"),
        "shorturl" => return create::shorturl(request, services, &caller, parameters, format).await,
        "expand" => show::expand(request, services, &caller, parameters).await?,
        "url-stats" => show::url_stats(request, services, &caller, parameters).await?,
        "stats" => show::stats(request, services, &caller, parameters).await?,
        "db-stats" => show::db_stats(services, &caller).await?,
        "version" => version(&caller, parameters)?,
        _ => Reply::failed(400, "Unknown or missing \"action\" parameter"),
    }))
}

/// Whose key `signature` is. A header with a key does as well.
async fn caller(
    request: &HttpRequest,
    services: &Services,
    parameters: &Parameters,
) -> Result<Caller, Error> {
    let shown = match parameters.get("signature") {
        "" => auth::key(request),
        signature => Ok(Some(signature)),
    };
    auth::caller(request, services, shown).await
}

fn message(err: &Error, parameters: &Parameters) -> String {
    match err {
        Error::Unauthenticated if !parameters.get("timestamp").is_empty() => {
            "Signatures with a timestamp cannot work here: keys are kept as hashes. Send a key as signature."
                .to_owned()
        }
        Error::Unauthenticated if parameters.get("signature").is_empty() => "Please log in".to_owned(),
        Error::Unauthenticated => "Invalid signature".to_owned(),
        err => err.to_string(),
    }
}

fn version(caller: &Caller, parameters: &Parameters) -> Result<Reply, Error> {
    if matches!(caller, Caller::Anonymous { may_create: false }) {
        return Err(Error::Unauthenticated);
    }
    let mut reply = Reply::new(200, VERSION);
    reply.text("version", VERSION);
    if parameters.get("db") == "1" {
        reply.text("db_version", DATABASE_VERSION);
    }
    Ok(reply)
}

pub(super) fn described() -> [Operation; 2] {
    let described = |method, id, summary| {
        let formats = ["json", "simple", "xml"];
        let actions = ["version", "shorturl", "expand", "url-stats", "stats", "db-stats"];
        let answer = |operation: Operation, status, about| {
            operation
                .answers_any(status, "application/json", about)
                .or_any("application/xml")
                .or_any("text/plain")
        };
        let operation = Operation::new(method, PATH, id, summary)
            .says(
                "The API of YOURLS 1.10, if `YOURLS_API` is set; else `GET` is 404 and `POST` is 405. Its answers have the \
                 shapes and statuses of YOURLS. A key is sent as `signature`, or in the header `Authorization`.",
            )
            .group("yourls")
            .in_query("action", word(actions, "What to do."))
            .in_query("format", word(formats, "The form of the answer; `xml` without it."))
            .in_query("signature", text("An API key."))
            .in_query("url", text("For `shorturl`: the destination."))
            .in_query("keyword", text("For `shorturl`: the slug."))
            .in_query("title", text("For `shorturl`: the title."))
            .in_query("shorturl", text("For `expand` and `url-stats`: the slug, or the short URL."))
            .in_query("filter", text("For `stats`: `top`, `bottom`, `rand` or `last`."))
            .in_query("limit", text("For `stats`: the most links."))
            .in_query("start", text("For `stats`: links to leave out at the beginning."));
        let operation = answer(operation, StatusCode::OK, "Done");
        let operation = answer(
            operation,
            StatusCode::BAD_REQUEST,
            "Refused, or the destination has a link already",
        )
        .or_any("application/problem+json");
        let operation = answer(
            operation,
            StatusCode::FORBIDDEN,
            "No valid key, or not one for this",
        );
        answer(operation, StatusCode::NOT_FOUND, "No such short URL")
            .or_any("application/problem+json")
            .or_any("text/html")
            .problems(&[
                "method_not_allowed",
                "idempotency_mismatch",
                "rate_limited",
                "internal_error",
                "unavailable",
                "overloaded",
                "outcome_unknown",
            ])
    };
    [
        described("GET", "yourls", "Do what `action` says, as YOURLS does"),
        described("POST", "yourlsPost", "The same, with the parameters in a form").takes_any(
            &["application/x-www-form-urlencoded", "multipart/form-data"],
            "The same parameters. They go before those of the query.",
            r#""action=version&format=json""#,
        ),
    ]
}
