//! A reader of a log's files.
//!
//! It belongs to one client and is pulled by it; see the head of `logs`.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use model::{Error, Kind, Result};
use sys::dir_watch::{Event, Mask, Watch, Watcher};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::files::LogFiles;
use super::payload::Payload;
use super::scan::{Product, Scanner, Skipped, Step};
use super::{FollowHandle, PayloadOptions};

/// The files of a log on their way to one client.
#[derive(Debug)]
pub(super) struct FileReader {
    files: LogFiles,
    work: Work,
    follow: Option<Following>,
    skipped: Skipped,
}

#[derive(Debug)]
struct Following {
    ended: CancellationToken,
    /// `None` where the log's directory does not exist: then nothing will come either.
    watch: Option<Watch>,
    until: Option<Timestamp>,
}

/// The scanner is here, or on a thread that may block. It stays findable when `next` is dropped
/// in the middle.
#[derive(Debug)]
enum Work {
    Here(Box<Scanner>),
    Away(JoinHandle<(Box<Scanner>, io::Result<Step>)>),
    /// After an error: nothing more comes.
    Lost,
}

impl FileReader {
    /// Opens a log to read the bytes that were written, each once and in order. Also the number
    /// of the first byte that comes: later ones than asked for when older files are gone.
    ///
    /// # Errors
    /// As [`FileReader::begin`]; [`model::Kind::InvalidParameter`] when less was written than is to
    /// be left out.
    pub(super) async fn open_payload(options: PayloadOptions) -> Result<(Self, u64)> {
        let since = options.since;
        let payload = Payload::new(options.want, options.framed, since);
        let follow = options.follow.map(|follow| (follow, None));
        let mut reader =
            Self::begin(options.files, None, follow, Product::Payload(payload)).await?;
        let Work::Here(mut scanner) = std::mem::replace(&mut reader.work, Work::Lost) else {
            return Ok((reader, since));
        };
        let skipped = tokio::task::spawn_blocking(move || {
            let skipped = scanner.skip_ahead();
            (scanner, skipped)
        });
        let (scanner, skipped) = skipped
            .await
            .map_err(|e| cannot("read", reader.files.path(), &e.into()))?;
        reader.work = Work::Here(scanner);
        let begin = skipped
            .map_err(|e| cannot("read", reader.files.path(), &e))?
            .map_err(|lack| {
                Error::invalid(format!(
                    "invalid offset {since}: it has written {} bytes",
                    since - lack
                ))
            })?;
        Ok((reader, begin))
    }

    /// Opens a log for what `product` makes of it, and finds where to begin.
    ///
    /// # Errors
    /// [`model::Kind::System`] when the log is there but cannot be read, or cannot be watched.
    pub(super) async fn begin(
        files: LogFiles,
        tail: Option<u64>,
        follow: Option<(FollowHandle, Option<Timestamp>)>,
        product: Product,
    ) -> Result<Self> {
        let follow = match follow {
            // Watched before it is read: what is written in between is not missed.
            Some((follow, until)) => Some(Following {
                ended: follow.ended,
                watch: watch(follow.watcher.as_ref().ok_or_else(no_watcher)?, &files)?,
                until,
            }),
            None => None,
        };
        let (opened, follows) = (files.clone(), follow.is_some());
        let scanner =
            tokio::task::spawn_blocking(move || Scanner::open(&opened, tail, follows, product));
        let scanner = scanner
            .await
            .map_err(io::Error::from)
            .flatten()
            .map_err(|e| cannot("read", files.path(), &e))?;
        Ok(Self {
            files,
            work: Work::Here(Box::new(scanner)),
            follow,
            skipped: Skipped::default(),
        })
    }

    /// The next lines, ready for the wire: whole stdcopy frames, one for each line, or raw with a
    /// terminal. Lines come with their newline, except a last one that has none, and the pieces
    /// of one above [`model::limits::LOG_LINE_BYTES_MAX`]. Cancel safe.
    ///
    /// # Errors
    /// [`model::Kind::System`] when the file cannot be read; then it is the last item.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            let ended = self.follow.as_ref().is_none_or(Following::is_over);
            match self.step(ended).await {
                Ok(Step::Batch(bytes)) if bytes.is_empty() => {}
                Ok(Step::Batch(bytes)) => return Some(Ok(bytes)),
                Ok(Step::CaughtUp) => {
                    if let Some(follow) = &mut self.follow {
                        follow.wait().await;
                    }
                }
                Ok(Step::Done) => return None,
                Ok(Step::Lost) => {
                    self.work = Work::Lost;
                    return Some(Err(Error::new(
                        Kind::Unavailable,
                        "this client reads too slowly: what comes next was kept no longer",
                    )));
                }
                Err(e) => {
                    self.work = Work::Lost;
                    return Some(Err(cannot("read", self.files.path(), &e)));
                }
            }
        }
    }

    /// What could not be read so far.
    pub(super) fn skipped(&self) -> Skipped {
        self.skipped
    }

    async fn step(&mut self, ended: bool) -> io::Result<Step> {
        if let Work::Here(_) = &self.work
            && let Work::Here(mut scanner) = std::mem::replace(&mut self.work, Work::Lost)
        {
            self.work = Work::Away(tokio::task::spawn_blocking(move || {
                let step = scanner.step(ended);
                (scanner, step)
            }));
        }
        let Work::Away(away) = &mut self.work else {
            return Ok(Step::Done);
        };
        match away.await {
            Ok((scanner, step)) => {
                self.skipped = scanner.skipped();
                self.work = Work::Here(scanner);
                step
            }
            Err(e) => {
                self.work = Work::Lost;
                Err(e.into())
            }
        }
    }
}

impl Following {
    /// Nothing more is wanted than what is in the file now.
    fn is_over(&self) -> bool {
        self.ended.is_cancelled() || self.until.is_some_and(|until| until < Timestamp::now())
    }

    /// Sleeps until there may be more, or never will be.
    async fn wait(&mut self) {
        let watch = &mut self.watch;
        let changed = async {
            match watch {
                Some(watch) => next_change(watch).await,
                None => std::future::pending().await,
            }
        };
        let until = self.until;
        let until_passed = async {
            match until {
                Some(until) => tokio::time::sleep(remaining(until)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed => {}
            () = self.ended.cancelled() => {}
            () = until_passed => {}
        }
    }
}

/// From now until just behind `until`.
pub(super) fn remaining(until: Timestamp) -> Duration {
    let left = until.duration_since(Timestamp::now());
    Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1)
}

/// Watches for the growth of the log's files, whatever their names are by now, and for new ones.
pub(super) fn watch(watcher: &Watcher, files: &LogFiles) -> Result<Option<Watch>> {
    let mask = Mask::MODIFY.and(Mask::CREATE).and(Mask::MOVED_TO);
    match watcher.watch(files.dir(), mask) {
        Ok(watch) => Ok(Some(watch)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(cannot("watch", files.path(), &e)),
    }
}

/// Waits for a change that may concern the log's readers.
pub(super) async fn next_change(watch: &mut Watch) {
    loop {
        match watch.next().await {
            // A file that is being packed, or that conmon has not put in its place yet.
            Event::Change {
                name: Some(name), ..
            } if name.to_string_lossy().ends_with(".tmp") => {}
            _ => return,
        }
    }
}

fn no_watcher() -> Error {
    Error::system(
        "the log cannot be followed: no inotify instance is left on this host (raise \
         fs.inotify.max_user_instances)",
    )
}

fn cannot(what: &str, path: &Path, e: &io::Error) -> Error {
    Error::system(format!("{what} the log: {}: {e}", path.display()))
}
