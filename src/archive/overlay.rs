//! What a layer's marks are called: in an archive, and where overlayfs looks for them.

use sys::beneath::{DeviceNumber, Kind, Metadata};

/// What a directory that hides the same directory of lower layers carries (kernel,
/// Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
pub(crate) const OPAQUE: (&str, &[u8]) = ("trusted.overlay.opaque", b"y");
/// Overlayfs' mark for "removed".
pub(crate) const WHITEOUT_DEVICE: DeviceNumber = DeviceNumber { major: 0, minor: 0 };

/// OCI image spec, layer.md, "Whiteouts".
pub(crate) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The same, of all that lower layers have in a directory.
pub(crate) const OPAQUE_WHITEOUT: &[u8] = b".wh..wh..opq";

/// Whether overlayfs takes it for a removed name.
pub(crate) fn is_whiteout(found: &Metadata) -> bool {
    found.kind == Kind::CharDevice && found.device == WHITEOUT_DEVICE
}
