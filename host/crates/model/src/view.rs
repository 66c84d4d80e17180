//! What stages need to know of a feature view: names and columns, resolved once, shared by reference.

use std::sync::Arc;

use crate::schema::Field;

/// A feature view as the flow sees it. Columns of its rows: join keys, then features, each in declared order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewShape {
    /// The project that the host serves.
    pub project: String,
    /// The view's name, unique in the project.
    pub name: String,
    /// The source that it reads.
    pub source: String,
    /// First 32 hex digits of SHA-256 of `project/name`: the identifier in output records.
    pub id: String,
    /// Join keys in declared order; never null.
    pub keys: Vec<Field>,
    /// Features in declared order; always nullable in storage.
    pub features: Vec<Field>,
    /// How long a row may be served after its event time, in microseconds, its end included; `None` = forever.
    pub ttl_micros: Option<i64>,
    /// Whether rows go to the online store.
    pub online: bool,
}

impl ViewShape {
    /// Keys, then features: the columns of this view's rows.
    pub fn columns(&self) -> impl Iterator<Item = &Field> {
        self.keys.iter().chain(&self.features)
    }

    /// Index of a feature among [`ViewShape::features`].
    pub fn feature_index(&self, name: &str) -> Option<usize> {
        self.features.iter().position(|feature| feature.name == name)
    }
}

/// SHA-256 of a component's bytes and its parameters: what decides whether a generation is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// All 64 hex digits.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The first 16 hex digits, as in output identities, dead letters and messages.
    pub fn short(&self) -> String {
        self.to_hex()[..16].to_owned()
    }

    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (index, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

/// One transform of a view during one stretch of its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Counts up from 1 within a view.
    pub number: u32,
    /// Of component and parameters.
    pub digest: Digest,
}

/// A shared [`ViewShape`].
pub type ViewRef = Arc<ViewShape>;
