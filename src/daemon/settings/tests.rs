//! What file, environment and flags come to.

use super::*;
use crate::daemon::wire::runtime_config;

fn load(text: &str, options: Options) -> Result<Settings> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("moored.toml");
    fs::write(&path, text).unwrap();
    Settings::load(&Options {
        config: Some(path),
        ..options
    })
}

const FULL: &str = r#"
    socket = "/s"
    docker-socket = "/ds"
    socket-group = "docker"
    data-root = "/d"
    run-root = "/r"
    runtime = "mine"
    cgroup-manager = "systemd"
    cgroup-parent = "machine"
    log-driver = "local"
    userns-remap = "default"
    userns-auto-user = "me"
    subuid = "/u"
    subgid = "/g"
    storage-driver = "vfs"
    cdi-spec-dirs = ["/c"]
    selinux-enabled = true
    experimental = true
    labels = ["place=here"]
    log-level = "debug"
    log-format = "json"
    [log-opts]
    max-size = "1m"
    [conmon]
    paths = ["/opt/conmon"]
    log-level = "trace"
    [launch]
    no-new-keyring = true
    [runtimes.mine]
    paths = ["/opt/a", "/opt/b"]
    args = ["--debug"]
    json-errors = true
    without-cgroups = true
"#;

#[test]
fn an_empty_file_gives_the_defaults_and_a_full_one_none_of_them() {
    let default = Settings::default();
    assert_eq!(load("", Options::default()).unwrap(), default);
    let full = load(FULL, Options::default()).unwrap();
    assert_eq!(
        full.runtimes["mine"],
        [Path::new("/opt/a"), Path::new("/opt/b")]
    );
    let told = &full.runtime_traits["mine"];
    assert_eq!(told.args, ["--debug"]);
    assert_eq!(
        (told.json_errors, told.without_cgroups),
        (Some(true), Some(true))
    );
    assert_eq!(full.conmon_paths, [Path::new("/opt/conmon")]);
    assert_ne!(full.socket, default.socket);
    assert_ne!(full.docker_socket, default.docker_socket);
    assert_ne!(full.socket_group, default.socket_group);
    assert_ne!(full.data_root, default.data_root);
    assert_ne!(full.run_root, default.run_root);
    assert_ne!(full.runtime, default.runtime);
    assert_ne!(full.cgroup_manager, default.cgroup_manager);
    assert_ne!(full.cgroup_parent, default.cgroup_parent);
    assert_ne!(full.log_default.driver, default.log_default.driver);
    assert_eq!(full.log_default.options["max-size"], "1m");
    let e = load("log-opts = { max-siz = '1m' }", Options::default()).unwrap_err();
    assert_eq!(
        format!("{e:#}"),
        "log-driver and log-opts: unknown log opt 'max-siz' for json-file log driver"
    );
    assert_ne!(full.ids.remap, default.ids.remap);
    assert_ne!(full.ids.auto_user, default.ids.auto_user);
    assert_ne!(full.ids.subuid, default.ids.subuid);
    assert_ne!(full.ids.subgid, default.ids.subgid);
    assert_ne!(full.storage_driver, default.storage_driver);
    let e = load("storage-driver = 'zfs'", Options::default()).unwrap_err();
    assert!(format!("{e:#}").contains("`overlay2` or `vfs`"), "{e:#}");
    assert_eq!(full.cdi_spec_dirs, [Path::new("/c")]);
    for off in ["[]", "['']"] {
        let settings = load(&format!("cdi-spec-dirs = {off}"), Options::default()).unwrap();
        assert!(settings.cdi_spec_dirs.is_empty(), "{off}");
    }
    let e = load("cdi-spec-dirs = ['c']", Options::default()).unwrap_err();
    assert_eq!(format!("{e:#}"), "cdi-spec-dirs must be absolute: c");
    assert_ne!(full.selinux_enabled, default.selinux_enabled);
    assert_ne!(full.experimental, default.experimental);
    assert_ne!(full.labels, default.labels);
    assert_ne!(full.log_level, default.log_level);
    assert_ne!(full.log_format, default.log_format);
    assert_ne!(full.conmon_log_level, default.conmon_log_level);
    assert_ne!(full.launch, default.launch);
}

#[test]
fn the_readme_shows_every_setting_of_the_file_with_its_default() {
    let readme = include_str!("../../../README.md");
    let (_, example) = readme.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let mut shown = load(example, Options::default()).unwrap();
    let default = Settings::default();
    let runtime = |settings| format!("{:?}", runtime_config(settings));
    assert_eq!(runtime(&shown), runtime(&default));
    shown.launch = Launch::default();
    assert_eq!(shown, default);
    // What is no setting is refused with a list of what is one.
    for section in ["", "[conmon]", "[launch]", "[runtimes.x]"] {
        let said = load(&format!("{section}\nnosuch = 1"), Options::default()).unwrap_err();
        let said = format!("{said:#}");
        let (_, known) = said.split_once("expected").unwrap();
        for setting in known.split('`').skip(1).step_by(2) {
            let is_shown = example.lines().any(|line| {
                let line = line.trim_start_matches(['#', ' ', '[']);
                line.strip_prefix(setting)
                    .is_some_and(|rest| rest.starts_with([' ', ']', '.']))
            });
            assert!(is_shown, "{section} {setting}");
        }
    }
}

#[test]
fn flags_weigh_more_than_the_file() {
    let flags = Options {
        socket: Some("/flag".into()),
        log_format: Some(LogFormat::Text),
        no_pivot: true,
        ..Options::default()
    };
    let settings = load(FULL, flags).unwrap();
    assert!(settings.launch.no_pivot);
    assert_eq!(settings.socket, Path::new("/flag"));
    assert_eq!(settings.log_format, LogFormat::Text);
    assert_eq!(settings.data_root, Path::new("/d"), "the file's");
}

#[test]
fn what_is_no_setting_is_refused_by_name() {
    for (text, word) in [
        ("sockte = '/s'", "sockte"),
        ("[runtimes.x]\npath = ['/x']", "path"),
        ("[runtimes.x]\nargs = ['--root=/x']", "must not have --root"),
        ("[conmon]\npaths = ['conmon']", "absolute"),
        ("cgroup-manager = 'none'", "none"),
        ("data-root = '/x'\nrun-root = '/x'", "two directories"),
        ("[conmon]\nlog-level = 'loud'", "loud"),
        ("[launch]\ncall-timeout-s = 0", "call-timeout-s"),
        ("[launch]\nlog-size-max = 1", "log-size-max"),
        ("not toml", "line 1"),
    ] {
        let e = load(text, Options::default()).unwrap_err();
        assert!(format!("{e:#}").contains(word), "{text}: {e:#}");
    }
}

#[test]
fn a_named_file_must_exist() {
    let named = Options {
        config: Some("/does/not/exist.toml".into()),
        ..Options::default()
    };
    let e = format!("{:#}", Settings::load(&named).unwrap_err());
    assert!(e.contains("/does/not/exist.toml"), "{e}");
}

#[test]
fn relative_roots_are_made_absolute() {
    let flags = Options {
        data_root: Some("here".into()),
        ..Options::default()
    };
    assert!(load("", flags).unwrap().data_root.is_absolute());
}
