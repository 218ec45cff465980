//! `GET /{slug}/qr.svg` and `/{slug}/qr.png`

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse};

use super::super::openapi::{Operation, number, word};
use super::super::problem::Problem;
use super::super::query::{MalformedQuery, Parameters};
use super::super::{Services, origin};
use crate::domain::{SCAN_MARK, Slug};
use crate::service::{Qr, QrError, QrLevel};

/// Which picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Format {
    /// Scales.
    Svg,
    /// Has pixels.
    Png,
}

/// Draws the code of a link that is there.
pub(in crate::http) fn draw(
    slug: &Slug,
    format: Format,
    request: &HttpRequest,
    services: &Services,
) -> Result<HttpResponse, Problem> {
    let wanted = Wanted::of(request.query_string())?;
    let address = address(request, services, slug);
    let fault = |err: QrError| Problem::malformed_query(format!("There is no such code: {err}."));
    let code = Qr::of(&address, wanted.level, wanted.margin).map_err(fault)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "public, max-age=86400"));
    Ok(match format {
        Format::Svg => response.content_type("image/svg+xml").body(code.svg()),
        Format::Png => {
            let picture = code.png(wanted.size).map_err(fault)?;
            response.content_type("image/png").body(picture)
        }
    })
}

/// What a code of `slug` says: its short address, with the mark of a scan.
pub(super) fn address(request: &HttpRequest, services: &Services, slug: &Slug) -> String {
    format!("{}{slug}?{SCAN_MARK}", origin::base(request, &services.config))
}

/// What a client may choose.
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
        code("/{slug}/qr.svg", "qrSvg", "The QR code of a link, as SVG").answers_any(
            StatusCode::OK,
            "image/svg+xml",
            "The code",
        ),
        code("/{slug}/qr.png", "qrPng", "The QR code of a link, as PNG")
            .in_query("size", number(least.into(), most.into(), &size))
            .answers_any(StatusCode::OK, "image/png", "The code"),
    ]
}
