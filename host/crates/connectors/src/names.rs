//! Partitions, for a line of the log.

use std::fmt;

use model::position::Partition;

/// Partitions, parted by commas.
pub(crate) struct Names<'a>(pub(crate) &'a [Partition]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, partition) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{partition}")?;
        }
        Ok(())
    }
}
