//! Options of the storage driver for one container (`docker run --storage-opt`): a size, which needs quotas
//! that no tree here has. They are refused as Docker's drivers do where there are none.

use std::collections::BTreeMap;

use model::{Error, Result, StorageDriver};

/// Refuses the first option there is.
///
/// # Errors
/// `System`, which is what Docker answers, in its drivers' words (moby `parseStorageOpt`,
/// `CreateReadWrite`).
pub fn check(options: &BTreeMap<String, String>, driver: StorageDriver) -> Result<()> {
    let is_size = |name: &str| match driver {
        StorageDriver::Overlay2 => name.eq_ignore_ascii_case("size"),
        StorageDriver::Vfs => name == "size",
    };
    let Some(name) = options.keys().next() else {
        return Ok(());
    };
    let has_size = options.contains_key("size");
    let why = match driver {
        StorageDriver::Overlay2 if has_size || is_size(name) => {
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
                .to_owned()
        }
        StorageDriver::Overlay2 => format!("Unknown option {}", name.to_lowercase()),
        StorageDriver::Vfs if is_size(name) => {
            "Filesystem does not support, or has not enabled quotas".to_owned()
        }
        StorageDriver::Vfs => format!("Storage opt {name} not supported"),
    };
    Err(Error::system(why))
}

#[cfg(test)]
mod tests {
    use model::Kind;

    use super::*;

    #[test]
    fn every_option_is_refused_in_the_drivers_words() {
        let quota =
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option";
        for (names, driver, words) in [
            (vec!["size"], StorageDriver::Overlay2, quota),
            (vec!["a", "size"], StorageDriver::Overlay2, quota),
            (vec!["SIZE"], StorageDriver::Overlay2, quota),
            (vec!["X"], StorageDriver::Overlay2, "Unknown option x"),
            (
                vec!["size"],
                StorageDriver::Vfs,
                "Filesystem does not support, or has not enabled quotas",
            ),
            (vec!["x"], StorageDriver::Vfs, "Storage opt x not supported"),
        ] {
            let options = names
                .iter()
                .map(|name| ((*name).to_owned(), "1g".to_owned()));
            let refused = check(&options.collect(), driver).unwrap_err();
            assert_eq!((refused.kind(), refused.message()), (Kind::System, words));
        }
        check(&BTreeMap::new(), StorageDriver::Vfs).unwrap();
    }
}
