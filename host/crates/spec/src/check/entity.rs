//! Entities.

use super::{Outcome, not_reserved};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::EntityPlan;
use crate::raw::{RawEntity, join_key_type};

pub(super) fn entity(raw: &RawEntity, outcome: &mut Outcome) -> Option<EntityPlan> {
    let keys = &raw.join_keys.value.0;
    if keys.is_empty() {
        outcome.report_absent(
            Diagnostic::at(Code::Empty, &raw.join_keys.spot, "an entity needs at least one join key")
                .help("name the column that identifies it: `join_keys: { user_id: string }`"),
        );
    }
    let mut join_keys = Vec::with_capacity(keys.len());
    for (name, data_type) in keys {
        not_reserved(name, outcome);
        let data_type = outcome.note(join_key_type(data_type));
        join_keys.extend(data_type.map(|data_type| (name.value.0.clone(), data_type)));
    }
    Some(EntityPlan {
        name: raw.name.value.0.clone(),
        join_keys,
        description: raw.description.clone().unwrap_or_default(),
        spot: raw.name.spot.clone(),
    })
}
