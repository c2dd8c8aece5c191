//! `GET /system/df`: what everything takes; and `POST /build/prune`, which finds nothing to remove:
//! `docker system prune` ends at the first that it cannot have.

use axum::extract::{RawQuery, State};
use engine::{Engine, ListContainers};
use model::{Error, Filters, Result};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::ErrorResponse;
use wire::image::ImageSummary;
use wire::upkeep::{BuildPruneResponse, DiskUsage, UsageData, VolumeUsage};
use wire::version::ApiVersion;
use wire::volume::Volume;

use crate::routes::containers::rows;
use web::error::ApiResult;
use web::extract::{Query, filters, repeated};
use web::reply;
use web::version::Asked;

/// The routes.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .routes(routes!(disk_usage))
        .routes(routes!(prune_builds))
}

/// The kinds of objects, in Docker's words.
const KINDS: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// What everything takes on the disk
#[utoipa::path(get, path = "/system/df", operation_id = "SystemDataUsage", tag = "System",
    params(("type" = Option<Vec<String>>, Query,
        description = "Only these: `container`, `image`, `volume`, `build-cache` (API 1.42)")),
    responses(
        (status = 200, description = "What was found", body = DiskUsage),
        (status = 400, description = "Another type", body = ErrorResponse),
    ))]
async fn disk_usage(
    State(engine): State<Engine>,
    Asked(version): Asked,
    RawQuery(query): RawQuery,
) -> ApiResult {
    let mut asked = repeated(query.as_deref().unwrap_or_default(), "type")?;
    if asked.is_empty() || version < ApiVersion::v1(42) {
        asked = KINDS.map(str::to_owned).to_vec();
    }
    if let Some(other) = asked.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(Error::invalid(format!("unknown object type: {other}")).into());
    }
    let asks = |kind: &str| asked.iter().any(|asked| asked == kind);
    let listed = engine.list_containers(ListContainers {
        all: true,
        limit: None,
        filters: Filters::default(),
        size: asks("container"),
    });
    let listed = listed.await?;
    let mut usage = DiskUsage::default();
    if asks("image") {
        usage.layers_size = engine.images().layers_bytes();
        usage.images = Some(images(&engine, version)?);
    }
    if asks("container") {
        usage.containers = Some(rows(&engine, &listed, version));
    }
    if asks("volume") {
        usage.volumes = Some(volumes(&engine).await?);
    }
    usage.build_cache = asks("build-cache").then_some([]);
    Ok(reply::json(&usage))
}

fn images(engine: &Engine, version: ApiVersion) -> Result<Vec<ImageSummary>> {
    let shared = engine.images().shared_bytes();
    let images = engine.images().list(&Filters::default(), false)?;
    let row = |image: &engine::ImageView| {
        let shared = shared.get(&image.record.id).copied().unwrap_or_default();
        let mut row = ImageSummary::new(image, version).sharing(shared);
        row.containers = i64::try_from(image.containers).unwrap_or(i64::MAX);
        row
    };
    Ok(images.iter().map(row).collect())
}

/// What a volume with options has is elsewhere (moby `LocalVolumesSize`).
async fn volumes(engine: &Engine) -> Result<Vec<VolumeUsage>> {
    let (volumes, mut usages) = (engine.volumes(), Vec::new());
    let uses = volumes.uses();
    let all = volumes.list(&Filters::default())?.into_iter();
    for record in all.filter(|record| record.options.is_empty()) {
        // One that goes meanwhile costs nobody else the answer.
        let size = volumes.size(&record.name).await;
        let size = size.ok().and_then(|bytes| i64::try_from(bytes).ok());
        let users = uses.of(&record.name).len();
        usages.push(VolumeUsage {
            volume: Volume::new(&record, &volumes.path(&record.name)),
            usage_data: UsageData {
                ref_count: i64::try_from(users).unwrap_or(i64::MAX),
                size: size.unwrap_or(-1),
            },
        });
    }
    Ok(usages)
}

/// The query of a prune.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PruneQuery {
    /// JSON: which of what is kept.
    filters: Option<String>,
}

/// Remove what builds keep
///
/// Nothing is kept here: builds bring their own cache.
#[utoipa::path(post, path = "/build/prune", operation_id = "BuildPrune", tag = "Image",
    params(PruneQuery),
    responses(
        (status = 200, description = "Nothing was removed", body = BuildPruneResponse),
        (status = 400, description = "Bad filter", body = ErrorResponse),
    ))]
async fn prune_builds(Query(query): Query<PruneQuery>) -> ApiResult {
    filters(query.filters.as_deref())?;
    Ok(reply::json(&BuildPruneResponse::default()))
}
