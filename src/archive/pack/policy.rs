//! What of a tree goes into an archive: an image's layer, a container's files, or all there is.

use model::limits;

use crate::Form;
use crate::apply::is_kept_xattr;
use crate::capability::CAPABILITY;

/// What of a tree goes into an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    /// What the names of the tree mean.
    pub(super) form: Form,
    /// Everything, for who reads it again with [`crate::Reader`]: times to the nanosecond, holes as
    /// GNU tar has them, attributes as they are. Docker's archives have whole seconds and no holes (moby
    /// `go-archive`, `FileInfoHeader`), and few programs but Go's and GNU tar read such holes.
    pub(super) is_exact: bool,
    /// It is somebody's, who may change it, and mount things in it that are nobody's files.
    pub(super) is_in_use: bool,
    pub(super) size_bytes_max: u64,
}

impl Policy {
    /// A layer of an image, of a directory of changes.
    pub(super) const LAYER: Self = Self {
        form: Form::Layer,
        is_exact: false,
        is_in_use: false,
        size_bytes_max: limits::LAYER_BYTES_MAX,
    };
    /// A container's files, for whoever wants them.
    pub(super) const FILES: Self = Self {
        form: Form::Plain,
        is_exact: false,
        is_in_use: true,
        size_bytes_max: u64::MAX,
    };

    /// What another daemon takes in as it was here.
    pub(super) const fn exact(form: Form) -> Self {
        Self {
            form,
            is_exact: true,
            is_in_use: false,
            size_bytes_max: limits::LAYER_BYTES_MAX,
        }
    }

    /// Access lists have ids in them that mean nothing elsewhere, and moby sends none.
    pub(super) fn keeps(self, name: &[u8]) -> bool {
        match self.is_in_use {
            true => name == CAPABILITY || name.starts_with(b"user."),
            false => is_kept_xattr(name, self.form),
        }
    }
}
