//! Bits across bytes.

use super::*;

#[test]
fn bits_come_back_after_any_truncation() {
    let bit = |index: usize| index.wrapping_mul(0x9e37) >> 7 & 1 == 1;
    for kept in 0..200 {
        let mut bits = Bits::default();
        (0..200).for_each(|_| bits.push(true));
        bits.truncate(kept);
        (kept..300).for_each(|index| bits.push(bit(index)));
        let buffer = bits.finish();
        assert_eq!(buffer.len(), 300.max(kept));
        for index in 0..300 {
            assert_eq!(buffer.value(index), index < kept || bit(index), "{kept} {index}");
        }
        assert_eq!(bits.finish().len(), 0);
    }
}

#[test]
fn missing_values_are_where_they_were_put() {
    for kept in [0, 1, 63, 64, 65, 130] {
        let mut nulls = Nulls::default();
        (0..130).for_each(|_| nulls.push_value());
        nulls.push_null();
        nulls.truncate(kept);
        nulls.push_null();
        nulls.push_value();
        assert_eq!(nulls.len(), kept + 2);
        let buffer = nulls.finish().unwrap();
        let missing: Vec<usize> = (0..buffer.len()).filter(|index| buffer.is_null(*index)).collect();
        assert_eq!((buffer.len(), missing), (kept + 2, vec![kept]));
    }
    let mut nulls = Nulls::default();
    nulls.push_null();
    nulls.truncate(0);
    nulls.push_value();
    assert!(nulls.finish().is_none());
}
