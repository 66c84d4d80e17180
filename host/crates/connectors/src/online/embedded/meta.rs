//! What the store knows of views, as keys and values on disk: names, row sets, schemas, generations, positions.
//!
//! All of it lies under [`super::disk::META`], is read whole when the store opens and answered from memory afterwards.
//! Numbers are big-endian; texts inside a value stand behind their length.

use model::online::GenerationEntry;
use model::position::{Partition, Position};
use model::schema::{DataType, Field};
use model::source::Positions;
use model::view::{Digest, Generation};

use super::disk::META;

/// One thing that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// A view has a number.
    View { name: String, number: u32 },
    /// The rows of a view with these join keys have a number.
    RowSet { view: u32, keys: String, number: u32 },
    /// The rows of a row set that begin with this schema number have these features.
    Schema { row_set: u32, number: u16, features: Vec<Field> },
    /// A transform of a view.
    Generation { view: u32, entry: GenerationEntry },
    /// Where a view began in a partition.
    Started { view: u32, partition: Partition, after: Option<Position> },
    /// Through which position a view's partition is durable.
    Online { view: u32, partition: Partition, through: Position },
    /// How often a view was rewound; absent = never.
    Epoch { view: u32, epoch: u32 },
}

impl Fact {
    pub(super) fn key(&self) -> Vec<u8> {
        let mut key = META.to_vec();
        match self {
            Self::View { name, .. } => {
                key.push(b'v');
                key.extend_from_slice(name.as_bytes());
            }
            Self::RowSet { view, keys, .. } => {
                key.push(b'r');
                key.extend_from_slice(&view.to_be_bytes());
                key.extend_from_slice(keys.as_bytes());
            }
            Self::Schema { row_set, number, .. } => {
                key.push(b's');
                key.extend_from_slice(&row_set.to_be_bytes());
                key.extend_from_slice(&number.to_be_bytes());
            }
            Self::Generation { view, entry } => return generation_key(*view, entry.generation.number),
            Self::Epoch { view, .. } => {
                key.push(b'e');
                key.extend_from_slice(&view.to_be_bytes());
            }
            Self::Started { view, partition, .. } => {
                key.push(b'b');
                key.extend_from_slice(&view.to_be_bytes());
                key.extend_from_slice(partition.as_str().as_bytes());
            }
            Self::Online { view, partition, .. } => return online_key(*view, partition),
        }
        key
    }

    pub(super) fn value(&self) -> Vec<u8> {
        let mut value = Vec::new();
        match self {
            Self::View { number, .. } | Self::RowSet { number, .. } | Self::Epoch { epoch: number, .. } => {
                value.extend_from_slice(&number.to_be_bytes());
            }
            Self::Schema { features, .. } => {
                for feature in features {
                    put_text(&mut value, &feature.name);
                    put_text(&mut value, &feature.data_type.to_string());
                }
            }
            Self::Generation { entry, .. } => {
                value.extend_from_slice(&entry.generation.digest.0);
                for (partition, position) in &entry.after {
                    put_text(&mut value, partition.as_str());
                    put_position(&mut value, position);
                }
            }
            Self::Started { after, .. } => {
                if let Some(after) = after {
                    put_position(&mut value, after);
                }
            }
            Self::Online { through, .. } => put_position(&mut value, through),
        }
        value
    }

    /// Reads what [`Fact::key`] and [`Fact::value`] wrote; `None` if it is nothing that this version writes.
    pub(super) fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let (kind, mut key) = key.strip_prefix(&META)?.split_first()?;
        let mut value = value;
        Some(match kind {
            b'v' => Self::View { name: text(key)?, number: take_u32(&mut value)? },
            b'r' => {
                Self::RowSet { view: take_u32(&mut key)?, keys: text(key)?, number: take_u32(&mut value)? }
            }
            b's' => {
                let row_set = take_u32(&mut key)?;
                let number = u16::from_be_bytes(take(&mut key, 2)?.try_into().ok()?);
                let mut features = Vec::new();
                while !value.is_empty() {
                    let name = take_text(&mut value)?;
                    features.push(Field::nullable(name, take_text(&mut value)?.parse::<DataType>().ok()?));
                }
                Self::Schema { row_set, number, features }
            }
            b'g' => {
                let view = take_u32(&mut key)?;
                let number = take_u32(&mut key)?;
                let digest = Digest(take(&mut value, 32)?.try_into().ok()?);
                let mut after = Positions::new();
                while !value.is_empty() {
                    let partition = Partition::new(take_text(&mut value)?);
                    after.insert(partition, take_position(&mut value)?);
                }
                Self::Generation {
                    view,
                    entry: GenerationEntry { generation: Generation { number, digest }, after },
                }
            }
            b'b' => Self::Started {
                view: take_u32(&mut key)?,
                partition: Partition::new(text(key)?),
                after: if value.is_empty() { None } else { Some(take_position(&mut value)?) },
            },
            b'e' => Self::Epoch { view: take_u32(&mut key)?, epoch: take_u32(&mut value)? },
            b'p' => Self::Online {
                view: take_u32(&mut key)?,
                partition: Partition::new(text(key)?),
                through: take_position(&mut value)?,
            },
            _ => return None,
        })
    }
}

/// The key of a generation.
pub(super) fn generation_key(view: u32, number: u32) -> Vec<u8> {
    let mut key = META.to_vec();
    key.push(b'g');
    key.extend_from_slice(&view.to_be_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The key of a position.
pub(super) fn online_key(view: u32, partition: &Partition) -> Vec<u8> {
    let mut key = META.to_vec();
    key.push(b'p');
    key.extend_from_slice(&view.to_be_bytes());
    key.extend_from_slice(partition.as_str().as_bytes());
    key
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).expect("names and types have less than 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_position(out: &mut Vec<u8>, position: &Position) {
    out.push(u8::try_from(position.as_bytes().len()).expect("a position has at most 32 bytes"));
    out.extend_from_slice(position.as_bytes());
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(take(bytes, 4)?.try_into().ok()?))
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = take_u32(bytes)? as usize;
    text(take(bytes, length)?)
}

fn take_position(bytes: &mut &[u8]) -> Option<Position> {
    let length = take(bytes, 1)?[0];
    Position::from_bytes(take(bytes, usize::from(length))?)
}

fn text(bytes: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(bytes).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fact: &Fact) {
        assert_eq!(Fact::parse(&fact.key(), &fact.value()).as_ref(), Some(fact));
    }

    #[test]
    fn facts_are_read_back() {
        let partition = Partition::new("shardId-000");
        let position = Position::from_bytes(&[7; 32]).unwrap();
        check(&Fact::View { name: "clicks".into(), number: 1 });
        check(&Fact::RowSet { view: 1, keys: "user_id: string".into(), number: 9 });
        check(&Fact::Schema {
            row_set: 9,
            number: 300,
            features: vec![
                Field::nullable("a", DataType::Int64),
                Field::nullable("b", "map<string, list<struct<x: decimal(10,2)>>>".parse().unwrap()),
            ],
        });
        check(&Fact::Generation {
            view: 1,
            entry: GenerationEntry {
                generation: Generation { number: 3, digest: Digest([5; 32]) },
                after: Positions::from([
                    (partition.clone(), position),
                    (Partition::new(""), Position::from_u64(0)),
                ]),
            },
        });
        check(&Fact::Started { view: 1, partition: partition.clone(), after: None });
        check(&Fact::Started { view: 1, partition: partition.clone(), after: Some(position) });
        check(&Fact::Online { view: 1, partition, through: position });
        check(&Fact::Epoch { view: 1, epoch: 7 });
    }

    #[test]
    fn anything_else_is_refused() {
        let fact = Fact::Online { view: 1, partition: Partition::new("0"), through: Position::from_u64(1) };
        assert_eq!(Fact::parse(&fact.key(), b""), None);
        assert_eq!(Fact::parse(b"\0\0\0\0x", b""), None);
        assert_eq!(Fact::parse(b"\0\0\0\x01v", &[0; 4]), None);
    }
}
