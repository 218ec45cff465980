//! Who looks at a page: the session of the request's cookie. Only a sign-in and a sign-out set the cookie, so no link on
//! another site can replace it.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, COOKIE, HeaderName, LOCATION, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use maud::Markup;

use super::super::problem::Problem;
use super::super::{Services, origin};
use super::visible;
use crate::config;
use crate::service::{Caller, Error, Scope, Session};

/// The cookie's default name. Over HTTPS it has a prefix by which browsers refuse one that another host has set.
const NAME: &str = "curtail";
const NAME_OVER_HTTPS: &str = "__Host-curtail";

/// A person with a browser.
pub(super) struct Guest {
    /// What the person may do.
    pub(super) caller: Caller,
    /// The session, if the person has signed in.
    pub(super) session: Option<Session>,
    /// What short URLs begin with.
    pub(super) base: String,
}

impl Guest {
    /// The sender of `request`. A session whose key is no longer valid has ended.
    pub(super) async fn of(request: &HttpRequest, services: &Services) -> Result<Self, Problem> {
        let base = origin::base(request, &services.config);
        if let Some(cookie) = sent_cookie(request, &services.config)
            && let Some(session) = services.sessions.find(cookie).await.map_err(visible)?
        {
            match services.keys.holder_of(&session).await {
                Ok(caller) => {
                    return Ok(Self {
                        caller,
                        session: Some(session),
                        base,
                    });
                }
                Err(Error::Unauthenticated) => {}
                Err(err) => return Err(visible(err)),
            }
        }
        Ok(Self {
            caller: services.keys.anonymous(),
            session: None,
            base,
        })
    }

    /// Whether the person has signed in.
    pub(super) fn signed_in(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the person may use `scope`.
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.caller.require(scope).is_ok()
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

    /// The same, with a header.
    pub(super) fn see_other_with(&self, path: &str, header: (HeaderName, String)) -> HttpResponse {
        self.answer(StatusCode::SEE_OTHER)
            .insert_header((LOCATION, path))
            .insert_header(header)
            .finish()
    }

    /// The beginning of an answer that no cache may store.
    pub(super) fn answer(&self, status: StatusCode) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(status);
        response.insert_header((CACHE_CONTROL, "no-store"));
        response
    }
}

/// The session's cookie, if the request carries one.
pub(super) fn sent_cookie<'a>(request: &'a HttpRequest, config: &config::Http) -> Option<&'a str> {
    let name = name(request, config);
    let lines = request.headers().get_all(COOKIE);
    // A cookie beside it may be no text.
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok())
        .find_map(|pair| pair.trim().strip_prefix(&*name)?.strip_prefix('='))
}

/// The header that makes the browser keep a session's cookie (RFC 6265). `Lax`: the browser sends it with a click on another
/// site, and not with a form of another site.
pub(super) fn keep_cookie(request: &HttpRequest, config: &config::Http, value: &str) -> (HeaderName, String) {
    let secure = if origin::is_https(request, config) {
        "; Secure"
    } else {
        ""
    };
    // Hexadecimal digits need no quoting.
    let cookie = format!(
        "{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}",
        name(request, config)
    );
    (SET_COOKIE, cookie)
}

/// The header that makes the browser delete the cookie.
pub(super) fn drop_cookie(request: &HttpRequest, config: &config::Http) -> (HeaderName, String) {
    let (header, cookie) = keep_cookie(request, config, "");
    (header, format!("{cookie}; Max-Age=0"))
}

fn name<'a>(request: &HttpRequest, config: &'a config::Http) -> Cow<'a, str> {
    match &config.session_cookie {
        Some(name) => name.into(),
        None if origin::is_https(request, config) => NAME_OVER_HTTPS.into(),
        None => NAME.into(),
    }
}
