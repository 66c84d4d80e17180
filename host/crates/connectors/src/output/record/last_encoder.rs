//! The encoder of the last batch: the next one mostly has the same view and options.

use std::sync::Arc;

use model::output::OutputOptions;
use model::view::ViewRef;

use super::RecordEncoder;

/// The encoder of the last batch, if there was one.
#[derive(Default)]
pub(crate) struct LastEncoder(Option<(ViewRef, Arc<OutputOptions>, RecordEncoder)>);

impl LastEncoder {
    /// An encoder for rows of this view with these options: the last one, if it is that.
    pub(crate) fn of(&mut self, view: &ViewRef, options: &Arc<OutputOptions>) -> &mut RecordEncoder {
        let fits = |known: &(ViewRef, Arc<OutputOptions>, RecordEncoder)| {
            Arc::ptr_eq(&known.0, view) && Arc::ptr_eq(&known.1, options)
        };
        if !self.0.as_ref().is_some_and(fits) {
            self.0 = Some((Arc::clone(view), Arc::clone(options), RecordEncoder::new(view, options)));
        }
        let (_, _, encoder) = self.0.as_mut().expect("it was made above");
        encoder
    }
}
