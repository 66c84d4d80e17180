//! What a source does whose next event is not there any more.

/// What to do when the position to read from is not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfRange {
    /// Fail, and say what is there.
    #[default]
    Stop,
    /// Go on at the first record that is there, and count the gap.
    Earliest,
    /// Go on behind the last record, and count the gap.
    Latest,
}
