//! The document of the API: what the handlers say of themselves, and what holds for all of them.

use axum::Router;
use axum::routing::get;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, License, OpenApi, Ref, RefOr, Response, Schema};

use crate::access::Role;
use crate::http::caller::Caller;
use crate::http::params::NoParams;
use crate::http::problem::{KINDS, Problem};
use crate::http::{Shared, json};

/// What any call may be answered with.
const ANY: [(&str, &str); 3] = [
    ("400", "the query, the path or a header is not valid"),
    ("421", "this host is not served here"),
    ("500", "the log failed, or what is asked for cannot be read"),
];
/// Where a name or a number stands in the path.
const NAMED: [(&str, &str); 1] = [("404", "there is nothing here")];
/// Where a credential is asked for.
const GUARDED: [(&str, &str); 4] = [
    ("401", "a credential is needed"),
    ("403", "this credential may not do that"),
    ("429", "this credential has too many requests open"),
    ("503", "try later"),
];
/// Where something is written.
const WRITES: [(&str, &str); 5] = [
    ("415", "the body is no JSON by its type"),
    ("422", "what was sent does not have its shape"),
    ("500", "the outcome is unknown: repeat it with the same key"),
    ("503", "try later; nothing was stored"),
    ("507", "no space, or a reader holds back the WAL; nothing was stored"),
];
/// Where something is sent.
const SENT: [(&str, &str); 2] =
    [("408", "the body took longer than 30 s"), ("413", "the body is larger than 1 MiB")];

/// The document of the routes.
pub(super) fn document(mut api: OpenApi) -> OpenApi {
    api.info.title = "hivelog".into();
    api.info.description = Some(env!("CARGO_PKG_DESCRIPTION").into());
    api.info.version = env!("CARGO_PKG_VERSION").into();
    // The router's own crate puts its author here.
    api.info.contact = None;
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(env!("CARGO_PKG_LICENSE").into());
    api.info.license = Some(license);
    let schemes = [
        ("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer))),
        ("session", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("hivelog_<log id>")))),
        ("second", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Hivelog-Session")))),
    ];
    let components = api.components.get_or_insert_default();
    components.security_schemes.extend(schemes.map(|(name, scheme)| (name.to_owned(), scheme.into())));
    if let Some(RefOr::T(Schema::Object(problem))) = components.schemas.get_mut("Problem")
        && let Some(RefOr::T(Schema::Object(kind))) = problem.properties.get_mut("type")
    {
        kind.enum_values = Some(KINDS.map(Into::into).into());
    }
    let none: [&str; 0] = [];
    let by_session = SecurityRequirement::new("session", none).add("second", none);
    // One of these; the session's second secret is for writes.
    api.security = Some(vec![SecurityRequirement::new("token", none), by_session]);
    for (path, item) in &mut api.paths.paths {
        let is_guarded = path.starts_with("/api/") || path == "/metrics" || path == "/version";
        let calls =
            [(&mut item.get, false), (&mut item.post, true), (&mut item.put, true), (&mut item.delete, true)];
        for (call, writes) in calls.into_iter().filter_map(|(call, writes)| Some((call.as_mut()?, writes))) {
            add(call, if writes { &WRITES } else { &[] });
            add(call, if call.request_body.is_some() { &SENT } else { &[] });
            add(call, if is_guarded { &GUARDED } else { &[] });
            add(call, if path.contains('{') { &NAMED } else { &[] });
            add(call, &ANY);
        }
    }
    api
}

/// Adds answers to a call, where it does not tell of them itself.
fn add(call: &mut Operation, answers: &[(&str, &str)]) {
    for (status, description) in answers {
        call.responses.responses.entry((*status).into()).or_insert_with(|| {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            Response::builder()
                .description(*description)
                .content("application/problem+json", problem)
                .build()
                .into()
        });
    }
}

/// Adds the document itself.
pub(super) fn with_openapi(routes: Router<Shared>, api: OpenApi) -> Router<Shared> {
    let document = document(api).to_pretty_json().unwrap_or_default();
    let openapi = async move |caller: Caller, _: NoParams| {
        caller.needs(&Role::ALL)?;
        Ok::<_, Problem>(json(document.clone()))
    };
    routes.route("/openapi.json", get(openapi))
}
