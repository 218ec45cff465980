//! One operation, described by what stands beside its handler.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use serde_json::Value;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Components, HttpMethod, Ref, RefOr, Required, Response, ResponseBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::problems::Known;
use crate::domain::Slug;
use crate::service::Scope;

/// The name of the security scheme.
pub(super) const KEY: &str = "key";
/// The header of every answer.
pub(super) const REQUEST_ID: &str = "X-Request-Id";

/// The base of the API.
const API: &str = "/api/v1";
/// What may come of every request of the API.
const OF_THE_API: [&str; 5] = [
    "unauthenticated",
    "rate_limited",
    "internal_error",
    "unavailable",
    "overloaded",
];

/// What may come of every request with a body.
const OF_A_BODY: [&str; 4] = [
    "malformed_body",
    "request_timeout",
    "body_too_large",
    "unsupported_encoding",
];

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// What a client can ask for, and every answer that it may get.
pub(in crate::http) struct Operation {
    method: HttpMethod,
    path: String,
    about: OperationBuilder,
    answers: Vec<(StatusCode, ResponseBuilder)>,
    problems: Vec<&'static str>,
    for_visitors: bool,
    schemas: Schemas,
}

impl Operation {
    /// An operation that anybody may use. `id` is what generated clients call it.
    pub(in crate::http) fn new(method: &str, path: &str, id: &str, summary: &str) -> Self {
        let method = match method {
            "POST" => HttpMethod::Post,
            "PUT" => HttpMethod::Put,
            "PATCH" => HttpMethod::Patch,
            "DELETE" => HttpMethod::Delete,
            _ => HttpMethod::Get,
        };
        Self {
            method,
            path: path.to_owned(),
            about: OperationBuilder::new()
                .operation_id(Some(id))
                .summary(Some(summary)),
            answers: Vec::new(),
            problems: Vec::new(),
            for_visitors: false,
            schemas: BTreeMap::new(),
        }
        .with_slug_in_path(path)
    }

    /// An operation of the API that needs a key with this scope.
    pub(in crate::http) fn of_api(method: &str, path: &str, id: &str, summary: &str, scope: Scope) -> Self {
        let mut operation = Self::new(method, &format!("{API}{path}"), id, summary);
        operation.about = operation
            .about
            .security(SecurityRequirement::new(KEY, [scope.as_str()]))
            .description(Some(format!("Needs a key with the scope `{}`.", scope.as_str())));
        let operation = operation.problems(&OF_THE_API).problems(&["insufficient_scope"]);
        if method == "GET" {
            return operation;
        }
        operation.problems(&["foreign_origin"])
    }

    fn with_slug_in_path(self, path: &str) -> Self {
        if path.contains("{slug}") {
            return self.in_path("slug", Slug::schema());
        }
        self
    }

    /// Says more than the summary.
    pub(in crate::http) fn says(mut self, text: &str) -> Self {
        self.about = self.about.description(Some(text));
        self
    }

    /// The group in which readers find it.
    pub(in crate::http) fn group(mut self, tag: &str) -> Self {
        self.about = self.about.tag(tag);
        self
    }

    /// A part of the path.
    pub(in crate::http) fn in_path(self, name: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(ParameterIn::Path, name, schema.into())
    }

    /// An optional parameter of the query string.
    pub(in crate::http) fn in_query(self, name: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(ParameterIn::Query, name, schema.into())
    }

    /// An optional header of the request.
    pub(in crate::http) fn header_of_request(self, name: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(ParameterIn::Header, name, schema.into())
    }

    fn parameter(mut self, place: ParameterIn, name: &str, mut schema: RefOr<Schema>) -> Self {
        let required = match place {
            ParameterIn::Path => Required::True,
            _ => Required::False,
        };
        // What a schema says of itself is said of the parameter.
        let (mut description, mut example) = (None, None);
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            description = object.description.take();
            example = std::mem::take(&mut object.examples).into_iter().next();
        }
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(description)
            .example(example)
            .schema(Some(schema));
        self.about = self.about.parameter(parameter);
        self
    }

    /// A JSON body, which has no other fields than `T`.
    pub(in crate::http) fn takes<T: ToSchema>(mut self, content_type: &str, example: &str) -> Self {
        let content = ContentBuilder::new()
            .schema(Some(self.schema_of::<T>(true)))
            .example(Some(parsed(example)))
            .build();
        let body = RequestBodyBuilder::new()
            .content(content_type, content)
            .required(Some(Required::True));
        self.about = self.about.request_body(Some(body.build()));
        self.problems(&["malformed_json", "unsupported_media_type"])
            .problems(&OF_A_BODY)
    }

    /// A body that is not described further, of some media types. It may be empty.
    pub(in crate::http) fn takes_any(mut self, content_types: &[&str], about: &str, example: &str) -> Self {
        let mut body = RequestBodyBuilder::new()
            .description(Some(about))
            .required(Some(Required::False));
        for content_type in content_types {
            let content = ContentBuilder::new()
                .schema(Some(any()))
                .example(Some(parsed(example)));
            body = body.content(*content_type, content.build());
        }
        self.about = self.about.request_body(Some(body.build()));
        self.problems(&OF_A_BODY)
    }

    /// An answer with a JSON body.
    pub(in crate::http) fn answers<T: ToSchema>(
        mut self,
        status: StatusCode,
        about: &str,
        example: &str,
    ) -> Self {
        let content = ContentBuilder::new()
            .schema(Some(self.schema_of::<T>(false)))
            .example(Some(parsed(example)))
            .build();
        self.answers.push((
            status,
            ResponseBuilder::new()
                .description(about)
                .content("application/json", content),
        ));
        self
    }

    /// An answer with a body that is not described further.
    pub(in crate::http) fn answers_any(
        mut self,
        status: StatusCode,
        content_type: &str,
        about: &str,
    ) -> Self {
        let content = ContentBuilder::new().schema(Some(any())).build();
        self.answers.push((
            status,
            ResponseBuilder::new()
                .description(about)
                .content(content_type, content),
        ));
        self
    }

    /// Another media type of the answer that was named last.
    pub(in crate::http) fn or_any(mut self, content_type: &str) -> Self {
        if let Some((status, answer)) = self.answers.pop() {
            let content = ContentBuilder::new().schema(Some(any())).build();
            self.answers.push((status, answer.content(content_type, content)));
        }
        self
    }

    /// An answer without a body.
    pub(in crate::http) fn answers_nothing(mut self, status: StatusCode, about: &str) -> Self {
        self.answers
            .push((status, ResponseBuilder::new().description(about)));
        self
    }

    /// A header of the answer that was named last.
    pub(in crate::http) fn with_header(mut self, name: &str, schema: ObjectBuilder) -> Self {
        if let Some((status, answer)) = self.answers.pop() {
            let header = HeaderBuilder::new().schema(Some(schema)).build();
            self.answers.push((status, answer.header(name, header)));
        }
        self
    }

    /// The codes of problems that may come of it.
    pub(in crate::http) fn problems(mut self, codes: &[&'static str]) -> Self {
        self.problems.extend(codes);
        self
    }

    /// Problems are pages for those who prefer them.
    pub(in crate::http) fn for_visitors(mut self) -> Self {
        self.for_visitors = true;
        self
    }

    fn schema_of<T: ToSchema>(&mut self, closed: bool) -> Ref {
        let mut found = Vec::new();
        T::schemas(&mut found);
        found.push((T::name().into_owned(), T::schema()));
        for (name, mut schema) in found {
            if closed
                && let RefOr::T(Schema::Object(object)) = &mut schema
                && !object.properties.is_empty()
            {
                object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            }
            self.schemas.insert(name, schema);
        }
        Ref::from_schema_name(T::name())
    }

    /// Puts this into the document.
    pub(super) fn put(
        self,
        problems: &[Known],
        paths: &mut Paths,
        components: &mut Components,
        schemas: &mut Schemas,
    ) {
        schemas.extend(self.schemas);
        let mut operation = self.about;
        // An answer that is described by itself stands for the problems of its status too.
        let described: Vec<_> = self.answers.iter().map(|(status, _)| status.as_u16()).collect();
        for (status, answer) in self.answers {
            let answer = answer.header_ref(REQUEST_ID, request_id()).build();
            operation = operation.response(status.as_str(), answer);
        }
        let mut by_status = BTreeMap::<u16, Vec<&Known>>::new();
        for known in problems
            .iter()
            .filter(|known| self.problems.contains(&known.code) && !described.contains(&known.status))
        {
            by_status.entry(known.status).or_default().push(known);
        }
        for (status, known) in by_status {
            let mut name = known
                .iter()
                .map(|known| known.code)
                .collect::<Vec<_>>()
                .join("_or_");
            if self.for_visitors {
                name.push_str("_or_page");
            }
            let response = || -> RefOr<Response> {
                let request_id = (REQUEST_ID.to_owned(), request_id());
                Known::response(&known, self.for_visitors, request_id).into()
            };
            components.responses.entry(name.clone()).or_insert_with(response);
            operation = operation.response(status.to_string(), Ref::from_response_name(name));
        }
        paths.add_path_operation(self.path, vec![self.method], operation);
    }

    /// The codes that nothing in the program answers.
    #[cfg(test)]
    pub(super) fn unknown_problems(&self, problems: &[Known]) -> Vec<&'static str> {
        let known = |code: &&&str| problems.iter().any(|known| known.code == **code);
        self.problems
            .iter()
            .filter(|code| !known(code))
            .copied()
            .collect()
    }
}

fn request_id() -> Ref {
    Ref::new(format!("#/components/headers/{REQUEST_ID}"))
}

/// An example, as it stands in the source.
fn parsed(example: &str) -> Value {
    serde_json::from_str(example).expect("the examples beside the handlers are JSON")
}

/// Any value.
fn any() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::AnyValue)
}
