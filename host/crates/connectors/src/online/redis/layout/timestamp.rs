//! Event times as Feast keeps them: the protobuf message `Timestamp`, seconds and nanoseconds.

use super::protobuf::{Malformed, Message, append_int};

/// Microseconds in a second.
pub(super) const MICROS: i64 = 1_000_000;

/// Appends an instant given in microseconds; 1970-01-01 is nothing at all.
#[inline]
pub(in crate::online::redis) fn append_timestamp(micros: i64, out: &mut Vec<u8>) {
    let (seconds, rest) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
    if seconds != 0 {
        append_int(1, seconds, out);
    }
    if rest != 0 {
        append_int(2, rest * 1_000, out);
    }
}

/// Reads an instant in microseconds; what is below them is cut off.
pub(super) fn parse_timestamp(bytes: &[u8]) -> Result<i64, Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut message = Message::new(bytes);
    while let Some((number, wire)) = message.next()? {
        match number {
            1 => seconds = wire.varint()?.cast_signed(),
            2 => nanos = wire.varint()?.cast_signed(),
            _ => {}
        }
    }
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(Malformed("an instant has more nanoseconds than a second has"));
    }
    join(seconds, nanos / 1_000)
}

/// An instant in microseconds, from its second and the microseconds within it.
pub(super) fn join(seconds: i64, micros: i64) -> Result<i64, Malformed> {
    // The first second that 64 bits of microseconds reach into begins before they do.
    i64::try_from(i128::from(seconds) * i128::from(MICROS) + i128::from(micros))
        .map_err(|_| Malformed("an instant is beyond what microseconds can say"))
}
