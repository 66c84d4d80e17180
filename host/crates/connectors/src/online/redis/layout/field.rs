//! Names of the fields of a view within the hash of an entity.

use model::error::Failure;
use model::view::ViewShape;

/// The field names of a view; made once for each view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::online::redis) struct Fields {
    /// Of each feature, in declared order.
    pub(in crate::online::redis) features: Vec<[u8; 4]>,
    /// Of the event time.
    pub(in crate::online::redis) time: Vec<u8>,
    /// Of the version.
    pub(in crate::online::redis) version: Vec<u8>,
}

impl Fields {
    /// Fails with `Stop` if two features of the view have one field name, as it is only 32 bits of a hash.
    pub(in crate::online::redis) fn new(view: &ViewShape) -> Result<Self, Failure> {
        let name = &view.name;
        let features: Vec<[u8; 4]> =
            view.features.iter().map(|feature| feature_field(name, &feature.name)).collect();
        for (index, field) in features.iter().enumerate() {
            if let Some(first) = features[..index].iter().position(|other| other == field) {
                return Err(Failure::stop(format!(
                    "keep view `{name}` in Redis: its features `{}` and `{}` have one field name in Feast's layout; rename one of them",
                    view.features[first].name, view.features[index].name
                )));
            }
        }
        let with_view = |prefix: &str| format!("{prefix}:{name}").into_bytes();
        Ok(Self { features, time: with_view("_ts"), version: with_view("_mv") })
    }
}

/// The field of one feature.
pub(super) fn feature_field(view: &str, feature: &str) -> [u8; 4] {
    murmur3(format!("{view}:{feature}").as_bytes()).to_le_bytes()
}

/// MurmurHash3, the 32-bit variant for x86, with seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    const SPREAD: [u32; 2] = [0xcc9e_2d51, 0x1b87_3593];
    let scramble = |block: u32| block.wrapping_mul(SPREAD[0]).rotate_left(15).wrapping_mul(SPREAD[1]);
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = 0u32;
    for block in blocks {
        hash ^= scramble(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let mut last = [0; 4];
    last[..tail.len()].copy_from_slice(tail);
    // Nothing is left of an empty tail: its scrambled value is 0.
    hash ^= scramble(u32::from_le_bytes(last));
    // The algorithm counts bytes modulo 2^32.
    hash ^= (bytes.len() & 0xffff_ffff) as u32;
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}
