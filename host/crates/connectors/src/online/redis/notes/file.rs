//! The file in which a host notes what it needs to find lost writes again after a restart. JSON; replaced as a whole.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use model::error::Failure;
use model::position::{Partition, Position};
use serde_json::{Value, json};

use super::track::{Entry, Lane, Track};

const FORMAT: u64 = 1;

/// What stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// The name of the store in Redis.
    pub(super) store: Option<String>,
    /// By the key of the mark.
    pub(super) tracks: BTreeMap<String, Track>,
    /// Through where each view and partition was acknowledged.
    pub(super) reached: BTreeMap<Lane, Reached>,
    /// What was lost and is not read again yet.
    pub(super) lost: BTreeMap<Lane, Option<Position>>,
}

/// How far a view has come in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) through: Position,
    /// How often the view had been rewound then.
    pub(super) epoch: u32,
}

impl Contents {
    /// As it is written: with fewer batches.
    pub(super) fn condensed(&self) -> Self {
        let tracks = self.tracks.iter().map(|(key, track)| (key.clone(), track.condensed())).collect();
        Self { store: self.store.clone(), tracks, reached: self.reached.clone(), lost: self.lost.clone() }
    }
}

/// The path of a connection's file.
pub(super) fn path(directory: &Path, connection: &str) -> PathBuf {
    let name: String = connection
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' })
        .collect();
    directory.join(format!("redis-{name}.json"))
}

/// Reads the file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Contents>, Failure> {
    let doing = || format!("read `{}`, which tells what Redis had acknowledged", path.display());
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::stop(doing()).caused_by(error)),
    };
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| Failure::stop(doing()).caused_by(error))?;
    match parse(&value) {
        Some(contents) => Ok(Some(contents)),
        None => Err(Failure::stop(format!("{}: it is damaged, or of a newer version", doing()))),
    }
}

/// Replaces the file; durable on return.
pub(super) fn write(path: &Path, contents: &Contents) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        let beside = path.with_extension("json.new");
        let mut file = File::create(&beside)?;
        file.write_all(render(contents).to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|error| {
        Failure::retry(format!("write `{}`, which tells what Redis has acknowledged", path.display()))
            .caused_by(error)
    })
}

fn render(contents: &Contents) -> Value {
    let position = |position: &Option<Position>| position.map(|position| position.to_string());
    let tracks: Vec<Value> = contents
        .tracks
        .iter()
        .map(|(key, track)| {
            let lanes: Vec<Value> = track
                .lanes
                .iter()
                .map(|(lane, entries)| {
                    let entries: Vec<Value> =
                        entries.iter().map(|entry| json!([entry.number, position(&entry.before)])).collect();
                    json!({"view": lane.view, "partition": lane.partition.as_str(), "batches": entries})
                })
                .collect();
            json!({"key": key, "acknowledged": track.acknowledged, "lanes": lanes})
        })
        .collect();
    let reached = contents.reached.iter().map(|(lane, reached)| {
        let through = reached.through.to_string();
        json!({"view": lane.view, "partition": lane.partition.as_str(), "through": through, "epoch": reached.epoch})
    });
    let reached: Vec<Value> = reached.collect();
    let lost = contents.lost.iter().map(
        |(lane, to)| json!({"view": lane.view, "partition": lane.partition.as_str(), "to": position(to)}),
    );
    let lost: Vec<Value> = lost.collect();
    json!({"format": FORMAT, "store": contents.store, "marks": tracks, "reached": reached, "lost": lost})
}

fn parse(value: &Value) -> Option<Contents> {
    if value.get("format")?.as_u64()? != FORMAT {
        return None;
    }
    let mut contents =
        Contents { store: value.get("store")?.as_str().map(str::to_owned), ..Contents::default() };
    for mark in value.get("marks")?.as_array()? {
        let mut track = Track { acknowledged: mark.get("acknowledged")?.as_u64()?, ..Track::default() };
        for lane in mark.get("lanes")?.as_array()? {
            let mut entries = VecDeque::new();
            for entry in lane.get("batches")?.as_array()? {
                entries
                    .push_back(Entry { number: entry.get(0)?.as_u64()?, before: position(entry.get(1)?)? });
            }
            track.lanes.insert(parse_lane(lane)?, entries);
        }
        contents.tracks.insert(mark.get("key")?.as_str()?.to_owned(), track);
    }
    for reached in value.get("reached")?.as_array()? {
        let through = position(reached.get("through")?)??;
        let epoch = u32::try_from(reached.get("epoch")?.as_u64()?).ok()?;
        contents.reached.insert(parse_lane(reached)?, Reached { through, epoch });
    }
    for lost in value.get("lost")?.as_array()? {
        contents.lost.insert(parse_lane(lost)?, position(lost.get("to")?)?);
    }
    Some(contents)
}

fn parse_lane(value: &Value) -> Option<Lane> {
    let text = |name| value.get(name)?.as_str();
    Some(Lane { view: text("view")?.to_owned(), partition: Partition::new(text("partition")?) })
}

/// The outer `None`: this is no position.
fn position(value: &Value) -> Option<Option<Position>> {
    match value {
        Value::Null => Some(None),
        Value::String(hex) => Position::from_hex(hex).map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_it_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path(), "cache/1");
        assert_eq!(path.file_name().unwrap(), "redis-cache_1.json");
        assert_eq!(read(&path).unwrap(), None);
        let lane = |partition: &str| Lane { view: "counts".into(), partition: Partition::new(partition) };
        let mut track = Track::default();
        track.note(&lane("0"), Entry { number: 7, before: None });
        track.note(&lane("0"), Entry { number: 9, before: Some(Position::from_u64(70)) });
        let mut contents = Contents { store: Some("abc".into()), ..Contents::default() };
        contents.tracks.insert("mark".into(), track);
        contents.lost.insert(lane("1"), Some(Position::from_u64(3)));
        contents.lost.insert(lane("2"), None);
        contents.reached.insert(lane("0"), Reached { through: Position::from_u64(90), epoch: 3 });
        write(&path, &contents).unwrap();
        write(&path, &contents).unwrap();
        assert_eq!(read(&path).unwrap(), Some(contents));
        fs::write(&path, "{\"format\": 2}").unwrap();
        assert!(read(&path).unwrap_err().message.contains("newer version"));
        fs::write(&path, "nonsense").unwrap();
        read(&path).unwrap_err();
    }
}
