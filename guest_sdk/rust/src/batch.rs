//! The contract's records as plain Rust: batches of columns and what describes them.
//!
//! Field for field the same as `wit/types.wit`, on every target, so that columns can be built and transforms be
//! called natively. Nothing here interprets a buffer; that is [`crate::source`] and [`crate::write`].

/// A column of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: String,
    /// The type as text, such as `int64` or `list<float32>`.
    pub data_type: String,
    /// Whether values may be missing.
    pub nullable: bool,
}

/// The values of one column in Arrow's physical layout, little-endian.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// One bit a row, least significant bit first, 1 = there is a value; empty = every row has one.
    pub validity: Vec<u8>,
    /// For texts, bytes, lists and maps: rows + 1 ascending 32-bit integers.
    pub offsets: Vec<u8>,
    /// Fixed-width values, bits, or the bytes of texts.
    pub values: Vec<u8>,
    /// Indexes of the item, field, or key and value columns within the batch.
    pub children: Vec<u32>,
}

/// Rows as columns: the top-level columns in the order of the schema, then their children.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Number of rows of the top-level columns.
    pub rows: u32,
    /// The columns; a child stands behind its parent.
    pub columns: Vec<Column>,
}

/// Something a transform may be configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Key in the view's `params`.
    pub name: String,
    /// `bool`, `integer`, `number`, `string`, `list`, `object` or `any`.
    pub kind: String,
    /// Whether it must be given.
    pub required: bool,
    /// One line for people.
    pub doc: String,
}

/// What a transform says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// A name, for messages.
    pub name: String,
    /// A version, for messages.
    pub version: String,
    /// The input columns that it needs, in this order.
    pub input: Vec<Field>,
    /// The output columns that it produces, in this order.
    pub output: Vec<Field>,
    /// What it may be configured with.
    pub parameters: Vec<Parameter>,
}

/// Where a batch comes from. For messages only: output must not depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The feature view.
    pub view: String,
    /// The transform's generation within the view.
    pub generation: u32,
    /// The source partition.
    pub partition: String,
    /// Position of the first row in the partition, in hex.
    pub first_position: String,
    /// 1 at first, more when parts of a failed batch are tried again.
    pub attempt: u32,
}

/// An input row that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The input row.
    pub row: u32,
    /// Why, for the people who read dead letters.
    pub reason: String,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The output columns.
    pub batch: Batch,
    /// The input row of each output row, as 32-bit little-endian integers; empty = one to one.
    pub input_rows: Vec<u8>,
    /// Input rows that were refused.
    pub rejected: Vec<Rejection>,
}
