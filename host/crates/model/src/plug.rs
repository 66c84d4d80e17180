//! What can be plugged in: the catalog behind `host list sources|formats|stores`.

/// What a plug is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads events.
    Source,
    /// Decodes payloads.
    Format,
    /// Keeps the newest row of each entity.
    OnlineStore,
    /// Takes output records.
    OutputStream,
    /// Keeps events that could not be used.
    DeadLetter,
}

/// One built-in connector or format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plug {
    /// The key that selects it in a file, such as `push` in `source: {push: {}}`.
    pub kind: &'static str,
    /// What it is good for.
    pub role: Role,
    /// One line for people.
    pub summary: &'static str,
}
