//! Positions in a shard: 24 bytes of sequence number, 8 of the record's place within an aggregated one.
//!
//! Two positions are no record's. *From a time on* sorts before every record and says where reading begins: records
//! that arrived before that time are not ours. *The shard's end* sorts behind every record: a closed shard was read to
//! its end, and its children may be read.

use model::position::Position;

/// Bytes of the sequence number; those of AWS have up to 186 bits.
const SEQUENCE_BYTES: usize = 24;

/// What a position in a shard means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardPosition {
    /// Right before the first record that arrived at or after this time, microseconds since the epoch.
    From(i64),
    /// A record, or one of those that it was packed from.
    Record {
        /// Decimal, as Kinesis writes it.
        sequence: String,
        /// Which of the packed records; 0 for a plain one.
        sub: u64,
    },
    /// Behind the last record of a closed shard.
    End,
}

/// The position right before the first record that arrived at or after this time, microseconds since the epoch.
pub fn from_time(micros: i64) -> Position {
    let mut bytes = [0; 32];
    bytes[16..24].copy_from_slice(&u64::try_from(micros).unwrap_or(0).to_be_bytes());
    Position::from_bytes(&bytes).expect("32 bytes are a position")
}

/// Behind the last record of a closed shard.
pub fn end() -> Position {
    Position::from_bytes(&[0xff; 32]).expect("32 bytes are a position")
}

/// The position of a record; `None` if the sequence number is no decimal number of at most 192 bits, or one below the
/// least that a record can have (2^64).
pub fn of_record(sequence: &str, sub: u64) -> Option<Position> {
    if sequence.is_empty() {
        return None;
    }
    // The number in 64 bits each, the lowest first; as many digits at a time as fit into these.
    let mut limbs = [0_u64; 3];
    for digits in sequence.as_bytes().chunks(19) {
        let (mut number, mut scale) = (0_u64, 1_u64);
        for digit in digits {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number = number * 10 + u64::from(digit);
            scale *= 10;
        }
        let mut carry = u128::from(number);
        for limb in &mut limbs {
            let product = u128::from(*limb) * u128::from(scale) + carry;
            *limb = u64::try_from(product & u128::from(u64::MAX)).expect("it was cut to 64 bits");
            carry = product >> 64;
        }
        if carry != 0 {
            return None;
        }
    }
    let mut bytes = [0_u8; 32];
    for (place, limb) in bytes[..SEQUENCE_BYTES].rchunks_exact_mut(8).zip(limbs) {
        place.copy_from_slice(&limb.to_be_bytes());
    }
    let is_record = bytes[..16].iter().any(|byte| *byte != 0) && bytes[..SEQUENCE_BYTES] != [0xff; 24];
    bytes[SEQUENCE_BYTES..].copy_from_slice(&sub.to_be_bytes());
    is_record.then(|| Position::from_bytes(&bytes).expect("32 bytes are a position"))
}

/// The position of another of the records that this position's record was packed from.
pub fn with_sub(position: &Position, sub: u64) -> Position {
    let mut bytes = [0; 32];
    let sequence = position.as_bytes().get(..SEQUENCE_BYTES).unwrap_or_default();
    bytes[..sequence.len()].copy_from_slice(sequence);
    bytes[SEQUENCE_BYTES..].copy_from_slice(&sub.to_be_bytes());
    Position::from_bytes(&bytes).expect("32 bytes are a position")
}

/// What a position means; `None` if it is none of a shard.
pub fn parse(position: &Position) -> Option<ShardPosition> {
    let bytes: &[u8; 32] = position.as_bytes().try_into().ok()?;
    if *bytes == [0xff; 32] {
        return Some(ShardPosition::End);
    }
    let (sequence, sub) = bytes.split_at(SEQUENCE_BYTES);
    if sequence[..16].iter().all(|byte| *byte == 0) {
        let micros = u64::from_be_bytes(sequence[16..].try_into().ok()?);
        return Some(ShardPosition::From(i64::try_from(micros).ok()?));
    }
    let sub = u64::from_be_bytes(sub.try_into().ok()?);
    Some(ShardPosition::Record { sequence: decimal(sequence), sub })
}

fn decimal(bytes: &[u8]) -> String {
    let mut number = bytes.to_vec();
    let mut digits = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = remainder << 8 | u32::from(*byte);
            *byte = (value / 10).to_le_bytes()[0];
            remainder = value % 10;
        }
        digits.push(char::from(b'0' + remainder.to_le_bytes()[0]));
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_come_back_and_keep_their_order() {
        let least = "49590338271490256608559692538361571095921575989136588898";
        let next = "49590338271490256608559692538361571095921575989136588899";
        let position = |sequence: &str, sub| of_record(sequence, sub).unwrap();
        let expected = ShardPosition::Record { sequence: least.to_owned(), sub: 7 };
        assert_eq!(parse(&position(least, 7)), Some(expected));
        assert_eq!(with_sub(&position(least, 7), 8), position(least, 8));
        assert!(position(least, 7) < position(least, 8));
        assert!(position(least, u64::MAX) < position(next, 0));
        assert!(position("18446744073709551616", 0) < position(least, 0), "a number of fewer digits is less");
    }

    #[test]
    fn the_two_that_are_no_records_lie_around_all_records() {
        let record = of_record("18446744073709551616", 0).unwrap();
        assert!(from_time(i64::MAX) < record && record < end());
        assert_eq!(
            parse(&from_time(1_700_000_000_000_000)),
            Some(ShardPosition::From(1_700_000_000_000_000))
        );
        assert_eq!(parse(&end()), Some(ShardPosition::End));
    }

    #[test]
    fn what_is_no_sequence_number_has_no_position() {
        let too_long = "9".repeat(60);
        // 2^192 - 1 stands for the end, 2^192 does not fit.
        let greatest = "6277101735386680763835789423207666416102355444464034512895";
        let too_great = "6277101735386680763835789423207666416102355444464034512896";
        for text in ["", "-1", "12a", "7", "18446744073709551615", &too_long, greatest, too_great] {
            assert_eq!(of_record(text, 0), None, "{text}");
        }
        assert_eq!(parse(&Position::from_u64(7)), None);
    }
}
