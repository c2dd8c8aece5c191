//! `moored serve`: start-up in order, readiness, and the end.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use engine::Engine;
use sd_notify::NotifyState;
use socket::Listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use web::serve::Activity;

use super::idle::idle_for;
use super::listeners::Listeners;
use super::reload::Reload;
use super::settings::Settings;
use super::{log, roots, watchdog, wire};

/// Fewer descriptors than this are used up before the daemon can tell anybody what it lacks.
const MIN_OPEN_FILES: u64 = 64;
/// Threads beside the runtime's workers: the ledger's, and one for calls that block.
const MORE_THREADS: usize = 2;
/// Less than the time after which the runtime ends a thread that rests.
const THREAD_REST: Duration = Duration::from_secs(7);
/// How long the daemon waits for its own answer before it says that it is ready.
const OWN_PING: Duration = Duration::from_secs(10);
/// How long blocking work may go on after everything else has ended.
const BLOCKING_END: Duration = Duration::from_millis(50);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// When something at start-up fails; the message names it and what to do.
pub(crate) fn run(settings: &Settings, load: &(dyn Fn() -> Result<Settings> + Sync)) -> Result<()> {
    let level = log::start(settings)?;
    sys::own::set_umask();
    let open_files = sys::own::raise_open_files();
    tracing::debug!(?open_files, "starting");
    if let Some(few) = open_files.soft.filter(|soft| *soft < MIN_OPEN_FILES) {
        bail!(
            "the limit of open files is {few}, and {MIN_OPEN_FILES} are needed to start: raise \
             LimitNOFILE= of moored.service, or `ulimit -n`"
        );
    }
    let runtime = runtime()?;
    runtime.spawn(keep_a_thread());
    let (idle_exit, _) = watch::channel(settings.idle_exit);
    let reload = Reload {
        settings: settings.clone(),
        load,
        level,
        idle_exit,
    };
    let ended = runtime.block_on(serve(settings, reload));
    // A call that hangs in the kernel must not keep us; containers have their own conmons.
    runtime.shutdown_timeout(BLOCKING_END);
    ended
}

fn runtime() -> Result<Runtime> {
    expect_threads().context(
        "cannot start threads: raise TasksMax= of moored.service, pids.max of its cgroup, or its \
         limit of memory",
    )?;
    // Memory may have become short since. The runtime panics then, and as it unwinds it waits for its own
    // first threads: the daemon would neither serve nor end.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|why| {
        let why = why.payload_as_str().unwrap_or("it does not say why");
        tracing::error!(
            "cannot start the async runtime: {why}: raise the limit of memory or of threads"
        );
        std::process::exit(1);
    }));
    let built = Builder::new_multi_thread()
        .enable_all()
        .thread_name("moored")
        .build();
    std::panic::set_hook(usual);
    built.context("cannot start the async runtime")
}

/// Whether the kernel lets us have the threads we begin with. The runtime panics where it does not,
/// and a panic tells nobody what to do.
fn expect_threads() -> std::io::Result<()> {
    let workers = std::thread::available_parallelism()?.get();
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        // They wait for one another: each is there when the last one starts.
        let closed = gate.lock();
        for _ in 0..workers + MORE_THREADS {
            std::thread::Builder::new().spawn_scoped(scope, || drop(gate.lock()))?;
        }
        drop(closed);
        Ok(())
    })
}

/// Keeps one thread for calls that block, as long as the runtime lives. The runtime ends them when
/// they have rested for ten seconds, and panics when it can start none for the next call. With one
/// left, calls wait for it where the kernel gives no more.
async fn keep_a_thread() {
    loop {
        // Cancelled: the runtime ends, and so does this.
        if tokio::task::spawn_blocking(|| ()).await.is_err() {
            return;
        }
        tokio::time::sleep(THREAD_REST).await;
    }
}

async fn serve(settings: &Settings, mut reload: Reload<'_>) -> Result<()> {
    // Before anything else, so that no signal is lost between here and the loop.
    let mut end = EndSignals::new().context("cannot wait for signals")?;
    let mut hang_ups = signal(SignalKind::hangup()).context("cannot wait for signals")?;
    let handed_over = Listener::inherited()?;
    sys::spawn::seal_descriptors();
    wire::runtime_config(settings).check()?;
    let _roots = roots::claim(settings)?;
    let listeners = Listeners::open(handed_over, settings)?;
    // A start that is refused above leaves nothing mounted.
    roots::protect_exits(settings)?;
    let (address, is_activated) = (listeners.address(), listeners.is_activated);
    let api_sockets = listeners.api_sockets();

    let shutdown = CancellationToken::new();
    let (opening, app) = api::app_to_be(api::Options {
        experimental: settings.experimental,
        ..api::Options::default()
    });
    let loop_options = web::serve::Options::default();
    let activity = loop_options.activity.clone();
    // From here on it answers that it is there; for the rest clients wait until it is known.
    let mut serving = tokio::spawn(web::serve::serve(
        listeners.all,
        app,
        loop_options,
        shutdown.clone(),
    ));
    let engine = tokio::select! {
        engine = wire::open(settings, api_sockets) => engine?,
        signal = end.received() => {
            tracing::info!(signal, "ending before the start was over");
            return Ok(());
        }
    };
    opening.opened(engine.clone());

    if let Some(address) = &address {
        ping(address).await?;
        tracing::info!(version = env!("CARGO_PKG_VERSION"), socket = %address.display(), "ready");
    }
    notify(&[NotifyState::Ready]);
    let idle_exit = reload.idle_exit.subscribe();
    let why = tokio::select! {
        signal = end.received() => signal,
        () = idle(idle_exit, is_activated, &activity, &engine) => "nobody needs it",
        ended = &mut serving => {
            ended.context("the accept loop failed")?;
            bail!("the accept loop ended by itself");
        }
        () = watchdog::feed(address.as_deref(), &activity) => unreachable!("it never returns"),
        () = reload_at_hang_ups(&mut hang_ups, &mut reload, &engine) => {
            unreachable!("it never returns")
        }
    };
    tracing::info!(why, "ending; containers go on");
    notify(&[NotifyState::Stopping]);
    shutdown.cancel();
    serving.await.context("the accept loop failed")?;
    engine.close();
    Ok(())
}

/// Reads the settings again at each SIGHUP; never returns.
async fn reload_at_hang_ups(hang_ups: &mut Signal, reload: &mut Reload<'_>, engine: &Engine) {
    while hang_ups.recv().await.is_some() {
        reload.run(engine).await;
    }
    std::future::pending().await
}

/// Resolves when the daemon has been idle for as long as is set. Never where nobody would start it
/// again, for the socket is its own.
async fn idle(
    mut setting: watch::Receiver<Option<Duration>>,
    is_activated: bool,
    activity: &Arc<Activity>,
    engine: &Engine,
) {
    loop {
        let patience = *setting.borrow_and_update();
        if patience.is_some() && !is_activated {
            tracing::warn!("idle-exit-s counts only where systemd holds the socket");
        }
        let idle = async {
            match patience.filter(|_| is_activated) {
                Some(patience) => idle_for(patience, activity, engine).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = idle => return,
            changed = setting.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// SIGTERM and SIGINT.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The name of the next one.
    async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Asks ourselves through the socket, the way clients will: ready means that this works.
pub(super) async fn ping(socket: &Path) -> Result<()> {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream
            .write_all(b"GET /_ping HTTP/1.1\r\nHost: moored\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let said = || format!("no answer to an own ping on {}", socket.display());
    let answer = tokio::time::timeout(OWN_PING, asked)
        .await
        .with_context(said)?
        .with_context(said)?;
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        bail!("{}: {}", said(), String::from_utf8_lossy(&answer));
    }
    Ok(())
}

/// Tells systemd, when it listens. Nothing depends on it.
pub(super) fn notify(state: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        tracing::warn!(error = %e, "cannot notify systemd");
    }
}
