//! The careful way: first the text of every value, then the values. Slower, and the one that explains.

use super::column::Column;
use super::cursor::Cursor;
use super::expectation::Expectations;
use super::problem::{Kind, Problem};

/// Finds where the last value of each column begins and ends. `found` has one entry per column.
///
/// All of the event is checked to be JSON, whatever columns there are.
pub(super) fn find(
    payload: &[u8],
    columns: &Expectations,
    found: &mut [Option<(usize, usize)>],
    scratch: &mut Vec<u8>,
) -> Result<(), Problem> {
    found.fill(None);
    let mut cursor = Cursor::new(payload, 0, payload.len());
    cursor.skip_whitespace();
    cursor.enter(b'{', "`{`")?;
    let mut first = true;
    while let Some(key) = cursor.next_key(first)? {
        first = false;
        let start = cursor.at;
        cursor.skip_value()?;
        if let Some(index) = columns.column(cursor.unescape(key, scratch)) {
            found[index] = Some((start, cursor.at));
        }
    }
    cursor.skip_whitespace();
    if cursor.is_done() { Ok(()) } else { Err(cursor.problem(Kind::Trailing)) }
}

/// Appends the value that was found for a column.
pub(super) fn append(
    payload: &[u8],
    found: Option<(usize, usize)>,
    column: &mut Column,
) -> Result<(), Problem> {
    let Some((start, end)) = found else {
        return column.append_null().map_err(|kind| Problem::new(payload.len(), kind));
    };
    let mut cursor = Cursor::within(payload, start, end);
    column.append(&mut cursor)?;
    if cursor.is_done() { Ok(()) } else { Err(cursor.problem(Kind::Unexpected)) }
}
