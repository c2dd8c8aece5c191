//! What a layer's marks are called: in an archive, and where overlayfs looks for them.

use sys::beneath::{DeviceNumber, Dir, Kind, Metadata};

/// What a directory that hides the same directory of lower layers carries (kernel,
/// Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
pub(crate) const OPAQUE: (&str, &[u8]) = ("trusted.overlay.opaque", b"y");
/// Overlayfs' mark for "removed".
pub(crate) const WHITEOUT_DEVICE: DeviceNumber = DeviceNumber { major: 0, minor: 0 };

/// OCI image spec, layer.md, "Whiteouts".
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The same, of all that lower layers have in a directory.
pub(crate) const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// Whether overlayfs takes it for a directory that hides those of lower layers.
///
/// # Errors
/// Whatever listxattr(2) or getxattr(2) says.
pub fn is_opaque(dir: &Dir) -> std::io::Result<bool> {
    let attributes = dir.own_xattrs()?;
    Ok(attributes
        .iter()
        .any(|(name, value)| name == OPAQUE.0 && value == OPAQUE.1))
}

/// Whether overlayfs takes it for a removed name.
pub fn is_whiteout(found: &Metadata) -> bool {
    found.kind == Kind::CharDevice && found.device == WHITEOUT_DEVICE
}
