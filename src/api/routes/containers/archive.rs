//! `HEAD`, `GET` and `PUT /containers/{id}/archive` (`docker cp`), `/export` and `/changes`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use engine::{Download, Engine, Extract, PathStat as Found};
use model::{Error, Result};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::container::{FilesystemChange, PathStat};

use crate::routes::images::Tar;
use web::error::ApiResult;
use web::extract::{DockerBool, Name, PathBytes, Query, Upload};
use web::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(stat, get, put))
        .routes(routes!(export))
        .routes(routes!(changes))
}

const PATH_STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");
const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

/// The query of a look at files.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct PathQuery {
    /// The path in the container. A link at its end is not followed, unless `/` or `/.` comes after it.
    #[param(required = true)]
    path: String,
}

/// Look at a file of a container
#[utoipa::path(head, path = "/containers/{id}/archive", operation_id = "ContainerArchiveInfo",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), PathQuery),
    responses(
        (status = 200, description = "It is there", headers(
            ("X-Docker-Container-Path-Stat" = String, description = "base64 of a `PathStat` in JSON"))),
        (status = 400, description = "No path, or an impossible one", body = ErrorResponse),
        (status = 404, description = "No such container or file", body = ErrorResponse),
        (status = 409, description = "The container is being removed", body = ErrorResponse),
    ))]
async fn stat(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(_): Query<PathQuery>,
    PathBytes(path): PathBytes,
) -> ApiResult {
    let found = engine.container_files(&name)?.stat(&path).await?;
    Ok(with_stat(Response::new(Body::empty()), found)?)
}

/// Get files of a container as an archive
///
/// What is at the path, under the path's last component.
#[utoipa::path(get, path = "/containers/{id}/archive", operation_id = "ContainerArchive",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), PathQuery),
    responses(
        (status = 200, description = "The archive; compressed with gzip for who accepts that",
            content_type = "application/x-tar", body = inline(Tar), headers(
            ("X-Docker-Container-Path-Stat" = String, description = "base64 of a `PathStat` in JSON"))),
        (status = 400, description = "No path, or an impossible one", body = ErrorResponse),
        (status = 404, description = "No such container or file", body = ErrorResponse),
        (status = 409, description = "The container is being removed", body = ErrorResponse),
    ))]
async fn get(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(_): Query<PathQuery>,
    PathBytes(path): PathBytes,
    headers: HeaderMap,
) -> ApiResult {
    let gzip = accepts_gzip(&headers);
    let (found, archive) = engine.container_files(&name)?.archive(&path, gzip).await?;
    let mut answer = with_stat(tar(archive), found)?;
    if gzip {
        let gzip = HeaderValue::from_static("gzip");
        answer.headers_mut().insert(header::CONTENT_ENCODING, gzip);
    }
    Ok(answer)
}

/// The query of an archive that is put.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct PutQuery {
    /// The directory in the container; a link to one is followed.
    #[param(required = true)]
    path: String,
    /// It is an error when a directory would be replaced by what is none, or the other way round.
    #[serde(rename = "noOverwriteDirNonDir")]
    #[param(value_type = bool, required = false)]
    no_overwrite: DockerBool,
    /// Everything is to belong to the container's user, where it has one.
    #[serde(rename = "copyUIDGID")]
    #[param(value_type = bool, required = false)]
    copy_owner: DockerBool,
}

/// Put the files of an archive into a container
///
/// A tar, plain or compressed with gzip or zstd.
#[utoipa::path(put, path = "/containers/{id}/archive", operation_id = "PutContainerArchive",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name"), PutQuery),
    request_body(content_type = "application/x-tar", content = inline(Tar)),
    responses(
        (status = 200, description = "They are there"),
        (status = 400, description = "A bad archive, no directory, or one that cannot be written to",
            body = ErrorResponse),
        (status = 404, description = "No such container or directory", body = ErrorResponse),
        (status = 409, description = "The container is being removed", body = ErrorResponse),
        (status = 500, description = "The host cannot write them", body = ErrorResponse),
    ))]
async fn put(
    State(engine): State<Engine>,
    Name(name): Name,
    Query(query): Query<PutQuery>,
    PathBytes(path): PathBytes,
    archive: Upload,
) -> ApiResult {
    let how = Extract {
        keep_kinds: query.no_overwrite.0,
        to_user: query.copy_owner.0,
    };
    let files = engine.container_files(&name)?;
    files.extract(&path, how, archive).await?;
    Ok(().into_response())
}

/// Get all files of a container as an archive
///
/// Without what is mounted.
#[utoipa::path(get, path = "/containers/{id}/export", operation_id = "ContainerExport",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name")),
    responses(
        (status = 200, description = "The archive", content_type = "application/octet-stream",
            body = inline(Tar)),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "The container is being removed", body = ErrorResponse),
    ))]
async fn export(State(engine): State<Engine>, Name(name): Name) -> ApiResult {
    let archive = engine.container_files(&name)?.export().await?;
    let mut answer = tar(archive);
    // moby says no type, and Go's server looks at the first bytes.
    let octets = HeaderValue::from_static("application/octet-stream");
    answer.headers_mut().insert(header::CONTENT_TYPE, octets);
    Ok(answer)
}

/// What a container has changed of its image's files
#[utoipa::path(get, path = "/containers/{id}/changes", operation_id = "ContainerChanges",
    tag = "Container",
    params(("id" = String, Path, description = "Id, id prefix or name")),
    responses(
        (status = 200, description = "The changes, or null", body = Option<Vec<FilesystemChange>>),
        (status = 404, description = "No such container", body = ErrorResponse),
        (status = 409, description = "The container is being removed", body = ErrorResponse),
    ))]
async fn changes(State(engine): State<Engine>, Name(name): Name) -> ApiResult {
    let changes = engine.container_files(&name)?.changes().await?;
    let changes = changes.into_iter().map(FilesystemChange::from);
    let changes: Vec<FilesystemChange> = changes.collect();
    // Go's empty list that nobody made.
    Ok(reply::json(&(!changes.is_empty()).then_some(changes)))
}

fn tar(archive: Download) -> Response {
    let mut answer = Response::new(Body::from_stream(archive));
    answer.headers_mut().insert(header::CONTENT_TYPE, TAR);
    answer
}

fn with_stat(mut answer: Response, found: Found) -> Result<Response> {
    let text = PathStat::from(found).header();
    let value = HeaderValue::try_from(text);
    let value = value.map_err(|e| Error::system(format!("a stat is no header: {e}")))?;
    answer.headers_mut().insert(PATH_STAT, value);
    Ok(answer)
}

/// Whether it is asked for by name, and not with a weight of zero.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    let words = values.filter_map(|value| value.to_str().ok());
    words.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        named && weight.is_none_or(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_who_asks_for_it() {
        let cases = [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("*", false),
            ("x-gzip", false),
        ];
        for (value, accepted) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), accepted, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
