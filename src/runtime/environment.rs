//! The environment of conmon and the OCI runtimes: small, fixed and documented.
//!
//! | variable | value | why |
//! |---|---|---|
//! | `PATH` | the system directories | hooks and CRIU, which the runtime starts, are found there |
//! | `HOME` | the daemon's, or `/root` | CRIU and some runtimes want one |
//! | `XDG_RUNTIME_DIR` | the daemon's, when it has one | rootless runtimes keep state there |
//! | `TZ` | `UTC` | conmon writes log times in its own zone |
//! | `LC_ALL` | `C.UTF-8` | errors are told in words we can read |
//!
//! Nothing else of the daemon's environment reaches them: not `LISTEN_FDS`, not `NOTIFY_SOCKET`,
//! not a secret.

use std::ffi::OsString;
use std::path::Path;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The table above, then `extra`, which wins.
pub(crate) fn fixed(
    of_daemon: impl Fn(&str) -> Option<OsString>,
    extra: &[(String, String)],
) -> Vec<(OsString, OsString)> {
    let absolute = |name: &str| of_daemon(name).filter(|v| Path::new(v).is_absolute());
    let mut variables: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), PATH.into()),
        (
            "HOME".into(),
            absolute("HOME").unwrap_or_else(|| "/root".into()),
        ),
        ("TZ".into(), "UTC".into()),
        ("LC_ALL".into(), "C.UTF-8".into()),
    ];
    if let Some(dir) = absolute("XDG_RUNTIME_DIR") {
        variables.push(("XDG_RUNTIME_DIR".into(), dir));
    }
    for (name, value) in extra {
        variables.retain(|(known, _)| known != name.as_str());
        variables.push((name.into(), value.into()));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_table_comes_from_the_daemon() {
        let daemon = |name: &str| {
            let value = match name {
                "HOME" => "/home/x",
                "XDG_RUNTIME_DIR" => "/run/user/0",
                _ => "secret",
            };
            Some(OsString::from(value))
        };
        let extra = [
            ("TZ".to_owned(), "CET".to_owned()),
            ("A".to_owned(), "1".to_owned()),
        ];
        let got = fixed(daemon, &extra);
        let want = [
            ("PATH", PATH),
            ("HOME", "/home/x"),
            ("LC_ALL", "C.UTF-8"),
            ("XDG_RUNTIME_DIR", "/run/user/0"),
            ("TZ", "CET"),
            ("A", "1"),
        ];
        assert_eq!(
            got,
            want.map(|(k, v)| (OsString::from(k), OsString::from(v)))
        );
        assert!(fixed(|_| None, &[]).contains(&("HOME".into(), "/root".into())));
    }
}
