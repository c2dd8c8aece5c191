//! What is told of a container's files: the head of an archive, and changes.

use data_encoding::BASE64;
use engine::{ChangeKind, FileChange, PathStat as Found};
use model::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

/// What is at a path, in the header `X-Docker-Container-Path-Stat` (moby
/// `api/types/container.PathStat`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathStat {
    /// The last component of the path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Go's `fs.FileMode`.
    pub mode: u32,
    /// Last change.
    pub mtime: String,
    /// Where a link leads; else empty.
    pub link_target: String,
}

impl From<Found> for PathStat {
    fn from(found: Found) -> Self {
        let nanos = i32::try_from(found.modified.nanos).unwrap_or_default();
        let mtime = Timestamp::new(found.modified.secs, nanos).unwrap_or_default();
        Self {
            name: found.name,
            size: found.size_bytes,
            mode: found.mode,
            mtime: mtime.to_string(),
            link_target: found.link_target,
        }
    }
}

impl PathStat {
    /// As the header has it: standard base64 of the JSON that Go writes, which escapes what HTML would
    /// take for its own.
    pub fn header(&self) -> String {
        let json = serde_json::to_string(self).expect("strings and numbers");
        let mut text = String::with_capacity(json.len());
        for c in json.chars() {
            match c {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    text.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => text.push(c),
            }
        }
        BASE64.encode(text.as_bytes())
    }
}

/// A file that is not as the image has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct FilesystemChange {
    /// Its path.
    pub path: String,
    /// 0 modified, 1 added, 2 deleted.
    pub kind: u8,
}

impl From<FileChange> for FilesystemChange {
    fn from(change: FileChange) -> Self {
        Self {
            path: change.path.to_string_lossy().into_owned(),
            kind: match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_as_dockerd_sent_it() {
        let stat = |secs, nanos, name: &str| PathStat {
            name: name.to_owned(),
            size: 4096,
            mode: 2_147_484_141,
            mtime: Timestamp::new(secs, nanos).unwrap().to_string(),
            link_target: String::new(),
        };
        // dockerd 26.1.5.
        assert_eq!(
            stat(1_795_435_642, 565_943_828, "etc").header(),
            "eyJuYW1lIjoiZXRjIiwic2l6ZSI6NDA5NiwibW9kZSI6MjE0NzQ4NDE0MSwibXRpbWUiOiIyMDI2LTExLTIzVDEyOjA3\
             OjIyLjU2NTk0MzgyOFoiLCJsaW5rVGFyZ2V0IjoiIn0="
        );
        let link = PathStat {
            name: "sh".to_owned(),
            size: 7,
            mode: 134_218_239,
            mtime: Timestamp::new(0, 0).unwrap().to_string(),
            link_target: "/bin/busybox".to_owned(),
        };
        assert_eq!(
            link.header(),
            "eyJuYW1lIjoic2giLCJzaXplIjo3LCJtb2RlIjoxMzQyMTgyMzksIm10aW1lIjoiMTk3MC0wMS0wMVQwMDowMDowMFoi\
             LCJsaW5rVGFyZ2V0IjoiL2Jpbi9idXN5Ym94In0="
        );
        assert_eq!(stat(1, 500_000_000, "").mtime, "1970-01-01T00:00:01.5Z");
        let shown = BASE64
            .decode(stat(0, 0, "a<&").header().as_bytes())
            .unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains(r#""name":"a\u003c\u0026""#), "{shown}");
    }
}
