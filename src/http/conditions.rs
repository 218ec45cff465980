//! Answers with an entity tag, which are not sent to a client that has them already (RFC 9110, sections 8.8.3 and 13.1.2).

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, EntityTag, Header, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

/// The head of an answer that has `tag`, and whether the client has it already: then it is 304, and has no body.
pub(super) fn tagged(request: &HttpRequest, tag: EntityTag) -> (HttpResponseBuilder, bool) {
    let known = is_known(request, &tag);
    let mut response = HttpResponse::build(if known {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    });
    response.insert_header((ETAG, tag));
    (response, known)
}

/// Whether the client has what `tag` names (`If-None-Match`).
pub(super) fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::EntityTag;
    use actix_web::test::TestRequest;

    use super::is_known;

    #[test]
    fn if_none_match_names_the_whole_tag() {
        let tag = EntityTag::new_strong("1f-0".to_owned());
        for (line, held) in [
            ("\"1f-0\"", true),
            ("W/\"1f-0\"", true),
            ("\"a\", \"1f-0\"", true),
            ("*", true),
            ("\"1f-1\"", false),
            ("1f-0", false),
        ] {
            let request = TestRequest::default().append_header(("if-none-match", line));
            assert_eq!(is_known(&request.to_http_request(), &tag), held, "{line}");
        }
        assert!(!is_known(&TestRequest::default().to_http_request(), &tag));
    }
}
