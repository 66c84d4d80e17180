//! Measuring aids: what a pipelined client would send for the same rows, without any comparison. Used by
//! `benches/redis.rs` and by `host bench`; nothing of the store uses them.

use model::batch::FeatureBatch;
use model::error::Failure;

use super::layout::version::Version;
use super::layout::{EntityKeys, Fields, KeyLayout, ValueColumn, append_timestamp};
use super::writer::wire::{append_bulk, append_command, append_length};

/// A script that checks a claim and writes rows without comparing them: the way that was not taken.
///
/// KEYS: the claim, then each hash. ARGV: the token, the number of parts of each row, then fields and values.
pub const SCRIPTED: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local width = tonumber(ARGV[2])
local at = 3
for row = 2, #KEYS do
  redis.call('HSET', KEYS[row], unpack(ARGV, at, at + width - 1))
  at = at + width
end
return 1";

/// Rows as one `HSET` each, with the very fields and bytes that the store writes.
pub fn plain(batch: &FeatureBatch) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let parts = 2 * (batch.view.features.len() + 2);
    each_row(batch, &mut |key, fields| {
        append_length(b'*', 2 + parts, &mut out);
        append_bulk(b"HSET", &mut out);
        append_bulk(key, &mut out);
        out.extend_from_slice(fields);
    })?;
    Ok(out)
}

/// Rows as one call of [`SCRIPTED`], whose hash this is.
pub fn scripted(batch: &FeatureBatch, hash: &str, claim: &str, token: &str) -> Result<Vec<u8>, Failure> {
    let (mut keys, mut fields) = (Vec::new(), Vec::new());
    each_row(batch, &mut |key, row| {
        append_bulk(key, &mut keys);
        fields.extend_from_slice(row);
    })?;
    let width = 2 * (batch.view.features.len() + 2);
    let mut out = Vec::new();
    append_length(b'*', 3 + 1 + batch.len() + 2 + batch.len() * width, &mut out);
    for part in ["EVALSHA", hash, &(batch.len() + 1).to_string(), claim] {
        append_bulk(part.as_bytes(), &mut out);
    }
    out.extend_from_slice(&keys);
    append_bulk(token.as_bytes(), &mut out);
    append_bulk(width.to_string().as_bytes(), &mut out);
    out.extend_from_slice(&fields);
    Ok(out)
}

/// A command.
pub fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    append_command(parts, &mut out);
    out
}

/// Hands over key, and fields with their values as bulk strings, of each row.
fn each_row(batch: &FeatureBatch, take: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Failure> {
    let view = &batch.view;
    let fields = Fields::new(view)?;
    let mut keys = EntityKeys::default();
    keys.encode(&KeyLayout::new(view), batch)?;
    let columns = &batch.rows.columns()[view.keys.len()..];
    let columns =
        view.features.iter().zip(columns).map(|(feature, column)| ValueColumn::new(feature, column));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let (mut out, mut value) = (Vec::new(), Vec::new());
    for row in 0..batch.len() {
        out.clear();
        value.clear();
        append_bulk(&fields.version, &mut out);
        Version::of_row(batch, row).append(false, &mut value);
        append_bulk(&value, &mut out);
        value.clear();
        append_bulk(&fields.time, &mut out);
        append_timestamp(batch.event_times[row], &mut value);
        append_bulk(&value, &mut out);
        for (field, column) in fields.features.iter().zip(&columns) {
            append_bulk(field, &mut out);
            column.append_bulk(row, &mut out);
        }
        take(keys.get(row), &out);
    }
    Ok(())
}
