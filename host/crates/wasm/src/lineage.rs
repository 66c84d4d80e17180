//! Which input row each output row comes from, and which input rows were refused: both validated.

use crate::bindings::millrace::transform::types::Rejection;
use crate::fault::quoted;
use crate::lift::LiftError;
use crate::log::cut;

/// Bytes of a reason that are kept.
const MAX_REASON: usize = 1 << 10;

/// What a guest says about rows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lineage {
    /// Ascending; empty = one to one.
    pub(crate) input_rows: Vec<u32>,
    /// Ascending by row, each at most once.
    pub(crate) rejected: Vec<(u32, String)>,
}

/// Checks that output rows come from input rows that exist, in order, and that a rejected row has no output.
pub(crate) fn check(
    row_bytes: &[u8],
    rows: usize,
    input_rows: usize,
    rejected: Vec<Rejection>,
) -> Result<Lineage, LiftError> {
    let lineage = input_rows_of(row_bytes, rows, input_rows)?;
    let rejected = rejections(rejected, input_rows)?;
    let one_to_one = lineage.is_empty() && rows > 0;
    for (row, _) in &rejected {
        if one_to_one || lineage.binary_search(row).is_ok() {
            return Err(LiftError::new(format!(
                "input row {row} is rejected and has output rows as well{}",
                if one_to_one { " (without `input-rows`, every input row has one)" } else { "" }
            )));
        }
    }
    Ok(Lineage { input_rows: lineage, rejected })
}

fn input_rows_of(row_bytes: &[u8], rows: usize, input_rows: usize) -> Result<Vec<u32>, LiftError> {
    if row_bytes.is_empty() {
        if rows == 0 || rows == input_rows {
            return Ok(Vec::new());
        }
        return Err(LiftError::new(format!(
            "{rows} rows for {input_rows} without `input-rows`: say which input row each comes from"
        )));
    }
    if row_bytes.len() != rows.saturating_mul(4) {
        return Err(LiftError::new(format!(
            "`input-rows` of {} bytes, {rows} output rows need {}",
            row_bytes.len(),
            rows.saturating_mul(4)
        )));
    }
    let (numbers, _) = row_bytes.as_chunks::<4>();
    let lineage: Vec<u32> = numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let ascending = lineage.windows(2).fold(true, |ascending, pair| ascending & (pair[0] <= pair[1]));
    if !ascending {
        let row = lineage.windows(2).position(|pair| pair[0] > pair[1]).unwrap_or(0) + 1;
        return Err(LiftError::new(format!("`input-rows` descends at output row {row}")));
    }
    // Ascending: the last one is the greatest.
    if let Some(last) =
        lineage.last().filter(|last| usize::try_from(**last).unwrap_or(usize::MAX) >= input_rows)
    {
        return Err(LiftError::new(format!("`input-rows` names input row {last}, there are {input_rows}")));
    }
    Ok(lineage)
}

fn rejections(rejected: Vec<Rejection>, input_rows: usize) -> Result<Vec<(u32, String)>, LiftError> {
    let mut rows: Vec<(u32, String)> = rejected
        .into_iter()
        .map(|Rejection { row, reason }| (row, quoted(cut(&reason, MAX_REASON))))
        .collect();
    rows.sort_by_key(|(row, _)| *row);
    if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(LiftError::new(format!("input row {} is rejected twice", pair[0].0)));
    }
    if let Some((row, _)) =
        rows.last().filter(|(row, _)| usize::try_from(*row).unwrap_or(usize::MAX) >= input_rows)
    {
        return Err(LiftError::new(format!("it rejects input row {row}, there are {input_rows}")));
    }
    Ok(rows)
}
