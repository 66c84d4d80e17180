//! Opens the sources that view files declare.

use std::sync::Arc;

use connectors::codec::bounded::BoundedFormat;
use connectors::codec::json::JsonFormat;
use connectors::codec::raw::RawFormat;
use connectors::source::file::{FileOptions, FileSource};
use connectors::source::push::{PushLog, PushOptions};
use model::codec::Format;
use model::error::Failure;
use model::source::{Push, Source};
use serve::PushEntry;
use spec::plan::{FormatKind, SourceKind, SourcePlan};

use super::parts::Parts;

/// Bytes of the newest pushed events that stay in memory for views that keep up.
const PUSH_MEMORY_BYTES: usize = 64 << 20;

/// A source that is open.
pub(crate) struct OpenSource {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) format: Arc<dyn Format>,
    push: Option<Arc<PushLog>>,
}

impl OpenSource {
    /// Opens what the plan says.
    pub(crate) fn open(parts: &Parts, plan: &SourcePlan) -> Result<Self, Failure> {
        let format = format(plan)?;
        let data = &parts.settings.data_dir;
        match &plan.kind {
            SourceKind::Kafka(_) => Err(Failure::stop("open a Kafka source: not wired yet")),
            SourceKind::Push => {
                let log = PushLog::open(PushOptions {
                    name: plan.name.clone(),
                    directory: data.join("push").join(&plan.name),
                    format: Arc::clone(&format),
                    timestamp_column: plan.timestamp_field.clone(),
                    earliest: plan.bounds.earliest,
                    max_future: plan.bounds.max_future,
                    max_log_bytes: parts.settings.push.max_log_bytes,
                    segment_bytes: parts.settings.push.segment_bytes,
                    max_row_bytes: plan.max_row_bytes,
                    memory_bytes: PUSH_MEMORY_BYTES,
                    clock: Arc::clone(&parts.clock),
                })?;
                Ok(Self { source: Arc::clone(&log) as _, format, push: Some(log) })
            }
            SourceKind::File { path, follow } => {
                // A line beyond the limit comes cut to one byte more than it, and is put aside for that.
                let format = Arc::new(BoundedFormat::new(format, plan.max_row_bytes)) as Arc<dyn Format>;
                let source = FileSource::open(FileOptions {
                    name: plan.name.clone(),
                    path: path.clone(),
                    follow: *follow,
                    state_directory: data.join("files").join(&plan.name),
                    max_row_bytes: plan.max_row_bytes.saturating_add(1),
                    clock: Arc::clone(&parts.clock),
                })?;
                Ok(Self { source, format, push: None })
            }
        }
    }

    /// How pushes see it.
    pub(crate) fn entry(&self, plan: &SourcePlan) -> PushEntry {
        PushEntry {
            push: self.push.as_ref().map(|log| Arc::clone(log) as Arc<dyn Push>),
            columns: plan.columns.clone(),
            kind: plan.kind.name(),
            raw: plan.format == FormatKind::Raw,
        }
    }

    /// Takes no more events.
    pub(crate) fn close(&self) {
        if let Some(log) = &self.push {
            log.close();
        }
    }
}

/// How the payloads of a source are decoded.
pub(crate) fn format(plan: &SourcePlan) -> Result<Arc<dyn Format>, Failure> {
    let columns = plan.columns.clone();
    Ok(match plan.format {
        FormatKind::Json => Arc::new(JsonFormat::new(columns)),
        FormatKind::Raw => Arc::new(RawFormat::new(columns)?),
    })
}
