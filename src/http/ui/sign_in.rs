//! `/app/sign-in` and `/app/sign-out`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use url::form_urlencoded::byte_serialize;

use super::super::problem::Problem;
use super::super::{Services, address};
use super::form::{self, Form, Line};
use super::guest::{Guest, drop_cookie, keep_cookie, sent_cookie};
use super::layout::{Place, page};
use super::visible;
use crate::domain::{Fault, FaultCode};
use crate::service::Error;

/// The path of the form.
pub(super) const PATH: &str = "/app/sign-in";

/// The mark of the request that follows a sign-in: it must carry the new cookie.
const OPENED: &str = "opened";

/// The notice when it does not.
const NO_COOKIE: &str = "Your key is valid, but your browser sent no session cookie, so you are not signed in. Allow \
     cookies for this site. If a proxy in front of this service removes cookies, set SESSION_COOKIE to a name that it passes \
     on, such as __session for Firebase Hosting.";

/// `GET /app/sign-in`
pub(super) async fn show(
    request: HttpRequest,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = Guest::of(&request, &services).await?;
    let query = Form::of_query(request.query_string());
    if guest.signed_in() {
        return Ok(guest.see_other(path_of_ours(query.get("to"))));
    }
    let is_without_cookie = query.has(OPENED) && sent_cookie(&request, &services.config).is_none();
    let body = body(&guest, &query, &[], is_without_cookie.then_some(NO_COOKIE));
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
    let client = address::client(&request, &services.config);
    let admit = || services.limits.check_key(client);
    let key = form.get("key").trim();
    match services.sessions.sign_in(&services.keys, key, admit).await {
        Ok(cookie) => {
            let to: String = byte_serialize(path_of_ours(form.get("to")).as_bytes()).collect();
            let path = format!("{PATH}?{OPENED}&to={to}");
            Ok(guest.see_other_with(&path, keep_cookie(&request, &services.config, &cookie)))
        }
        Err(Error::Unauthenticated) => {
            services.limits.wrong_key(client).await.map_err(visible)?;
            let fault = Fault::new("/key", FaultCode::OutOfRange, "this is no valid key");
            refused(StatusCode::UNAUTHORIZED, &[fault], None)
        }
        Err(err) => Err(visible(err)),
    }
}

/// `POST /app/sign-out`: closes the session on every instance.
pub(super) async fn sign_out(
    request: HttpRequest,
    payload: web::Payload,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    let guest = Guest::of(&request, &services).await?;
    let form = Form::read(&request, payload, form::LIMIT, &guest, &services).await?;
    let Some(session) = guest.session.as_ref().filter(|_| form.is_ours) else {
        return Ok(guest.see_other("/app"));
    };
    services
        .sessions
        .sign_out(&guest.caller, session)
        .await
        .map_err(visible)?;
    Ok(guest.see_other_with("/", drop_cookie(&request, &services.config)))
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
