//! The rows as values, and their encoding. Decides what is damaged; never touches the file.

use std::collections::BTreeMap;

use model::{
    Attachment, ContainerId, ContainerName, ContainerSpec, ContainerState, Digest, ExecId,
    ExecSpec, ExecState, Health, ImageRecord, Intent, NetworkRecord, Reference, Result, Timestamp,
    VolumeRecord,
};
use rusqlite::{Connection, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::unencodable;
use crate::writer::WriteError;

/// All the ledger knew when it was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    /// Facts about the daemon itself.
    pub meta: BTreeMap<String, String>,
    /// The containers, oldest first.
    pub containers: Vec<ContainerRow>,
    /// The images.
    pub images: Vec<ImageRecord>,
    /// The names of images. The image a name points at may be among the damaged.
    pub tags: Vec<(Reference, Digest)>,
    /// The volumes.
    pub volumes: Vec<VolumeRecord>,
    /// The networks, oldest first.
    pub networks: Vec<NetworkRecord>,
    /// What runs hold of networks whose containers are removed, or whose rows cannot be read.
    pub leases: Vec<(ContainerId, Attachment)>,
    /// The exec sessions that were started, oldest first.
    pub execs: Vec<ExecRow>,
    /// Rows that could not be read. They are still in the file.
    pub damaged: Vec<Damaged>,
}

/// One container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerRow {
    /// Its id.
    pub id: ContainerId,
    /// Its name, unique among containers.
    pub name: ContainerName,
    /// When it was made.
    pub created_at: Timestamp,
    /// The image it was made from.
    pub image_id: Digest,
    /// The image as the client named it.
    pub image_name: String,
    /// The OCI runtime's configured name.
    pub runtime: String,
    /// What it was asked to be.
    pub spec: ContainerSpec,
    /// What the client sent at create, byte for byte.
    pub echo: Vec<u8>,
    /// Where it is in its life, as last known.
    pub state: ContainerState,
    /// What was begun and not finished.
    pub intent: Option<Intent>,
    /// How often a restart policy started it.
    pub restart_count: u32,
    /// What its health checks have found. Not kept with the row but by
    /// [`crate::Ledger::put_health`].
    pub health: Option<Health>,
    /// What its run holds of networks. Not kept with the row but by [`crate::Ledger::put_attachment`].
    pub attachment: Option<Attachment>,
}

/// One exec session that was started.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecRow {
    /// Its id.
    pub id: ExecId,
    /// Its container; gone with it.
    pub container_id: ContainerId,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it was asked to be.
    pub spec: ExecSpec,
    /// Where it is in its life, as last known.
    pub state: ExecState,
}

/// A row that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Where it is.
    pub table: Table,
    /// Its key: a container's, image's or network's id, a tag's reference, a volume's name.
    pub key: String,
    /// A container's or a network's name, when that much could be read. It stays taken.
    pub name: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

/// The tables a row can be damaged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the schema's own words")]
pub enum Table {
    Meta,
    Containers,
    Images,
    Tags,
    Volumes,
    Networks,
    Attachments,
    Execs,
}

/// A container, ready to be written.
pub(crate) struct StoredContainer {
    id: String,
    name: String,
    created_at: String,
    image_id: String,
    image_name: String,
    runtime: String,
    spec: String,
    echo: Vec<u8>,
    state: String,
    intent: Option<String>,
    restart_count: u32,
}

impl StoredContainer {
    pub(crate) fn insert(&self, db: &Connection) -> Result<(), WriteError> {
        db.prepare_cached(
            "INSERT INTO containers
               (id, name, created_at, image_id, image_name, runtime, spec, echo)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            self.id,
            self.name,
            self.created_at,
            self.image_id,
            self.image_name,
            self.runtime,
            self.spec,
            self.echo,
        ])?;
        db.prepare_cached(
            "INSERT INTO container_states (id, state, intent, restart_count)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            self.id,
            self.state,
            self.intent,
            self.restart_count
        ])?;
        Ok(())
    }
}

pub(crate) fn encode_container(row: &ContainerRow) -> Result<StoredContainer> {
    Ok(StoredContainer {
        id: row.id.as_str().to_owned(),
        name: row.name.as_str().to_owned(),
        created_at: row.created_at.to_string(),
        image_id: row.image_id.as_str().to_owned(),
        image_name: row.image_name.clone(),
        runtime: row.runtime.clone(),
        spec: to_json(&row.spec)?,
        echo: row.echo.clone(),
        state: to_json(&row.state)?,
        intent: row.intent.as_ref().map(to_json).transpose()?,
        restart_count: row.restart_count,
    })
}

/// A volume, ready to be written.
pub(crate) struct StoredVolume {
    name: String,
    record: String,
}

impl StoredVolume {
    pub(crate) fn insert(&self, db: &Connection) -> Result<(), WriteError> {
        db.prepare_cached(
            "INSERT INTO volumes (name, record) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
        )?
        .execute(params![self.name, self.record])?;
        Ok(())
    }
}

pub(crate) fn encode_volume(record: &VolumeRecord) -> Result<StoredVolume> {
    Ok(StoredVolume {
        name: record.name.as_str().to_owned(),
        record: to_json(record)?,
    })
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| unencodable(&e))
}

/// Why one row is damaged; becomes [`Damaged::reason`].
pub(crate) type Reason = String;

/// One column of JSON.
pub(crate) fn from_json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, Reason> {
    serde_json::from_str(text).map_err(|e| format!("{column}: {e}"))
}
