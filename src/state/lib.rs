//! The ledger: what the daemon promised, in one SQLite file that survives `kill -9` and power
//! loss. A call that returned `Ok` is on the disk.
//!
//! It keeps values and gives them back; what they mean, and whether they are still true of the
//! host, is the engine's to find out. This room never sees the host (no process, mount or cgroup)
//! and none of its peers. Reads are not its business either: [`Ledger::open`] hands out
//! everything once, and the engine answers from memory.
//!
//! ```text
//!  meta(key, value)                       boot_id, daemon id, ...
//!  containers(id, name UNIQUE, created_at, image_id, image_name, runtime, spec, echo)
//!      |                                  fixed at create, but for the name
//!      +--< container_states(id, state, intent, restart_count)
//!                                         small, rewritten at each change; gone with its container
//!      +--< health(id, record)           rewritten at each health check
//!  images(id, record)
//!      +--< tags(reference, image_id)     gone with their image
//!  volumes(name, record)
//!  networks(id, name UNIQUE, record)
//!  attachments(id, record)                addresses and ports of a container's run, from before its start
//!                                         until all is taken away: it may outlive the container
//!  execs(id, container_id, created_at, spec, state)
//!                                         started sessions; gone with their container
//!  events(number, at_ns, kind, action, actor, attributes, bytes_end)
//!                                         the journal; the oldest go first
//! ```
//!
//! `spec`, `state`, `intent` and `record` are JSON in the encoding of `model`'s serde derives;
//! `echo` is the client's own bytes. Dates are RFC 3339. An operator reads the file with
//! `sqlite3 -readonly`; only the daemon writes it.
//!
//! **Intents.** An operation that touches the host writes its [`Intent`] before the first effect
//! and clears it together with the outcome, so that after a crash the next start knows what was
//! half done.
//!
//! **Damage.** A row that cannot be read costs only itself: it is listed in [`Contents::damaged`]
//! and stays in the file. A file whose pages are damaged is not opened at all.

mod journal;
mod load;
mod reserve;
mod row;
mod schema;
mod writer;

use std::path::Path;

use model::{
    Attachment, ContainerId, ContainerName, ContainerSpec, ContainerState, Context, Digest, Error,
    Event, ExecId, ExecState, Health, ImageRecord, Intent, NetworkId, NetworkRecord, Reference,
    Result, VolumeName, VolumeRecord,
};
use rusqlite::{Connection, params};

pub use journal::{Batch, Journal};
pub use row::{ContainerRow, Contents, Damaged, ExecRow, Table};

use writer::{Writer, check_one};

/// A handle to the ledger; clones share its one writer.
///
/// Each method resolves once its change is durable. Dropping the future does not take the change
/// back: once queued it is made. Where the order of two changes matters, await the first before
/// making the second. Errors: [`model::Kind::Conflict`] for a clash of names or ids,
/// [`model::Kind::NotFound`] for a change of a row that is not there, [`model::Kind::System`] when
/// the file cannot be written (nothing of that call was kept then).
#[derive(Debug, Clone)]
pub struct Ledger {
    writer: Writer,
    journal: Journal,
}

impl Ledger {
    /// Opens the ledger at `path`, or makes it, brings its schema up to date and reads all of it.
    /// `boot_id` tells whether the host was restarted since events were last written. Blocking:
    /// call it from a thread that may wait.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged, is no ledger, or was written by a newer
    /// version. The message names the file and what can be done.
    pub fn open(path: &Path, boot_id: &str) -> Result<(Self, Contents)> {
        let mut connection = schema::open(path)?;
        let contents = load::contents(&mut connection)
            .context(format_args!("reading the ledger {}", path.display()))?;
        let extent = journal::Extent::begin(&connection, boot_id);
        let extent = extent.map_err(|e| schema::explain(path, &e))?;
        let feed = journal::Feed::new(&extent);
        let writer = Writer::start(connection, path, extent, feed.clone())?;
        let journal = Journal::new(path, feed);
        Ok((Self { writer, journal }, contents))
    }

    /// The events, for those who follow them.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The same ledger, for one change that tells `events`: they are in the journal when the
    /// change is made, and not when it is not.
    #[must_use]
    pub fn telling(&self, events: Vec<Event>) -> Self {
        Self {
            writer: self.writer.telling(events),
            journal: self.journal.clone(),
        }
    }

    /// The same ledger, for one change that `apply` puts in force for those who read from memory:
    /// called when the change is durable and before anybody is told of it, by the ledger's own
    /// thread, so it must not wait for anything.
    #[must_use]
    pub fn applying(&self, apply: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            writer: self.writer.applying(std::sync::Arc::new(apply)),
            journal: self.journal.clone(),
        }
    }

    /// Keeps events of what is no change of the ledger. Resolves when their place in the order is
    /// certain: what is kept after this returns comes after them. On a full disk they are lost,
    /// and that was logged.
    ///
    /// # Errors
    /// None but that the ledger is closed.
    pub async fn tell_soon(&self, events: Vec<Event>) -> Result<()> {
        self.writer.telling(events).tell_soon().await
    }

    /// Keeps events of what is no change of the ledger, and resolves when they can be read.
    pub async fn tell(&self, events: Vec<Event>) -> Result<()> {
        let writer = self.writer.telling(events);
        let written = writer.write_until_reboot(|_| Ok(())).await;
        written.context("keeping events")
    }

    /// Keeps a new container together with the volumes made for it. A volume that is already
    /// known stays as it is.
    ///
    /// # Errors
    /// A name or id that is taken, also by a damaged row: `Conflict`.
    pub async fn insert_container(
        &self,
        row: ContainerRow,
        new_volumes: Vec<VolumeRecord>,
    ) -> Result<()> {
        let stored = row::encode_container(&row)?;
        let volumes = new_volumes
            .iter()
            .map(row::encode_volume)
            .collect::<Result<Vec<_>>>()?;
        self.writer
            .write(move |db| {
                stored.insert(db)?;
                volumes.iter().try_for_each(|v| v.insert(db))
            })
            .await
            .context(format_args!("keeping container {}", row.id))
    }

    /// Replaces a container's state, intent and count of restarts: the frequent write, small
    /// whatever the container.
    pub async fn update_container_state(
        &self,
        id: &ContainerId,
        state: &ContainerState,
        intent: Option<Intent>,
        restart_count: u32,
    ) -> Result<()> {
        let key = id.as_str().to_owned();
        let state = row::to_json(state)?;
        let frees = matches!(intent, Some(Intent::Removing { .. }));
        let intent = intent.as_ref().map(row::to_json).transpose()?;
        let update = move |db: &Connection| {
            let changed = db
                .prepare_cached(
                    "UPDATE container_states SET state = ?2, intent = ?3, restart_count = ?4
                     WHERE id = ?1",
                )?
                .execute(params![key, state, intent, restart_count])?;
            check_one(changed)
        };
        let written = match frees {
            true => self.writer.write_freeing(update).await,
            false => self.writer.write(update).await,
        };
        written.context(format_args!("keeping the state of container {id}"))
    }

    /// Replaces what a container was asked to be: its limits have changed.
    pub async fn update_container_spec(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
    ) -> Result<()> {
        let key = id.as_str().to_owned();
        let spec = row::to_json(spec)?;
        let update = self.writer.write(move |db| {
            let changed = db
                .prepare_cached("UPDATE containers SET spec = ?2 WHERE id = ?1")?
                .execute(params![key, spec])?;
            check_one(changed)
        });
        update
            .await
            .context(format_args!("keeping what container {id} was asked to be"))
    }

    /// Keeps what a container's health checks have found. As with exec sessions it survives the
    /// daemon, not the host.
    ///
    /// # Errors
    /// A container that is not there: `NotFound`.
    pub async fn put_health(&self, id: &ContainerId, health: &Health) -> Result<()> {
        let (key, record) = (id.to_string(), row::to_json(health)?);
        let put = self.writer.write_until_reboot(move |db| {
            db.prepare_cached(
                "INSERT INTO health (id, record) VALUES (?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET record = excluded.record",
            )?
            .execute([&key, &record])?;
            Ok(())
        });
        put.await
            .context(format_args!("keeping the health of container {id}"))
    }

    /// Keeps what a container's run holds of networks, in place of what it held. It survives the daemon,
    /// not the host: no run does.
    pub async fn put_attachment(&self, id: &ContainerId, attachment: &Attachment) -> Result<()> {
        let (key, record) = (id.to_string(), row::to_json(attachment)?);
        let put = self.writer.write_until_reboot(move |db| {
            db.prepare_cached(
                "INSERT INTO attachments (id, record) VALUES (?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET record = excluded.record",
            )?
            .execute([&key, &record])?;
            Ok(())
        });
        put.await
            .context(format_args!("keeping the addresses of container {id}"))
    }

    /// Forgets what a container's run held. That it held nothing is no error.
    pub async fn delete_attachment(&self, id: &ContainerId) -> Result<()> {
        let key = id.to_string();
        let forget = self.writer.write_until_reboot(move |db| {
            delete(db, "DELETE FROM attachments WHERE id = ?1", &key)
        });
        forget
            .await
            .context(format_args!("forgetting the addresses of container {id}"))
    }

    /// Keeps a network, a new one or as it is now.
    ///
    /// # Errors
    /// A name that is taken: `Conflict`.
    pub async fn put_network(&self, record: &NetworkRecord) -> Result<()> {
        let (id, name) = (record.id.to_string(), record.name.to_string());
        let json = row::to_json(record)?;
        self.writer
            .write(move |db| {
                let put = "INSERT INTO networks (id, name, record) VALUES (?1, ?2, ?3) \
                    ON CONFLICT (id) DO UPDATE SET name = excluded.name, record = excluded.record";
                db.prepare_cached(put)?.execute([&id, &name, &json])?;
                Ok(())
            })
            .await
            .context(format_args!("keeping network {}", record.name))
    }

    /// Forgets a network. One that is not there is no error.
    pub async fn delete_network(&self, id: &NetworkId) -> Result<()> {
        let key = id.to_string();
        self.writer
            .write_freeing(move |db| delete(db, "DELETE FROM networks WHERE id = ?1", &key))
            .await
            .context(format_args!("forgetting network {id}"))
    }

    /// Gives a container another name.
    ///
    /// # Errors
    /// A name that is taken: `Conflict`.
    pub async fn rename_container(&self, id: &ContainerId, name: &ContainerName) -> Result<()> {
        let (key, new) = (id.as_str().to_owned(), name.as_str().to_owned());
        self.writer
            .write(move |db| {
                let changed = db
                    .prepare_cached("UPDATE containers SET name = ?2 WHERE id = ?1")?
                    .execute(params![key, new])?;
                check_one(changed)
            })
            .await
            .context(format_args!("renaming container {id} to {name}"))
    }

    /// Forgets a container and the given volumes, in one step. What is not there is no error: a
    /// removal may be finished twice.
    pub async fn delete_container(&self, id: &ContainerId, volumes: Vec<VolumeName>) -> Result<()> {
        let key = id.as_str().to_owned();
        self.writer
            .write_freeing(move |db| {
                delete(db, "DELETE FROM containers WHERE id = ?1", &key)?;
                volumes
                    .iter()
                    .try_for_each(|v| delete(db, "DELETE FROM volumes WHERE name = ?1", v.as_str()))
            })
            .await
            .context(format_args!("forgetting container {id}"))
    }

    /// Keeps an image, in place of one of the same id, and points `tags` at it.
    pub async fn put_image(&self, record: &ImageRecord, tags: Vec<Reference>) -> Result<()> {
        let key = record.id.as_str().to_owned();
        let json = row::to_json(record)?;
        self.writer
            .write(move |db| {
                db.prepare_cached(
                    "INSERT INTO images (id, record) VALUES (?1, ?2)
                     ON CONFLICT (id) DO UPDATE SET record = excluded.record",
                )?
                .execute(params![key, json])?;
                tags.iter().try_for_each(|t| point_tag(db, t, &key))
            })
            .await
            .context(format_args!("keeping image {}", record.id))
    }

    /// Points a name at an image, wherever it pointed before.
    ///
    /// # Errors
    /// An image that is not there: `NotFound`.
    pub async fn tag(&self, reference: &Reference, image: &Digest) -> Result<()> {
        let (name, id) = (reference.clone(), image.as_str().to_owned());
        self.writer
            .write(move |db| point_tag(db, &name, &id))
            .await
            .context(format_args!("tagging image {image} as {reference}"))
    }

    /// Forgets names and images, those with all their names, in one step. What is not there is no error.
    pub async fn forget_images(&self, names: Vec<Reference>, ids: Vec<Digest>) -> Result<()> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let forget = move |db: &Connection| {
            let mut names = names.iter();
            names.try_for_each(|name| delete(db, "DELETE FROM tags WHERE reference = ?1", name))?;
            let mut ids = ids.iter();
            ids.try_for_each(|id| delete(db, "DELETE FROM images WHERE id = ?1", id.as_str()))
        };
        let forgotten = self.writer.write_freeing(forget).await;
        forgotten.context("forgetting images")
    }

    /// Keeps a new volume. One that is already known stays as it is.
    pub async fn put_volume(&self, record: &VolumeRecord) -> Result<()> {
        let stored = row::encode_volume(record)?;
        self.writer
            .write(move |db| stored.insert(db))
            .await
            .context(format_args!("keeping volume {}", record.name))
    }

    /// Forgets a volume. One that is not there is no error.
    pub async fn delete_volume(&self, name: &VolumeName) -> Result<()> {
        let key = name.as_str().to_owned();
        self.writer
            .write_freeing(move |db| delete(db, "DELETE FROM volumes WHERE name = ?1", &key))
            .await
            .context(format_args!("forgetting volume {name}"))
    }

    /// Keeps a new exec session. As all of an exec's rows it survives the daemon, not the host:
    /// sessions end with the boot.
    ///
    /// # Errors
    /// A container that is not there: `NotFound`.
    pub async fn insert_exec(&self, row: &ExecRow) -> Result<()> {
        let (id, container) = (row.id.to_string(), row.container_id.to_string());
        let created_at = row.created_at.to_string();
        let (spec, state) = (row::to_json(&row.spec)?, row::to_json(&row.state)?);
        self.writer
            .write_until_reboot(move |db| {
                db.prepare_cached(
                    "INSERT INTO execs (id, container_id, created_at, spec, state)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![id, container, created_at, spec, state])?;
                Ok(())
            })
            .await
            .context(format_args!("keeping exec {}", row.id))
    }

    /// Keeps an exec session's new state. One that is not there, because it was forgotten or its
    /// container removed meanwhile, stays away and is no error.
    pub async fn update_exec(&self, id: &ExecId, state: &ExecState) -> Result<()> {
        let (key, state) = (id.to_string(), row::to_json(state)?);
        self.writer
            .write_until_reboot(move |db| {
                db.prepare_cached("UPDATE execs SET state = ?2 WHERE id = ?1")?
                    .execute(params![key, state])?;
                Ok(())
            })
            .await
            .context(format_args!("keeping exec {id}"))
    }

    /// Forgets an exec session. One that is not there is no error.
    pub async fn delete_exec(&self, id: &ExecId) -> Result<()> {
        let key = id.to_string();
        self.writer
            .write_until_reboot(move |db| delete(db, "DELETE FROM execs WHERE id = ?1", &key))
            .await
            .context(format_args!("forgetting exec {id}"))
    }

    /// Keeps a fact about the daemon itself; [`Contents::meta`] has it at the next start.
    pub async fn set_meta(&self, key: &str, value: &str) -> Result<()> {
        let (k, v) = (key.to_owned(), value.to_owned());
        self.writer
            .write(move |db| put_meta(db, &k, &v))
            .await
            .context(format_args!("keeping {key}"))
    }

    /// Marks something as begun: [`Contents::meta`] has the mark if the daemon is killed before
    /// [`Ledger::unmark`]. It survives the daemon, not the host.
    pub async fn mark(&self, key: &str) -> Result<()> {
        let k = key.to_owned();
        let put = self
            .writer
            .write_until_reboot(move |db| put_meta(db, &k, ""));
        put.await.context(format_args!("keeping {key}"))
    }

    /// Takes a mark away. One that is not there is no error.
    pub async fn unmark(&self, key: &str) -> Result<()> {
        let k = key.to_owned();
        let forget = move |db: &Connection| delete(db, "DELETE FROM meta WHERE key = ?1", &k);
        self.writer
            .write_until_reboot(forget)
            .await
            .context(format_args!("forgetting {key}"))
    }
}

fn delete(db: &Connection, sql: &str, key: &str) -> Result<(), writer::WriteError> {
    db.prepare_cached(sql)?.execute([key])?;
    Ok(())
}

fn put_meta(db: &Connection, key: &str, value: &str) -> Result<(), writer::WriteError> {
    db.prepare_cached(
        "INSERT INTO meta (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute([key, value])?;
    Ok(())
}

fn point_tag(db: &Connection, name: &Reference, image: &str) -> Result<(), writer::WriteError> {
    db.prepare_cached(
        "INSERT INTO tags (reference, image_id) VALUES (?1, ?2)
         ON CONFLICT (reference) DO UPDATE SET image_id = excluded.image_id",
    )?
    .execute(params![name.to_string(), image])?;
    Ok(())
}

/// What `model::Error` says when a value of ours does not serialise: a defect, not a bad input.
fn unencodable(e: &serde_json::Error) -> Error {
    Error::system(format!("encoding a ledger row: {e}"))
}

#[cfg(test)]
mod suite;
