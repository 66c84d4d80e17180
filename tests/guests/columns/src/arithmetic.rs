//! One multiply and one compare over columns: what the sandbox benchmark runs within a guest and, as the same source,
//! natively beside it.

/// `amount * quantity` of each row; all three are 8-byte values, little-endian.
pub(crate) fn totals(amount: &[u8], quantity: &[u8]) -> Vec<u8> {
    let rows = amount.as_chunks().0.iter().zip(quantity.as_chunks().0);
    let totals = rows.map(|(amount, quantity)| {
        #[expect(clippy::cast_precision_loss, reason = "quantities are small")]
        let quantity = i64::from_le_bytes(*quantity) as f64;
        (f64::from_le_bytes(*amount) * quantity).to_le_bytes()
    });
    totals.collect::<Vec<[u8; 8]>>().into_flattened()
}

/// Whether the total of each row is above a threshold, as bits.
pub(crate) fn is_large(totals: &[u8], threshold: f64) -> Vec<u8> {
    let bit = |total: &[u8; 8]| u8::from(f64::from_le_bytes(*total) > threshold);
    let byte = |totals: &[[u8; 8]]| totals.iter().rev().fold(0, |byte, total| byte << 1 | bit(total));
    let (eights, rest) = totals.as_chunks().0.as_chunks::<8>();
    let mut bits: Vec<u8> = eights.iter().map(|totals| byte(totals)).collect();
    if !rest.is_empty() {
        bits.push(byte(rest));
    }
    bits
}
