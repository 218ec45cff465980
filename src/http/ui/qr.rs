//! `GET /{slug}/qr.svg` and `/{slug}/qr.png`

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, EntityTag};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};

use super::super::openapi::{Operation, number, text, word};
use super::super::problem::Problem;
use super::super::query::{MalformedQuery, Parameters};
use super::super::{Services, caching, conditions, document, origin};
use super::visible;
use crate::domain::{Redirect, SCAN_MARK, Slug};
use crate::service::{Qr, QrError, QrLevel};

/// Which picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Format {
    /// Scales.
    Svg,
    /// Has pixels.
    Png,
}

/// How long a picture may be kept, in seconds.
const KEPT_SECONDS: u32 = 86_400;

/// Draws the code of a link that is there, unless the client has the picture.
pub(super) async fn draw(
    redirect: &Redirect,
    format: Format,
    now: Timestamp,
    request: &HttpRequest,
    services: &Services,
) -> Result<HttpResponse, Problem> {
    let wanted = Wanted::of(request.query_string())?;
    let address = address(request, services, &redirect.slug);
    let tag = EntityTag::new_strong(wanted.digest(&address, format));
    let (mut response, known) = conditions::tagged(request, tag);
    response.insert_header((CACHE_CONTROL, caching::shared(redirect, now, KEPT_SECONDS)));
    if known {
        return Ok(response.finish());
    }
    let picture = services
        .rendering
        .run(move || wanted.picture(&address, format))
        .await;
    let picture = picture
        .map_err(visible)?
        .map_err(|err| Problem::malformed_query(format!("There is no such code: {err}.")))?;
    Ok(response
        .content_type(match format {
            Format::Svg => "image/svg+xml",
            Format::Png => "image/png",
        })
        .body(picture))
}

/// The code of a short URL within a page; nothing while too many are being drawn.
pub(super) async fn inline(address: String, services: &Services) -> Markup {
    let draw = move || Qr::of(&address, QrLevel::M, Qr::MARGIN).map(|code| code.svg());
    let drawn = services.rendering.run(draw).await;
    html! {
        @if let Ok(Ok(svg)) = drawn {
            div.qr role="img" aria-label="QR code of the short link" { (PreEscaped(svg)) }
        }
    }
}

/// What a code of `slug` says: its short address, with the mark of a scan.
pub(super) fn address(request: &HttpRequest, services: &Services, slug: &Slug) -> String {
    format!("{}{slug}?{SCAN_MARK}", origin::base(request, &services.config))
}

/// What a client may choose.
#[derive(Debug)]
struct Wanted {
    size: u16,
    margin: u8,
    level: QrLevel,
}

impl Wanted {
    fn of(query: &str) -> Result<Self, MalformedQuery> {
        let mut parameters = Parameters::of(query)?;
        let size = parameters.parsed::<u16>("size")?.unwrap_or(Qr::SIZE);
        if !Qr::SIZES.contains(&size) {
            let (least, most) = (Qr::SIZES.start(), Qr::SIZES.end());
            return Err(MalformedQuery(format!("size is {least} to {most}.")));
        }
        let margin = parameters.parsed::<u8>("margin")?.unwrap_or(Qr::MARGIN);
        if margin > Qr::MAX_MARGIN {
            return Err(MalformedQuery(format!("margin is 0 to {}.", Qr::MAX_MARGIN)));
        }
        let level = parameters.parsed::<QrLevel>("level")?.unwrap_or_default();
        parameters.finish()?;
        Ok(Self { size, margin, level })
    }

    fn picture(&self, address: &str, format: Format) -> Result<Vec<u8>, QrError> {
        let code = Qr::of(address, self.level, self.margin)?;
        match format {
            Format::Svg => Ok(code.svg().into_bytes()),
            Format::Png => code.png(self.size),
        }
    }

    /// Differs for pictures that differ. A later build may draw otherwise.
    fn digest(&self, address: &str, format: Format) -> String {
        let choice = format!("{format:?} {self:?}");
        let build = env!("CARGO_PKG_VERSION");
        document::digest(&[build.as_bytes(), choice.as_bytes(), address.as_bytes()])
    }
}

/// What the description of the API says of this.
pub(super) fn described() -> [Operation; 2] {
    let code = |path, id, summary| {
        let margin = Qr::MARGIN;
        Operation::new("GET", path, id, summary)
            .says("The code says the short URL with `?qr` behind it, by which scans are counted apart. Drawing one is no click.")
            .group("visitors")
            .in_query("margin", number(0, Qr::MAX_MARGIN.into(), &format!("Modules around the code; {margin} without it.")))
            .in_query("level", word(["L", "M", "Q", "H"], "How much of the code may be lost; M without it."))
            .for_visitors()
            .problems(&["malformed_query", "not_found", "link_gone", "rate_limited", "internal_error", "unavailable", "overloaded"])
    };
    let size = format!("Pixels of a side; {} without it.", Qr::SIZE);
    let (least, most) = (*Qr::SIZES.start(), *Qr::SIZES.end());
    [
        known(
            code("/{slug}/qr.svg", "qrSvg", "The QR code of a link, as SVG").answers_any(
                StatusCode::OK,
                "image/svg+xml",
                "The code",
            ),
        ),
        known(
            code("/{slug}/qr.png", "qrPng", "The QR code of a link, as PNG")
                .in_query("size", number(least.into(), most.into(), &size))
                .answers_any(StatusCode::OK, "image/png", "The code"),
        ),
    ]
}

/// An operation whose answer a client may have already.
fn known(operation: Operation) -> Operation {
    operation
        .with_header("ETag", text("Changes with the picture."))
        .with_header(
            "Cache-Control",
            text("How long the picture may be kept: not past the link's end."),
        )
        .header_of_request("If-None-Match", text("An `ETag` that the client has."))
        .answers_nothing(StatusCode::NOT_MODIFIED, "The client has it already")
}
