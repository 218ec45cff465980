//! What all pages have in common.

use maud::{DOCTYPE, Markup, html};

use super::guest::Guest;
use super::words::Words;
use super::{assets, form};
use crate::service::Scope;

/// Where somebody is, for the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `/`
    Shorten,
    /// `/app`
    Links,
    /// `/app/bulk`
    Bulk,
    /// `/app/keys`
    Keys,
    /// `/docs`
    Docs,
    /// `/app/sign-in`
    SignIn,
    /// Below one of them.
    Elsewhere,
}

fn shell(language: &str, title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(language) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) }
                link rel="stylesheet" href=(assets::style());
                link rel="icon" type="image/svg+xml" href=(assets::icon());
            }
            body { (body) }
        }
    }
}

/// A line that was cut short.
fn mark() -> Markup {
    html! {
        svg viewBox="0 0 32 32" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="3.4" stroke-linecap="round" {
            path d="M3 16h12" {}
            path d="M21 6v20" {}
            path d="M27 16h.01" stroke-opacity=".55" {}
        }
    }
}

/// A page for a visitor of a link.
pub(super) fn visitor_page(words: &Words, title: &str, body: &Markup) -> Markup {
    let body = html! {
        main.visitor {
            span.mark { (mark()) "curtail" }
            h1 { (title) }
            (body)
        }
    };
    shell(words.tag, title, &body)
}

/// A page of the interface, with the menu of `guest`.
pub(super) fn page(guest: &Guest, place: Place, title: &str, narrow: bool, body: &Markup) -> Markup {
    let here = |it: Place| (it == place).then_some("page");
    let menu = html! {
        li { a href="/" aria-current=[here(Place::Shorten)] { "Shorten" } }
        @if guest.may(Scope::LinksRead) {
            li { a href="/app" aria-current=[here(Place::Links)] { "Links" } }
        }
        @if guest.signed_in() || guest.may(Scope::LinksRead) {
            @if guest.may(Scope::LinksCreate) {
                li { a href="/app/bulk" aria-current=[here(Place::Bulk)] { "Bulk" } }
            }
        }
        @if guest.may(Scope::KeysAdmin) {
            li { a href="/app/keys" aria-current=[here(Place::Keys)] { "Keys" } }
        }
        li { a href="/docs" aria-current=[here(Place::Docs)] { "API" } }
        @if guest.signed_in() {
            li {
                form method="post" action="/app/sign-out" {
                    (form::token(guest))
                    button { "Sign out" }
                }
            }
        } @else if !guest.may(Scope::LinksRead) {
            li { a href="/app/sign-in" aria-current=[here(Place::SignIn)] { "Sign in" } }
        }
    };
    framed(&menu, title, narrow, body)
}

/// A page of the interface that depends on no session. A visitor without a key is asked for one behind "Links".
pub(super) fn page_for_everybody(place: Place, title: &str, body: &Markup) -> Markup {
    let here = |it: Place| (it == place).then_some("page");
    let menu = html! {
        li { a href="/" aria-current=[here(Place::Shorten)] { "Shorten" } }
        li { a href="/app" aria-current=[here(Place::Links)] { "Links" } }
        li { a href="/docs" aria-current=[here(Place::Docs)] { "API" } }
    };
    framed(&menu, title, false, body)
}

fn framed(menu: &Markup, title: &str, narrow: bool, body: &Markup) -> Markup {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            div.bar {
                a.mark href="/" { (mark()) "curtail" }
                nav aria-label="Main" {
                    ul { (menu) }
                }
            }
        }
        main #main class=[narrow.then_some("narrow")] { (body) }
        script src=(assets::script()) defer {}
    };
    shell("en", &format!("{title} · Curtail"), &body)
}
