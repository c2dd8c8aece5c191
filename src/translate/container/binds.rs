//! `HostConfig.Binds`, the strings of `docker run -v`: `source:destination[:mode]`, or a
//! destination alone for an anonymous volume (moby `volume/mounts/linux_parser.go`).

use model::mount::Propagation;
use model::{AnonymousVolume, Error, Mount, MountSource, ReadOnlyReach, Result, VolumeOptions};

use super::clean_path;
use super::mounts::check_destination;

/// One parsed bind.
#[derive(Debug, PartialEq)]
pub(super) enum Bind {
    /// A path of the host or a named volume.
    Mount(Mount),
    /// A volume without a name.
    Anonymous(AnonymousVolume),
}

/// Parses one bind; a volume has the driver `driver`.
///
/// # Errors
/// 400, `invalid mode: …` or `invalid volume specification: '…'`.
pub(super) fn parse(text: &str, driver: &str) -> Result<Bind> {
    let parts: Vec<&str> = text.splitn(4, ':').collect();
    let (source, destination, mode) = match parts.as_slice() {
        // A destination with a mode is no bind: `/data:ro`.
        [_, second] if Mode::parse(second).is_some() => return Err(invalid(text, None)),
        [""] | ["", ..] | [_, _, _, _, ..] => return Err(invalid(text, None)),
        [destination] => (None, *destination, ""),
        [source, destination] => (Some(*source), *destination, ""),
        [source, destination, mode] => (Some(*source), *destination, *mode),
        [] => return Err(invalid(text, None)),
    };
    let Some(options) = Mode::parse(mode) else {
        return Err(Error::invalid(format!("invalid mode: {mode}")));
    };
    let kind = match source {
        Some(source) if source.starts_with('/') => "bind",
        _ => "volume",
    };
    let destination =
        check_destination(kind, destination).map_err(|e| invalid(text, Some(e.message())))?;
    let asked = VolumeOptions {
        driver: driver.to_owned(),
        ..VolumeOptions::default()
    };
    let Some(source) = source else {
        return Ok(Bind::Anonymous(AnonymousVolume {
            destination,
            no_copy: false,
            mode: "z".to_owned(),
            options: asked,
        }));
    };
    options
        .check_for(kind)
        .map_err(|e| invalid(text, Some(e.message())))?;
    let source = if kind == "bind" {
        MountSource::Bind {
            path: clean_path(source),
            create_missing: true,
            non_recursive: false,
            reach: ReadOnlyReach::default(),
        }
    } else {
        MountSource::Volume {
            name: source.parse()?,
            anonymous: false,
            no_copy: options.no_copy,
            options: asked,
        }
    };
    let is_plain_volume = kind == "volume" && mode.is_empty();
    Ok(Bind::Mount(Mount {
        source,
        destination,
        read_only: options.read_only,
        propagation: options.propagation.unwrap_or_default(),
        // moby `setBindModeIfNull`.
        mode: if is_plain_volume { "z" } else { mode }.to_owned(),
    }))
}

fn invalid(text: &str, why: Option<&str>) -> Error {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    Error::invalid(format!("invalid volume specification: '{text}'{why}"))
}

/// Whether the mounts of another container are read-only here (moby `ParseVolumesFrom`).
///
/// # Errors
/// 400, `invalid mode: …`: propagation and copying are the other's.
pub(super) fn mode_of_others(text: &str) -> Result<bool> {
    match Mode::parse(text) {
        Some(mode) if !mode.no_copy && mode.propagation.is_none() => Ok(mode.read_only),
        _ => Err(Error::invalid(format!("invalid mode: {text}"))),
    }
}

/// The comma-separated words behind the second colon.
#[derive(Debug, Default, PartialEq)]
struct Mode {
    read_only: bool,
    no_copy: bool,
    propagation: Option<Propagation>,
}

impl Mode {
    /// `None` for an unknown word or two of one kind. Labels (`z`, `Z`) are read where
    /// there are any, and consistency words change nothing: there is no macOS here.
    fn parse(text: &str) -> Option<Self> {
        let mut mode = Self::default();
        if text.is_empty() {
            return Some(mode);
        }
        let mut seen = [0_u8; 5];
        for word in text.split(',') {
            let kind = match word {
                "rw" | "ro" => {
                    mode.read_only = word == "ro";
                    0
                }
                "z" | "Z" => 1,
                "nocopy" => {
                    mode.no_copy = true;
                    2
                }
                "consistent" | "cached" | "delegated" => 3,
                word => {
                    mode.propagation = Some(Propagation::parse(word)?);
                    4
                }
            };
            seen[kind] += 1;
        }
        seen.iter().all(|n| *n <= 1).then_some(mode)
    }

    /// Docker turns `nocopy` into `VolumeOptions` and propagation into `BindOptions`, and then
    /// refuses them on the other type.
    fn check_for(&self, kind: &str) -> Result<()> {
        let misplaced = match kind {
            "bind" if self.no_copy => "VolumeOptions",
            "volume" if self.propagation.is_some() => "BindOptions",
            _ => return Ok(()),
        };
        Err(Error::invalid(format!(
            "invalid mount config for type {kind:?}: field {misplaced} must not be specified"
        )))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bind(text: &str) -> Mount {
        match parse(text, "").unwrap() {
            Bind::Mount(mount) => mount,
            Bind::Anonymous(volume) => panic!("{volume:?}"),
        }
    }

    #[test]
    fn what_is_accepted() {
        // text, read-only, destination, mode shown
        let table = [
            ("/a:/b", false, "/b", ""),
            ("/a:/b:ro", true, "/b", "ro"),
            ("/a/../c:/b/./d/:rw,z", false, "/b/d", "rw,z"),
            ("/a:/b:ro,Z,rslave,cached", true, "/b", "ro,Z,rslave,cached"),
            ("vol:/data", false, "/data", "z"),
            ("vol:/data:ro,nocopy", true, "/data", "ro,nocopy"),
        ];
        for (text, read_only, destination, mode) in table {
            let mount = bind(text);
            assert_eq!(mount.read_only, read_only, "{text}");
            assert_eq!(mount.destination, destination, "{text}");
            assert_eq!(mount.mode, mode, "{text}");
        }
        assert_eq!(
            bind("/a/../c:/b").source,
            MountSource::Bind {
                path: "/c".to_owned(),
                create_missing: true,
                non_recursive: false,
                reach: ReadOnlyReach::default(),
            }
        );
        assert_eq!(bind("/a:/b:rslave").propagation, Propagation::RSlave);
        assert_eq!(bind("/a:/b").propagation, Propagation::Unset);
        let asked = bind("/a:/b:rprivate").propagation;
        assert_eq!(asked, Propagation::RPrivate);
        let Bind::Anonymous(volume) = parse("/data/", "some").unwrap() else {
            panic!("no name was given");
        };
        let told = (volume.destination.as_str(), volume.options.driver.as_str());
        assert_eq!(told, ("/data", "some"));
    }

    #[test]
    fn what_is_refused_in_dockers_words() {
        let table = [
            ("", "invalid volume specification: ''"),
            (":/b", "invalid volume specification: ':/b'"),
            ("/a:ro", "invalid volume specification: '/a:ro'"),
            ("/a:", "invalid volume specification: '/a:'"),
            ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
            ("/a:/b:x", "invalid mode: x"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:ro,", "invalid mode: ro,"),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": \
                 invalid specification: destination can't be '/'",
            ),
            (
                "vol:data",
                "invalid volume specification: 'vol:data': invalid mount config for type \
                 \"volume\": invalid mount path: 'data' mount path must be absolute",
            ),
            (
                "/a:/b:nocopy",
                "invalid volume specification: '/a:/b:nocopy': invalid mount config for type \
                 \"bind\": field VolumeOptions must not be specified",
            ),
            (
                "vol:/b:shared",
                "invalid volume specification: 'vol:/b:shared': invalid mount config for type \
                 \"volume\": field BindOptions must not be specified",
            ),
        ];
        for (text, message) in table {
            assert_eq!(parse(text, "").unwrap_err().message(), message, "{text}");
        }
        assert!(
            parse("no space:/b", "")
                .unwrap_err()
                .message()
                .contains("includes invalid characters for a local volume name")
        );
    }

    #[test]
    fn mounts_of_others_can_be_read_only() {
        for (mode, read_only) in [("", false), ("ro", true), ("rw,z", false), ("Z", false)] {
            assert_eq!(mode_of_others(mode), Ok(read_only), "{mode}");
        }
        for wrong in ["xx", "nocopy", "ro,rslave", "ro,rw"] {
            let e = mode_of_others(wrong).unwrap_err();
            assert_eq!(e.message(), format!("invalid mode: {wrong}"));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_destinations_are_clean(text in "[a-z/:.,~ ]{0,40}") {
            if let Ok(parsed) = parse(&text, "") {
                let destination = match parsed {
                    Bind::Mount(mount) => mount.destination,
                    Bind::Anonymous(volume) => volume.destination,
                };
                prop_assert!(destination.starts_with('/') && destination.len() > 1);
                prop_assert_eq!(clean_path(&destination), destination);
            }
        }

        #[test]
        fn an_absolute_bind_survives_with_its_paths(
            source in "(/[a-z]{1,8}){1,4}",
            destination in "(/[a-z]{1,8}){1,4}",
            read_only: bool,
        ) {
            let mode = if read_only { "ro" } else { "rw" };
            let mount = bind(&format!("{source}:{destination}:{mode}"));
            prop_assert_eq!(mount.read_only, read_only);
            prop_assert_eq!(mount.destination, destination);
            let expected = MountSource::Bind {
                path: source,
                create_missing: true,
                non_recursive: false,
                reach: ReadOnlyReach::default(),
            };
            prop_assert_eq!(mount.source, expected);
        }
    }
}
