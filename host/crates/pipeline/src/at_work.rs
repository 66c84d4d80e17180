//! A transform at work for one unit, with everything that is looked up once: columns in, columns out.

use std::sync::Arc;

use model::codec::SourceColumn;
use model::error::Failure;
use model::transform::{Component, Transform, TransformOptions};
use model::view::Generation;

use crate::assemble::OutputLayout;
use crate::setup::ViewSetup;
use crate::transform::InputLayout;

/// The transform of one stretch of a partition.
pub(crate) struct AtWork {
    pub(crate) generation: Generation,
    pub(crate) transform: Box<dyn Transform>,
    pub(crate) input: InputLayout,
    pub(crate) output: OutputLayout,
    /// For messages of the guest.
    pub(crate) view: Arc<str>,
}

impl AtWork {
    /// The view's own transform.
    pub(crate) fn newest(setup: &ViewSetup, number: u32, columns: &[SourceColumn]) -> Result<Self, Failure> {
        let generation = Generation { number, digest: setup.digest };
        Self::new(setup, generation, setup.component.as_ref(), &setup.options, columns, false)
    }

    /// The transform of an earlier generation, for a replay; `None` if there is none that fits.
    pub(crate) fn older(
        setup: &ViewSetup,
        generation: &Generation,
        columns: &[SourceColumn],
    ) -> Option<Self> {
        let older = (setup.older)(&generation.digest)?;
        Self::new(setup, generation.clone(), older.component.as_ref(), &older.options, columns, true).ok()
    }

    fn new(
        setup: &ViewSetup,
        generation: Generation,
        component: &dyn Component,
        options: &TransformOptions,
        columns: &[SourceColumn],
        is_older: bool,
    ) -> Result<Self, Failure> {
        let description = component.description();
        let (shape, time) = (&setup.shape, &setup.event_time_column);
        Ok(Self {
            generation,
            transform: component.transform(options),
            input: InputLayout::new(&description.input, columns)?,
            output: OutputLayout::new(shape, time, &description.output, is_older)?,
            view: Arc::clone(&options.view),
        })
    }
}
