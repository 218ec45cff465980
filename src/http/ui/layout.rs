//! What all pages have in common.

use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::words::Words;

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

/// A page of the interface.
pub(super) fn page(title: &str, narrow: bool, body: &Markup) -> Markup {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            div.bar {
                a.mark href="/" { (mark()) "curtail" }
            }
        }
        main #main class=[narrow.then_some("narrow")] { (body) }
        script src=(assets::script()) defer {}
    };
    shell("en", &format!("{title} · Curtail"), &body)
}
