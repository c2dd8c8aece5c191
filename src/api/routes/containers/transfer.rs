//! Checkpoints beyond Docker's: what one is, and from one daemon to another with its container.

use axum::extract::State;
use axum::http::StatusCode;
use engine::{Engine, ImportContainer, Without};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::checkpoint::{CheckpointInspect, ImportResponse};

use crate::routes::images::Tar;
use web::error::ApiResult;
use web::extract::{DockerBool, Names, Query, Upload};
use web::reply;

/// The routes of this file.
pub(super) fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(inspect))
        .routes(routes!(export))
        .routes(routes!(import))
}

/// Inspect a checkpoint
///
/// Its size, its options, what it is of, and what CRIU counted while it was made. Not Docker's.
#[utoipa::path(get, path = "/moored/containers/{id}/checkpoints/{checkpoint}",
    operation_id = "MooredCheckpointInspect", tag = "Container",
    params(
        ("id" = String, Path, description = "Id, id prefix or name of the container"),
        ("checkpoint" = String, Path, description = "The checkpoint's name"),
    ),
    responses(
        (status = 200, description = "The checkpoint", body = CheckpointInspect),
        (status = 400, description = "No name of a checkpoint", body = ErrorResponse),
        (status = 404, description = "No such container or checkpoint", body = ErrorResponse),
    ))]
async fn inspect(State(engine): State<Engine>, Names(name, checkpoint): Names) -> ApiResult {
    let view = engine.checkpoint(&name, checkpoint.parse()?).await?;
    Ok(reply::json(&CheckpointInspect::from(&view)))
}

/// The query of an export.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ExportQuery {
    /// Leave out what the container has changed of its image's files.
    #[serde(rename = "ignoreRootFS")]
    #[param(value_type = bool, required = false)]
    ignore_rootfs: DockerBool,
    /// Leave out the files of its volumes.
    #[serde(rename = "ignoreVolumes")]
    #[param(value_type = bool, required = false)]
    ignore_volumes: DockerBool,
}

/// Export a checkpoint
///
/// As a tar, with what the container has changed of its image's files, and the files of its volumes;
/// not its log, and not what is bound into it. Not Docker's.
#[utoipa::path(get, path = "/moored/containers/{id}/checkpoints/{checkpoint}/export",
    operation_id = "MooredCheckpointExport", tag = "Container",
    params(
        ("id" = String, Path, description = "Id, id prefix or name of the container"),
        ("checkpoint" = String, Path, description = "The checkpoint's name"),
        ExportQuery,
    ),
    responses(
        (status = 200, description = "The archive. Where it cannot be completed it is cut off, which an \
            import notices", content_type = "application/x-tar", body = inline(Tar)),
        (status = 400, description = "No name of a checkpoint", body = ErrorResponse),
        (status = 404, description = "No such container or checkpoint", body = ErrorResponse),
        (status = 409, description = "The container has run since, so its files are not those of the \
            checkpoint", body = ErrorResponse),
        (status = 500, description = "The checkpoint is damaged", body = ErrorResponse),
        (status = 501, description = "It has what no import takes: a part of a volume, or something of \
            another container", body = ErrorResponse),
    ))]
async fn export(
    State(engine): State<Engine>,
    Names(name, checkpoint): Names,
    Query(query): Query<ExportQuery>,
) -> ApiResult {
    let without = Without {
        rootfs: query.ignore_rootfs.0,
        volumes: query.ignore_volumes.0,
    };
    let checkpoint = checkpoint.parse()?;
    let archive = engine
        .export_checkpoint(
            &name,
            checkpoint,
            without,
            translate::container::request_in_force,
        )
        .await?;
    Ok(reply::tar(archive))
}

/// The query of an import.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct ImportQuery {
    /// Another name than the container had.
    #[param(required = false)]
    name: Option<String>,
    /// Leave out what the container has changed of its image's files.
    #[serde(rename = "ignoreRootFS")]
    #[param(value_type = bool, required = false)]
    ignore_rootfs: DockerBool,
    /// Leave out the files of its volumes: volumes that are here are used, others begin anew.
    #[serde(rename = "ignoreVolumes")]
    #[param(value_type = bool, required = false)]
    ignore_volumes: DockerBool,
}

/// Import a container with a checkpoint
///
/// An archive of an export. The container has the id it had, and does not run: start it with
/// `?checkpoint=`. Its image must be here. Not Docker's.
#[utoipa::path(post, path = "/moored/containers/import", operation_id = "MooredContainerImport",
    tag = "Container",
    params(ImportQuery),
    request_body(content_type = "application/x-tar", content = inline(Tar)),
    responses(
        (status = 201, description = "It is here", body = ImportResponse),
        (status = 400, description = "The archive is damaged, cut off, or none of a checkpoint",
            body = ErrorResponse),
        (status = 404, description = "Its image is not here", body = ErrorResponse),
        (status = 409, description = "Its id, its name or a volume is here already, or the kernel is \
            another", body = ErrorResponse),
    ))]
async fn import(
    State(engine): State<Engine>,
    Query(query): Query<ImportQuery>,
    archive: Upload,
) -> ApiResult {
    let request = ImportContainer {
        name: query.name.filter(|name| !name.is_empty()),
        without: Without {
            rootfs: query.ignore_rootfs.0,
            volumes: query.ignore_volumes.0,
        },
    };
    let log_default = engine.log_default().clone();
    let create = move |container: &engine::Exported| {
        let translated = translate::container::of_echo(container.request.get(), &log_default)?;
        Ok((translated.create, translated.warnings))
    };
    let imported = engine.import_container(archive, request, create).await?;
    let answer = ImportResponse::from(imported);
    Ok(reply::json_with_status(StatusCode::CREATED, &answer))
}
