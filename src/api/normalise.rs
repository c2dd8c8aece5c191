//! Before routing: Docker's paths made into paths that a router of segments can match, and
//! after it: the headers every routed answer carries.
//!
//! Docker's router matches by regular expression: `/v1.47/images/{name:.*}/json`, names with
//! slashes included. Ours matches by segment. So the version prefix comes off (it stays with
//! the request as [`ApiVersion`]) and the slashes inside a name become `%2F`, which the `Path`
//! extractor decodes again. The documented paths stay Docker's own.

use std::borrow::Cow;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::Error;
use wire::version::{ApiVersion, Options};

use web::drain;
use web::error::{ApiError, Unrouted};
use web::serve::hijack::Hijack;

const API_VERSION: HeaderName = HeaderName::from_static("api-version");
const DOCKER_EXPERIMENTAL: HeaderName = HeaderName::from_static("docker-experimental");
const OSTYPE: HeaderName = HeaderName::from_static("ostype");
const SERVER: &str = concat!("Moored/", env!("CARGO_PKG_VERSION"), " (linux)");

/// Wraps the router: rewrites the request's path, and dresses the answer.
pub(crate) async fn around(
    State(options): State<Options>,
    mut request: Request,
    next: Next,
) -> Response {
    let (version, path) = rewrite(request.method(), request.uri().path());
    let version = version.unwrap_or(options.max_version);
    if let Some(path) = path {
        match with_path(request.uri(), &path) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return ApiError(error).into_response(),
        }
    }
    request.extensions_mut().insert(version);
    let mut response = next.run(drain::rest_of(request)).await;
    if response.extensions().get::<Unrouted>().is_none() {
        dress(response.headers_mut(), options);
    } else {
        // axum's, for a known path with another method.
        response.headers_mut().remove(header::ALLOW);
    }
    response
}

/// The headers of every routed answer, hijacked ones excepted: those are dressed by whoever
/// writes their head.
fn dress(headers: &mut HeaderMap, options: Options) {
    let newest = HeaderValue::from_str(&options.max_version.to_string())
        .expect("a version is digits and a dot");
    headers.insert(API_VERSION, newest);
    headers.insert(
        DOCKER_EXPERIMENTAL,
        HeaderValue::from_static(experimental(options)),
    );
    headers.insert(OSTYPE, HeaderValue::from_static("linux"));
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
}

/// Those headers for a hijack's head: exec's has them, attach's has not (moby
/// `postContainerExecStart`).
pub(crate) fn dress_hijack(hijack: Hijack, options: Options) -> Hijack {
    hijack
        .header("Api-Version", &options.max_version.to_string())
        .header("Docker-Experimental", experimental(options))
        .header("Ostype", "linux")
        .header("Server", SERVER)
}

fn experimental(options: Options) -> &'static str {
    match options.experimental {
        true => "true",
        false => "false",
    }
}

fn with_path(uri: &Uri, path: &str) -> Result<Uri, Error> {
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(target.parse().map_err(|_| malformed())?);
    Uri::from_parts(parts).map_err(|_| malformed())
}

fn malformed() -> Error {
    Error::invalid("malformed request path")
}

/// The version in front of a path, and the path the router can match when it is another one.
fn rewrite(method: &Method, path: &str) -> (Option<ApiVersion>, Option<String>) {
    let clean = single_slashes(path);
    let (version, rest) = match split_version(&clean) {
        Some((version, rest)) => (Some(version), rest),
        None => (None, &*clean),
    };
    let encoded = encode_name(method, rest);
    let path = encoded.or_else(|| (rest != path).then(|| rest.to_owned()));
    (version, path)
}

/// `//` is `/`: Docker's router redirects to the clean path, we serve it at once.
fn single_slashes(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut clean = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !clean.ends_with('/') {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// Docker's `/v{version:[0-9.]+}/`, and the rest with its slash.
fn split_version(path: &str) -> Option<(ApiVersion, &str)> {
    let after = path.strip_prefix("/v")?;
    let (text, rest) = after.split_at(after.find('/')?);
    let is_version = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    is_version.then(|| (ApiVersion::parse(text), rest))
}

/// The resources whose Docker routes take `{name:.*}`, each with what may follow the name.
const NAMED: &[(&str, &[&str])] = &[
    (
        "/containers/",
        &[
            "archive",
            "attach",
            "attach/ws",
            "changes",
            "checkpoints",
            "exec",
            "export",
            "json",
            "kill",
            "logs",
            "pause",
            "rename",
            "resize",
            "restart",
            "start",
            "stats",
            "stop",
            "top",
            "unpause",
            "update",
            "wait",
        ],
    ),
    ("/distribution/", &["json"]),
    ("/exec/", &["json", "resize", "start"]),
    (
        "/images/",
        &["attestations", "get", "history", "json", "push", "tag"],
    ),
    ("/networks/", &["connect", "disconnect"]),
    (
        "/plugins/",
        &["disable", "enable", "json", "push", "set", "upgrade"],
    ),
    ("/volumes/", &[]),
];

/// Paths that the router knows by themselves, with the one method they have. Under another
/// method Docker reads the word as a name: a container may be called `prune`.
const WORDS: &[(Method, &str)] = &[
    (Method::GET, "/containers/json"),
    (Method::POST, "/containers/create"),
    (Method::POST, "/containers/prune"),
    (Method::GET, "/images/json"),
    (Method::GET, "/images/get"),
    (Method::GET, "/images/search"),
    (Method::POST, "/images/create"),
    (Method::POST, "/images/load"),
    (Method::POST, "/images/prune"),
    (Method::POST, "/networks/create"),
    (Method::POST, "/networks/prune"),
    (Method::GET, "/plugins/privileges"),
    (Method::POST, "/plugins/create"),
    (Method::POST, "/plugins/pull"),
    (Method::POST, "/volumes/create"),
    (Method::POST, "/volumes/prune"),
];

/// The path with its name made one segment that is no word of the router's; `None` when it is
/// so already.
fn encode_name(method: &Method, path: &str) -> Option<String> {
    let (resource, suffixes) = NAMED.iter().find(|(r, _)| path.starts_with(r))?;
    let rest = &path[resource.len()..];
    if let Some((own, _)) = WORDS.iter().find(|(_, word)| *word == path) {
        let first = rest.bytes().next()?;
        return (own != method).then(|| format!("{resource}%{first:02X}{}", &rest[1..]));
    }
    let (name, suffix) = split_suffix(method, resource, suffixes, rest);
    if !name.contains('/') {
        return None;
    }
    Some(format!("{resource}{}{suffix}", name.replace('/', "%2F")))
}

/// Splits `a/b/json` into `a/b` and `/json`. A DELETE names the object with all that follows:
/// an image may be called `x/json`. Only checkpoints have a name behind a name.
fn split_suffix<'a>(
    method: &Method,
    resource: &str,
    suffixes: &[&str],
    rest: &'a str,
) -> (&'a str, &'a str) {
    if resource == "/containers/"
        && let Some(at) = rest.rfind("/checkpoints/")
    {
        return rest.split_at(at);
    }
    if method == Method::DELETE {
        return (rest, "");
    }
    suffixes
        .iter()
        .filter_map(|suffix| rest.strip_suffix(suffix)?.strip_suffix('/'))
        .filter(|name| !name.is_empty())
        // `attach/ws` also ends in no shorter suffix, so the shortest name is the longest suffix.
        .min_by_key(|name| name.len())
        .map_or((rest, ""), |name| rest.split_at(name.len()))
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    fn path(method: &Method, path: &str) -> String {
        rewrite(method, path).1.unwrap_or_else(|| path.to_owned())
    }

    fn get(text: &str) -> String {
        path(&Method::GET, text)
    }

    #[test]
    fn the_version_comes_off_and_is_kept() {
        let (version, rest) = rewrite(&Method::GET, "/v1.24/info");
        assert_eq!(version, Some(ApiVersion::v1(24)));
        assert_eq!(rest.as_deref(), Some("/info"));
        assert_eq!(rewrite(&Method::GET, "/info"), (None, None));
        // Docker's pattern wants digits, dots and a slash.
        for not_a_version in ["/version", "/v/info", "/volumes", "/v1.47", "/v1.x/info"] {
            assert_eq!(rewrite(&Method::GET, not_a_version), (None, None));
        }
    }

    #[test]
    fn slashes_of_names_are_encoded() {
        assert_eq!(get("/images/a/json"), "/images/a/json");
        assert_eq!(get("/images/a/b/json"), "/images/a%2Fb/json");
        assert_eq!(get("/v1.47/images/a/b/json"), "/images/a%2Fb/json");
        assert_eq!(
            get("/images/localhost:5000/a/b:1/history"),
            "/images/localhost:5000%2Fa%2Fb:1/history"
        );
        assert_eq!(get("/distribution/a/b/json"), "/distribution/a%2Fb/json");
        assert_eq!(
            get("/containers/a/b/attach/ws"),
            "/containers/a%2Fb/attach/ws"
        );
        assert_eq!(get("/containers/a/attach/ws"), "/containers/a/attach/ws");
        assert_eq!(get("/images/json/json"), "/images/json/json");
        assert_eq!(get("/volumes/a/b"), "/volumes/a%2Fb");
    }

    #[test]
    fn a_delete_names_the_object_with_all_that_follows() {
        let delete = |text| path(&Method::DELETE, text);
        assert_eq!(delete("/images/a/json"), "/images/a%2Fjson");
        assert_eq!(delete("/images/a"), "/images/a");
        assert_eq!(
            delete("/containers/a/checkpoints/c"),
            "/containers/a/checkpoints/c"
        );
    }

    #[test]
    fn a_word_of_the_router_is_a_name_under_another_method() {
        assert_eq!(
            path(&Method::DELETE, "/containers/prune"),
            "/containers/%70rune"
        );
        assert_eq!(path(&Method::DELETE, "/images/json"), "/images/%6Ason");
        assert_eq!(get("/volumes/create"), "/volumes/%63reate");
        assert_eq!(get("/images/json"), "/images/json");
        assert_eq!(
            path(&Method::POST, "/containers/prune"),
            "/containers/prune"
        );
    }

    #[test]
    fn slashes_in_a_row_are_one() {
        assert_eq!(get("//v1.47//containers//json"), "/containers/json");
        assert_eq!(get("/images//json"), "/images/json");
        // Docker knows no path with a slash at its end.
        assert_eq!(get("/containers/json/"), "/containers/json%2F");
    }

    proptest! {
        #[test]
        fn decoded_it_is_still_what_the_client_wrote(
            path in "(/(v1\\.[1-9][0-9]|containers|images|volumes|json|create|attach|ws|[a-u:.]{1,3})?){1,6}"
        ) {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let (version, rewritten) = rewrite(&method, &path);
                let rewritten = rewritten.unwrap_or_else(|| path.clone());
                prop_assert!(rewritten.starts_with('/'));
                let decoded = percent_decode_str(&rewritten).decode_utf8().unwrap();
                let prefix = version.map(|v| format!("/v{v}")).unwrap_or_default();
                prop_assert_eq!(format!("{prefix}{decoded}"), single_slashes(&path));
                // What was encoded once is one segment, and stays so.
                prop_assert_eq!(encode_name(&method, &rewritten), None);
            }
        }
    }
}
