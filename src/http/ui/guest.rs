//! Who looks at a page: the session's cookie, and the answer that keeps it.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, COOKIE, LOCATION, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use maud::Markup;

use super::super::problem::Problem;
use super::super::{Services, origin};
use crate::service::{Caller, Error, Scope, Session};

/// The cookie's name. Over HTTPS it has a prefix by which browsers refuse one that another host has set.
const NAME: &str = "curtail";
const NAME_OVER_HTTPS: &str = "__Host-curtail";

/// Somebody with a browser.
pub(super) struct Guest {
    /// Who that is.
    pub(super) caller: Caller,
    /// Whether a key was shown.
    pub(super) signed_in: bool,
    /// What every form carries.
    pub(super) token: String,
    /// What short addresses begin with.
    pub(super) base: String,
    cookie: String,
    is_new: bool,
    https: bool,
}

impl Guest {
    /// Who sends `request`. A session whose key is no longer valid has ended.
    pub(super) async fn of(request: &HttpRequest, services: &Services) -> Result<Self, Problem> {
        let https = origin::is_https(request, &services.config);
        let name = if https { NAME_OVER_HTTPS } else { NAME };
        let cookie = cookie(request, name);
        let session = cookie.and_then(|cookie| services.sessions.open(cookie));
        if let (Some(cookie), Some(session)) = (cookie, session) {
            match services.keys.holder_of(&session).await {
                Ok(caller) => {
                    return Ok(Self {
                        caller,
                        signed_in: session.has_key(),
                        token: services.sessions.token(cookie),
                        base: origin::base(request, &services.config),
                        cookie: cookie.to_owned(),
                        is_new: false,
                        https,
                    });
                }
                Err(Error::Unauthenticated) => {}
                Err(err) => return Err(Problem::from(err).for_visitor()),
            }
        }
        Self::with(&Session::NOBODY, request, services).await
    }

    /// Somebody with a new session.
    pub(super) async fn with(
        session: &Session,
        request: &HttpRequest,
        services: &Services,
    ) -> Result<Self, Problem> {
        let cookie = services.sessions.seal(session).ok_or_else(Problem::unavailable)?;
        let caller = services.keys.holder_of(session).await;
        Ok(Self {
            caller: caller.map_err(|err| Problem::from(err).for_visitor())?,
            signed_in: session.has_key(),
            token: services.sessions.token(&cookie),
            base: origin::base(request, &services.config),
            cookie,
            is_new: true,
            https: origin::is_https(request, &services.config),
        })
    }

    /// Whether this one may use `scope`.
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.caller.require(scope).is_ok()
    }

    /// The cookie as the browser sent it, or as it will.
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// A page.
    pub(super) fn page(&self, status: StatusCode, page: Markup) -> HttpResponse {
        self.answer(status)
            .content_type("text/html; charset=utf-8")
            .body(page.into_string())
    }

    /// Sends the browser on with a `GET`, so that a form is not sent twice.
    pub(super) fn see_other(&self, path: &str) -> HttpResponse {
        self.answer(StatusCode::SEE_OTHER)
            .insert_header((LOCATION, path))
            .finish()
    }

    /// The beginning of an answer: kept by nobody, and with the cookie if the browser does not have it.
    pub(super) fn answer(&self, status: StatusCode) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(status);
        response.insert_header((CACHE_CONTROL, "no-store"));
        if self.is_new {
            let name = if self.https { NAME_OVER_HTTPS } else { NAME };
            let secure = if self.https { "; Secure" } else { "" };
            // Hexadecimal digits need no quoting.
            let cookie = format!(
                "{name}={}; Path=/; HttpOnly; SameSite=Strict{secure}",
                self.cookie
            );
            response.insert_header((SET_COOKIE, cookie));
        }
        response
    }
}

/// The value of a cookie that the request carries.
fn cookie<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    let lines = request.headers().get_all(COOKIE);
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}
