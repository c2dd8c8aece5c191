//! The default runtime is the first that really runs a container here.

use runtime::{Config, Runtimes};

use crate::bed::{Bed, script, soon};

fn with_crun(text: &str) -> Bed {
    let text = text.to_owned();
    Bed::with(move |config, dir| {
        let crun = script(&dir.join("crun"), &text);
        config.runtimes.insert("crun".to_owned(), vec![crun]);
    })
}

#[tokio::test]
async fn a_runtime_that_refuses_the_host_is_passed_over_and_its_words_are_kept() {
    let bed = with_crun("echo cgroups in hybrid mode not supported >&2; exit 1");
    assert!(bed.runtimes.known_default().is_none());
    let choice = soon(bed.runtimes.default_choice()).await.unwrap();
    assert_eq!(choice.runtime, bed.runc());
    assert_eq!(
        choice.reason,
        "crun does not: cgroups in hybrid mode not supported; runc runs containers here"
    );
    assert_eq!(bed.runtimes.known_default().unwrap(), choice);
    assert_eq!(bed.runtimes.resolve(None, false).await.unwrap(), bed.runc());
    assert_eq!(
        bed.runtimes.resolve(Some(""), false).await.unwrap(),
        bed.runc()
    );
    assert!(!bed.path("run/probe/runc").exists());
}

#[tokio::test]
async fn a_runtime_that_only_pretends_to_run_is_not_chosen() {
    let bed = with_crun("exit 0");
    let choice = soon(bed.runtimes.default_choice()).await.unwrap();
    assert_eq!(choice.runtime, bed.runc());
    assert!(
        choice
            .reason
            .starts_with("crun does not: ended with exit status: 0"),
        "{}",
        choice.reason
    );
}

#[tokio::test]
async fn the_verdict_is_kept_until_a_program_changes() {
    let count = "echo x >> \"$(dirname \"$0\")/tried\"; echo no >&2; exit 1";
    let bed = with_crun(count);
    let tries = || {
        let tried = std::fs::read_to_string(bed.path("tried")).unwrap_or_default();
        tried.lines().count()
    };
    soon(bed.runtimes.default_choice()).await.unwrap();
    // One run, and the clean-up after it.
    let first = tries();
    assert_eq!(first, 2);
    let again = Runtimes::open(bed.config.clone()).unwrap();
    assert_eq!(
        soon(again.default_choice()).await.unwrap().runtime,
        bed.runc()
    );
    assert_eq!(tries(), first);
    script(&bed.path("crun"), &format!("{count} # new"));
    let upgraded = Runtimes::open(bed.config.clone()).unwrap();
    soon(upgraded.default_choice()).await.unwrap();
    assert_eq!(tries(), 2 * first);
    // A cache that cannot be read is no cache.
    std::fs::write(bed.path("run/default-runtime.json"), "{").unwrap();
    let broken = Runtimes::open(bed.config.clone()).unwrap();
    soon(broken.default_choice()).await.unwrap();
    assert_eq!(tries(), 3 * first);
}

#[tokio::test]
async fn callers_that_come_early_wait_for_one_probe() {
    let bed = with_crun("echo x >> \"$(dirname \"$0\")/tried\"; exit 1");
    let (a, b) = tokio::join!(
        bed.runtimes.default_runtime(),
        bed.runtimes.default_runtime()
    );
    assert_eq!((a.unwrap(), b.unwrap()), (bed.runc(), bed.runc()));
    let tried = std::fs::read_to_string(bed.path("tried")).unwrap();
    assert_eq!(tried.lines().count(), 2);
}

#[tokio::test]
async fn a_configured_default_is_not_questioned_and_none_at_all_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path().join("a"));
    config.default_runtime = Some("crun".to_owned());
    let runtimes = Runtimes::open(config).unwrap();
    assert_eq!(
        runtimes.default_choice().await.unwrap().reason,
        "configured"
    );

    let mut config = Config::new(dir.path().join("b"));
    let bad = script(&dir.path().join("bad"), "echo no >&2; exit 1");
    config.runtimes = [("crun".to_owned(), vec![bad])].into();
    let runtimes = Runtimes::open(config).unwrap();
    let e = runtimes.default_runtime().await.unwrap_err();
    assert_eq!(
        e.message(),
        "no OCI runtime runs containers here: crun does not: no"
    );
}
