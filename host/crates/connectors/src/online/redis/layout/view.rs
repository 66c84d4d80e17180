//! What is worked out once for each view: how its keys and fields are written.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use model::error::Failure;
use model::view::ViewRef;

use super::field::Fields;
use super::key::KeyLayout;

/// Keys and fields of a view.
#[derive(Debug)]
pub(in crate::online::redis) struct ViewLayout {
    /// The view as it was then.
    pub(in crate::online::redis) view: ViewRef,
    pub(in crate::online::redis) keys: KeyLayout,
    pub(in crate::online::redis) fields: Fields,
}

/// The layouts of the views that were seen, by name: as many as there are views. One that changed is worked out anew.
#[derive(Debug, Default)]
pub(in crate::online::redis) struct ViewLayouts {
    known: RwLock<HashMap<String, Arc<ViewLayout>>>,
}

impl ViewLayouts {
    /// The layout of a view. Fails as [`Fields::new`] does.
    pub(in crate::online::redis) fn of(&self, view: &ViewRef) -> Result<Arc<ViewLayout>, Failure> {
        // A panic while this lock is held leaves whole layouts behind: they are made before they are put in.
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&view.name)
            && (Arc::ptr_eq(&known.view, view) || known.view == *view)
        {
            return Ok(Arc::clone(known));
        }
        let layout =
            ViewLayout { view: Arc::clone(view), keys: KeyLayout::new(view), fields: Fields::new(view)? };
        let layout = Arc::new(layout);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(view.name.clone(), Arc::clone(&layout));
        Ok(layout)
    }
}
