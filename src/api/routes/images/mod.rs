//! `/images`: what there is, where it comes from and goes to, and its names.
//!
//! | file | |
//! |---|---|
//! | `list` | what is known of images |
//! | `create` | Docker's `POST /images/create`: from a registry, or of a root file system |
//! | `push` | to a registry |
//! | `archive` | from an archive of images, and to one |
//! | `commit` | of a container's changes |
//! | `names` | a further name, and a name or an image taken away |

mod archive;
mod commit;
mod create;
mod list;
mod names;
mod push;

use engine::Engine;
use model::{Error, Reference, Result};
use utoipa_axum::router::OpenApiRouter;

/// The routes of the resource.
pub fn router() -> OpenApiRouter<Engine> {
    OpenApiRouter::new()
        .merge(list::router())
        .merge(create::router())
        .merge(archive::router())
        .merge(commit::router())
        .merge(names::router())
        .merge(push::router())
}

/// `repo` and `tag` as one reference; the tag parameter wins over a tag in `repo` (moby
/// `httputils.RepoTagReference`).
fn repo_tag_reference(repo: &str, tag: Option<&str>) -> Result<Reference> {
    let reference: Reference = repo.parse()?;
    if reference.digest().is_some() {
        return Err(Error::invalid("cannot import digest reference"));
    }
    match tag.filter(|tag| !tag.is_empty()) {
        Some(tag) => reference.with_tag(tag),
        None => Ok(reference),
    }
}

/// Whether a name has neither a tag nor a digest: Docker means every tag of the repository then.
fn is_name_only(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    !name.contains('@') && !last.contains(':')
}

/// A tar, for the document: raw bytes.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Tar(Vec<u8>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_parameter_wins() {
        let familiar =
            |repo: &str, tag: Option<&str>| repo_tag_reference(repo, tag).map(|r| r.familiar());
        assert_eq!(familiar("a", Some("1")).unwrap(), "a:1");
        assert_eq!(familiar("a:2", Some("1")).unwrap(), "a:1");
        assert_eq!(familiar("a:2", Some("")).unwrap(), "a:2");
        assert_eq!(familiar("a", None).unwrap(), "a:latest");
        assert!(familiar("", None).is_err());
        assert!(familiar("A", None).is_err());
        assert!(familiar("a", Some("-")).is_err());
        let digest = model::Digest::from_sha256([1; 32]);
        assert!(familiar(&format!("a@{digest}"), None).is_err());
    }
}
