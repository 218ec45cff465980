//! `/app/sign-in` and `/app/sign-out`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::super::problem::Problem;
use super::super::{Services, address};
use super::form::{self, Form, Line};
use super::guest::Guest;
use super::layout::{Place, page};
use super::visible;
use crate::domain::{Fault, FaultCode};
use crate::service::{Error, Session};

/// The path of the form.
pub(super) const PATH: &str = "/app/sign-in";

/// `GET /app/sign-in`
pub(super) async fn show(
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = Guest::of(&request, &services).await?;
    if guest.signed_in {
        return Ok(guest.see_other("/app"));
    }
    let body = body(&guest, &Form::of_query(request.query_string()), &[], None);
    Ok(guest.page(
        StatusCode::OK,
        page(&guest, Place::SignIn, "Sign in", true, &body),
    ))
}

/// `POST /app/sign-in`
pub(super) async fn sign_in(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = Guest::of(&request, &services).await?;
    let form = Form::read(&request, payload, form::LIMIT, &guest, &services).await?;
    let refused = |status, faults: &[Fault], notice| {
        let body = body(&guest, &form, faults, notice);
        Ok(guest.page(status, page(&guest, Place::SignIn, "Sign in", true, &body)))
    };
    if !form.is_ours {
        return refused(StatusCode::FORBIDDEN, &[], Some(form::STALE));
    }
    match services.keys.sign_in(form.get("key").trim()).await {
        Ok(session) => {
            let guest = Guest::with(&session, &request, &services).await?;
            Ok(guest.see_other(path_of_ours(form.get("to"))))
        }
        Err(Error::Unauthenticated) => {
            let client = address::client(&request, &services.config);
            services.limits.wrong_key(client).await.map_err(visible)?;
            let fault = Fault::new("/key", FaultCode::OutOfRange, "this is no valid key");
            refused(StatusCode::UNAUTHORIZED, &[fault], None)
        }
        Err(err) => Err(visible(err)),
    }
}

/// `POST /app/sign-out`
pub(super) async fn sign_out(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = Guest::of(&request, &services).await?;
    let form = Form::read(&request, payload, form::LIMIT, &guest, &services).await?;
    if !form.is_ours {
        return Ok(guest.see_other("/app"));
    }
    let nobody = Guest::with(&Session::NOBODY, &request, &services).await?;
    Ok(nobody.see_other("/"))
}

/// Where somebody wanted to go, if that is a page below `/app`.
fn path_of_ours(path: &str) -> &str {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_?=&%.".contains(&b);
    let ours = path == "/app" || path.starts_with("/app/") || path.starts_with("/app?");
    if ours && path.bytes().all(plain) && path.len() < 300 {
        path
    } else {
        "/app"
    }
}

fn body(guest: &Guest, form: &Form, faults: &[Fault], notice: Option<&str>) -> Markup {
    html! {
        h1 { "Sign in" }
        @if let Some(notice) = notice { div.notice.bad role="alert" { p { (notice) } } }
        form.card method="post" action=(PATH) {
            (form::token(guest))
            input type="hidden" name="to" value=(path_of_ours(form.get("to")));
            // Password managers file the key under this name.
            input type="text" name="user" value="Curtail" autocomplete="username" hidden;
            (Line { name: "key", label: "API key", kind: "password", class: "mono", fills: "current-password", required: true,
                focus: true, hint: "ADMIN_API_KEY, or a key that was issued. It is not stored in the browser.",
                ..Line::default() }.show(form, faults))
            button.main { "Sign in" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::path_of_ours;

    #[test]
    fn nobody_is_sent_to_another_site() {
        for path in [
            "",
            "//evil.example",
            "https://evil.example",
            "/app\\@evil",
            "/application",
            "/app\r\nX: y",
        ] {
            assert_eq!(path_of_ours(path), "/app", "{path}");
        }
        assert_eq!(path_of_ours("/app/links/x?span=day"), "/app/links/x?span=day");
    }
}
