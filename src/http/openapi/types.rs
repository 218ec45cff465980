//! How the types of the domain look in JSON. Their bounds are those that the program keeps.

use std::borrow::Cow;

use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::{FaultCode, KeyId, RedirectStatus, Slug, TargetUrl};
use crate::service::Scope;

/// A text.
pub(in crate::http) fn text(about: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(about))
}

/// One of these words.
pub(in crate::http) fn word<const N: usize>(words: [&'static str; N], about: &str) -> ObjectBuilder {
    text(about).enum_values(Some(words))
}

/// A whole number between these.
pub(in crate::http) fn number(from: i64, to: i64, about: &str) -> ObjectBuilder {
    count(about)
        .minimum(isize::try_from(from).ok())
        .maximum(isize::try_from(to).ok())
}

/// A whole number.
fn count(about: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .description(Some(about))
}

macro_rules! described {
    ($($kind:ident as $name:literal => $schema:expr;)+) => { $(
        impl PartialSchema for $kind {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $kind {
            fn name() -> Cow<'static, str> {
                $name.into()
            }
        }
    )+ };
}

described! {
    Slug as "Slug" => text("What stands after the slash of a short URL; upper and lower case differ.")
        .pattern(Some("^[A-Za-z0-9_-]+$"))
        .min_length(Some(1))
        .max_length(Some(Self::MAX_LEN))
        .examples(["x7Kq2mP"]);
    TargetUrl as "Target" => text("Where a link leads: an absolute `http` or `https` URL, parsed and serialised again. Once serialised it has at most `MAX_URL_LENGTH` bytes, a setting: 8,192 unless it is changed.")
        .format(Some(SchemaFormat::Custom("uri".to_owned())))
        .max_length(Some(Self::MAX_LEN))
        .examples(["https://example.org/a/long/path?q=1"]);
    RedirectStatus as "RedirectStatus" => count("The status of the link's redirects.")
        .enum_values(Some(Self::ALL.map(Self::code)))
        .examples([302]);
    KeyId as "KeyId" => text("The name of a key that is no secret.")
        .pattern(Some("^[A-Za-z0-9]+$"))
        .min_length(Some(1))
        .max_length(Some(32))
        .examples(["k3yExAmPlE"]);
    Scope as "Scope" => word(Self::ALL.map(Self::as_str), "What a key may be used for.");
    FaultCode as "FaultCode" => word(Self::ALL.map(Self::as_str), "The stable code of what is wrong with a field.");
}
