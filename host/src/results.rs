//! Results on stdout: the one writer, so that a reader who has seen enough may leave.

use std::io::{self, Write};

/// Writes a result. A closed pipe is the reader's choice, not an error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A table with these headings.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(headings.iter().copied());
    for row in rows {
        table.add_row(row.iter());
    }
    // Every cell has a blank on each side; trailing ones would make every line as wide as the widest.
    let trimmed = |line: &str| format!("{}\n", line.strip_prefix(' ').unwrap_or(line).trim_end());
    let mut text: String = table.to_string().lines().map(trimmed).collect();
    if rows.is_empty() {
        text.push_str("(none)\n");
    }
    text
}
