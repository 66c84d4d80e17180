//! Finds where a run of plain text ends, 16 bytes at a time.

/// What stopped a scan, and what was seen on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stop {
    /// Offset of the first quote, backslash or control character; `end` if there is none.
    pub(super) at: usize,
    /// Whether all bytes before it are ASCII.
    pub(super) ascii: bool,
}

/// Scans `data[at..end]` for a quote, a backslash or a control character. May read, but not judge, bytes behind `end`.
#[inline(always)]
pub(super) fn plain_text(data: &[u8], at: usize, end: usize) -> Stop {
    #[cfg(target_arch = "x86_64")]
    {
        blocks_sse2(data, at, end)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        bytes(data, at, end, true)
    }
}

/// Like [`plain_text`], and appends what it steps over to `out`.
#[inline(always)]
pub(super) fn copy_plain_text(data: &[u8], at: usize, end: usize, out: &mut Vec<u8>) -> Stop {
    #[cfg(target_arch = "x86_64")]
    {
        copy_sse2(data, at, end, out)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let stop = plain_text(data, at, end);
        out.extend_from_slice(&data[at..stop.at]);
        stop
    }
}

/// Bytes in a block.
#[cfg(target_arch = "x86_64")]
const BLOCK: usize = 16;

/// Bytes of room that may be made before it is known where a text ends. More would cost memory in large events, less
/// would make events of usual size slower.
#[cfg(target_arch = "x86_64")]
const MAX_AHEAD: usize = 4096;

/// What [`judge`] says of a block: one bit for each byte.
#[cfg(target_arch = "x86_64")]
struct Judgment {
    /// Quotes, backslashes and control characters.
    stops: u32,
    /// Bytes beyond ASCII.
    high: u32,
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn judge(block: std::arch::x86_64::__m128i) -> Judgment {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8};
    // SAFETY: SSE2 belongs to every x86-64 processor; these work on values alone.
    unsafe {
        let quote = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x22));
        let backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x5c));
        let control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
        let stops = _mm_or_si128(_mm_or_si128(quote, backslash), control);
        Judgment {
            stops: _mm_movemask_epi8(stops).cast_unsigned(),
            high: _mm_movemask_epi8(block).cast_unsigned(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn blocks_sse2(data: &[u8], mut at: usize, end: usize) -> Stop {
    let mut ascii = true;
    while at < end {
        let Some(block) = data.get(at..at + BLOCK) else {
            return bytes(data, at, end, ascii);
        };
        // SAFETY: the unaligned load reads the 16 bytes of `block`.
        let block = unsafe { std::arch::x86_64::_mm_loadu_si128(block.as_ptr().cast()) };
        let Judgment { stops, high } = judge(block);
        if stops != 0 {
            let offset = stops.trailing_zeros();
            ascii &= high & ((1 << offset) - 1) == 0;
            at += offset as usize;
            break;
        }
        ascii &= high == 0;
        at += BLOCK;
    }
    Stop { at: at.min(end), ascii }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn copy_sse2(data: &[u8], start: usize, end: usize, out: &mut Vec<u8>) -> Stop {
    if start >= end || data.len() - end < BLOCK || end - start > MAX_AHEAD {
        return copy_exactly(data, start.min(end), end, out);
    }
    // The last block may be written whole, though only a part of it counts.
    out.reserve(end - start + BLOCK);
    let before = out.len();
    let (mut at, mut ascii) = (start, true);
    loop {
        // SAFETY: `at < end` and at least 16 bytes of `data` lie behind `end`, so the load stays within `data`. At most
        // `at - start + 16 <= end - start + 16` bytes behind `before` are written, which were reserved.
        let block = unsafe {
            let block = std::arch::x86_64::_mm_loadu_si128(data.as_ptr().add(at).cast());
            std::arch::x86_64::_mm_storeu_si128(out.as_mut_ptr().add(before + at - start).cast(), block);
            block
        };
        let Judgment { stops, high } = judge(block);
        if stops != 0 {
            let offset = stops.trailing_zeros();
            ascii &= high & ((1 << offset) - 1) == 0;
            at += offset as usize;
            break;
        }
        ascii &= high == 0;
        at += BLOCK;
        if at >= end {
            break;
        }
    }
    let at = at.min(end);
    // SAFETY: all bytes up to there were written above, and the capacity was reserved.
    unsafe { out.set_len(before + at - start) };
    Stop { at, ascii }
}

/// Without room for more than the text: at the end of the allocation, and in large events.
#[cfg(target_arch = "x86_64")]
#[cold]
fn copy_exactly(data: &[u8], at: usize, end: usize, out: &mut Vec<u8>) -> Stop {
    let stop = plain_text(data, at, end);
    out.extend_from_slice(&data[at..stop.at]);
    stop
}

fn bytes(data: &[u8], at: usize, end: usize, mut ascii: bool) -> Stop {
    for (offset, byte) in data[at..end].iter().enumerate() {
        if *byte < 0x20 || *byte == b'"' || *byte == b'\\' {
            return Stop { at: at + offset, ascii };
        }
        ascii &= byte.is_ascii();
    }
    Stop { at: end, ascii }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_bytes_agree() {
        for length in 0..70 {
            for special in [b'"', b'\\', 0x1f, 0, 0x80, 0xff, b' '] {
                for place in 0..length {
                    let mut data = vec![b'a'; length];
                    data[place] = special;
                    for end in [length, place, length.saturating_sub(3)] {
                        for at in [0, 1, 17] {
                            if at > end {
                                continue;
                            }
                            let expected = bytes(&data, at, end, true);
                            let actual = plain_text(&data, at, end);
                            assert_eq!(actual.at, expected.at, "{length} {special} {place} {at} {end}");
                            let mut copied = b"before".to_vec();
                            let stop = copy_plain_text(&data, at, end, &mut copied);
                            assert!(stop.at == actual.at && (stop.ascii == actual.ascii || stop.at == end));
                            assert_eq!(copied, [b"before", &data[at..actual.at]].concat());
                            if actual.at < end {
                                assert_eq!(
                                    actual.ascii, expected.ascii,
                                    "{length} {special} {place} {at} {end}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}
