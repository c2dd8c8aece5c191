//! Finding programs of the host: configured paths in order, then `$PATH`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use model::{Error, Result};

/// The program `name`: the first of `configured` that is an executable regular file (links are
/// followed), else the first of `search_path`'s directories that has one.
///
/// # Errors
/// System. A configured path that cannot be examined ends the search: what the operator named
/// first must not be passed over in silence. A program that is nowhere names what to install.
pub fn locate(name: &str, configured: &[PathBuf], search_path: Option<&OsStr>) -> Result<PathBuf> {
    for path in configured {
        match is_program(path) {
            Ok(true) => return Ok(path.clone()),
            Ok(false) => {}
            Err(e) => {
                return Err(Error::system(format!(
                    "cannot stat {}: {e}",
                    path.display()
                )));
            }
        }
    }
    let directories = search_path.map(std::env::split_paths).into_iter().flatten();
    for dir in directories.filter(|d| d.is_absolute()) {
        let path = dir.join(name);
        if is_program(&path).unwrap_or(false) {
            return Ok(path);
        }
    }
    let mut looked: Vec<String> = configured.iter().map(|p| p.display().to_string()).collect();
    looked.push("$PATH".to_owned());
    Err(Error::system(format!(
        "{name} was not found (looked at {}): install the package that has it \
         (Debian: apt install {name}; Fedora: dnf install {name}) or configure its path",
        looked.join(", ")
    )))
}

fn is_program(path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.is_file() && found.permissions().mode() & 0o111 != 0),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &Path, mode: u32) {
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_first_executable_regular_file_wins() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("directory")).unwrap();
        program(&at("plain"), 0o644);
        program(&at("second"), 0o755);
        program(&at("third"), 0o755);
        std::os::unix::fs::symlink(at("second"), at("link")).unwrap();
        let order = ["missing", "directory", "plain", "link", "third"].map(at);
        assert_eq!(locate("x", &order, None).unwrap(), at("link"));
    }

    #[test]
    fn the_search_path_comes_last_and_relative_parts_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        program(&dir.path().join("runc"), 0o755);
        let path = format!(".:relative:{}", dir.path().display());
        let missing = [dir.path().join("no")];
        let found = locate("runc", &missing, Some(OsStr::new(&path))).unwrap();
        assert_eq!(found, dir.path().join("runc"));
    }

    #[test]
    fn a_path_that_cannot_be_examined_ends_the_search() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        program(&file, 0o755);
        let e = locate("x", &[file.join("below"), file.clone()], None).unwrap_err();
        assert!(e.message().starts_with("cannot stat "), "{e}");
    }

    #[test]
    fn a_missing_program_says_what_to_install() {
        let e = locate("conmon", &["/no/conmon".into()], None).unwrap_err();
        assert!(
            e.message()
                .starts_with("conmon was not found (looked at /no/conmon, $PATH)"),
            "{e}"
        );
        assert!(e.message().contains("apt install conmon"), "{e}");
    }
}
