//! Reads all rows at open. A row that cannot be read becomes a [`Damaged`]; only a failure of the
//! file itself is an error.

use std::collections::HashSet;

use model::{ContainerId, ContainerName, Digest, Error, ImageRecord, Reference, Result};
use model::{NetworkRecord, Timestamp, VolumeRecord};
use rusqlite::{Connection, Row};

use crate::row::{ContainerRow, Contents, Damaged, ExecRow, Reason, Table, from_json};

/// Everything, as of one moment.
pub(crate) fn contents(db: &mut Connection) -> Result<Contents> {
    let mut all = Contents::default();
    read(db, &mut all).map_err(|e| Error::system(e.to_string()))?;
    Ok(all)
}

fn read(db: &mut Connection, all: &mut Contents) -> rusqlite::Result<()> {
    // One read transaction: no row can be seen without the rows that belong to it.
    let db = db.transaction()?;
    let damaged = &mut all.damaged;
    each(
        &db,
        Table::Meta,
        "SELECT key, value FROM meta WHERE key NOT LIKE 'events%'",
        damaged,
        |row| {
            all.meta.insert(text(row, "key")?, text(row, "value")?);
            Ok(())
        },
    )?;
    let sql = "SELECT c.id AS key, c.name, created_at, image_id, image_name, runtime, spec, echo,
                      state, intent, restart_count, h.record AS health, a.record AS attachment
               FROM containers c LEFT JOIN container_states s ON s.id = c.id
               LEFT JOIN health h ON h.id = c.id
               LEFT JOIN attachments a ON a.id = c.id
               ORDER BY created_at, c.id";
    each(&db, Table::Containers, sql, damaged, |row| {
        all.containers.push(container(row)?);
        Ok(())
    })?;
    let sql = "SELECT id AS key, record FROM images";
    each(&db, Table::Images, sql, damaged, |row| {
        let record: ImageRecord = from_json("record", &text(row, "record")?)?;
        same(record.id.as_str(), &text(row, "key")?)?;
        all.images.push(record);
        Ok(())
    })?;
    let sql = "SELECT reference AS key, image_id FROM tags ORDER BY reference";
    each(&db, Table::Tags, sql, damaged, |row| {
        let reference: Reference = parse(row, "key")?;
        all.tags.push((reference, parse(row, "image_id")?));
        Ok(())
    })?;
    let sql = "SELECT id AS key, container_id, created_at, spec, state FROM execs
               ORDER BY created_at, id";
    each(&db, Table::Execs, sql, damaged, |row| {
        all.execs.push(ExecRow {
            id: parse(row, "key")?,
            container_id: parse(row, "container_id")?,
            created_at: parse(row, "created_at")?,
            spec: from_json("spec", &text(row, "spec")?)?,
            state: from_json("state", &text(row, "state")?)?,
        });
        Ok(())
    })?;
    let sql = "SELECT id AS key, name, record FROM networks ORDER BY rowid";
    each(&db, Table::Networks, sql, damaged, |row| {
        let record: NetworkRecord = from_json("record", &text(row, "record")?)?;
        same(record.id.as_str(), &text(row, "key")?)?;
        all.networks.push(record);
        Ok(())
    })?;
    let sql = "SELECT name AS key, record FROM volumes";
    each(&db, Table::Volumes, sql, damaged, |row| {
        let record: VolumeRecord = from_json("record", &text(row, "record")?)?;
        same(record.name.as_str(), &text(row, "key")?)?;
        all.volumes.push(record);
        Ok(())
    })?;
    leases(&db, all)
}

/// What runs hold of networks, where no container's row was read that tells of it.
fn leases(db: &Connection, all: &mut Contents) -> rusqlite::Result<()> {
    let known: HashSet<ContainerId> = all.containers.iter().map(|c| c.id.clone()).collect();
    let sql = "SELECT id AS key, record FROM attachments";
    each(db, Table::Attachments, sql, &mut all.damaged, |row| {
        let id: ContainerId = parse(row, "key")?;
        if !known.contains(&id) {
            let record = from_json("record", &text(row, "record")?)?;
            all.leases.push((id, record));
        }
        Ok(())
    })
}

/// Calls `keep` for each row of `sql`; its refusals become entries of `damaged`.
fn each(
    db: &Connection,
    table: Table,
    sql: &str,
    damaged: &mut Vec<Damaged>,
    mut keep: impl FnMut(&Row<'_>) -> Result<(), Reason>,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let Err(reason) = keep(row) else { continue };
        let key = text(row, "key").unwrap_or_default();
        tracing::error!(?table, key, reason, "a row of the ledger is damaged");
        damaged.push(Damaged {
            table,
            key,
            name: match table {
                Table::Containers => parse::<ContainerName>(row, "name")
                    .ok()
                    .map(|name| name.to_string()),
                Table::Networks => text(row, "name").ok(),
                _ => None,
            },
            reason,
        });
    }
    Ok(())
}

fn container(row: &Row<'_>) -> Result<ContainerRow, Reason> {
    let optional = |column| column_of::<Option<String>>(row, column);
    // The join gives NULL here when the state row is missing.
    let state = optional("state")?.ok_or("state: missing")?;
    Ok(ContainerRow {
        id: parse::<ContainerId>(row, "key")?,
        name: parse::<ContainerName>(row, "name")?,
        created_at: parse::<Timestamp>(row, "created_at")?,
        image_id: parse::<Digest>(row, "image_id")?,
        image_name: text(row, "image_name")?,
        runtime: text(row, "runtime")?,
        spec: from_json("spec", &text(row, "spec")?)?,
        echo: column_of(row, "echo")?,
        state: from_json("state", &state)?,
        intent: optional("intent")?
            .map(|json| from_json("intent", &json))
            .transpose()?,
        restart_count: column_of(row, "restart_count")?,
        // It can be found out anew: damage to it costs nobody the container.
        health: optional("health")
            .ok()
            .flatten()
            .and_then(|json| from_json("health", &json).ok()),
        attachment: optional("attachment")?
            .map(|json| from_json("attachment", &json))
            .transpose()?,
    })
}

fn text(row: &Row<'_>, column: &str) -> Result<String, Reason> {
    column_of(row, column)
}

fn column_of<T: rusqlite::types::FromSql>(row: &Row<'_>, column: &str) -> Result<T, Reason> {
    row.get(column).map_err(|e| format!("{column}: {e}"))
}

fn parse<T>(row: &Row<'_>, column: &str) -> Result<T, Reason>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text(row, column)?
        .parse()
        .map_err(|e| format!("{column}: {e}"))
}

/// A record carries its key too; when they differ, no one knows which of them to believe.
fn same(inside: &str, key: &str) -> Result<(), Reason> {
    if inside == key {
        return Ok(());
    }
    Err(format!("record: tells of {inside:?} instead"))
}
