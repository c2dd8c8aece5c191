//! What a tar holds, for tests to look at.

use std::io::Read as _;

/// One entry of a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// Its name, as it is written.
    pub name: String,
    /// The byte that says what it is: `0` a file, `5` a directory, `2` a link.
    pub kind: char,
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u64, u64),
    /// What a link leads to.
    pub link: String,
    /// What is in it.
    pub content: Vec<u8>,
    /// What its extended header says.
    pub extended: Vec<(String, Vec<u8>)>,
}

/// The entries of a tar, in its order.
///
/// # Panics
/// When it is none, or is cut off.
pub fn tar_entries(tar: &[u8]) -> Vec<TarEntry> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar");
    let read = entries.map(|entry| {
        let mut entry = entry.expect("a whole tar");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("a whole tar");
        let extensions = entry.pax_extensions().expect("a whole tar");
        let extended = extensions.into_iter().flatten().map(|extension| {
            let extension = extension.expect("a whole header");
            let key = String::from_utf8_lossy(extension.key_bytes()).into_owned();
            (key, extension.value_bytes().to_vec())
        });
        let extended = extended.collect();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let header = entry.header();
        TarEntry {
            name: text(&entry.path_bytes()),
            kind: char::from(header.entry_type().as_byte()),
            mode: header.mode().expect("a number"),
            owner: (
                header.uid().expect("a number"),
                header.gid().expect("a number"),
            ),
            link: entry
                .link_name_bytes()
                .map_or_else(String::new, |link| text(&link)),
            content,
            extended,
        }
    });
    read.collect()
}
