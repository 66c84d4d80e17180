//! Output streams, and the rules that bind them to the rest of a view.

use std::path::{Path, PathBuf};

use model::output::{OutputOptions, RecordVersion};

use super::index::Known;
use super::{Context, Outcome, kafka, kinesis};
use crate::diagnostic::{Code, Diagnostic};
use crate::plan::{DeadLetterPlan, OutputPlan, OutputSink, SourceKind, SourcePlan};
use crate::raw::{
    Anything, RawEmit, RawOutputStream, RawProcessingMode, RawProducer, RawVersion, RawView, Spanned,
};
use crate::yaml::NodeValue;

/// The rules about aggregations. An empty list is none.
pub(super) fn aggregations(raw: &RawView, outcome: &mut Outcome) {
    let Some(aggregations) = raw.aggregations.as_ref().filter(|aggregations| !is_empty(&aggregations.value))
    else {
        return;
    };
    outcome.report(
        Diagnostic::at(
            Code::NotInThisBuild,
            &aggregations.spot,
            "not in this build yet: `aggregations` arrive in a later version",
        )
        .help("compute what one event says in the transform, and leave windows to the reader"),
    );
    let Some(output) = &raw.output_stream else { return };
    let mode = raw.stream_processing_mode.as_ref();
    if mode.is_none_or(|mode| mode.value != RawProcessingMode::Continuous) {
        let spot = mode.map_or(&output.spot, |mode| &mode.spot);
        let message =
            "an output stream of a view with aggregations needs `stream_processing_mode: continuous`";
        outcome.report(
            Diagnostic::at(Code::OutputNeedsContinuous, spot, message)
                .related(&aggregations.spot, "the aggregations")
                .help("set `stream_processing_mode: continuous`, or remove `output_stream`"),
        );
    }
    let version_1 = output.value.version.as_ref().is_none_or(|version| version.value == RawVersion::One);
    if let Some(include) = output.value.include_features.as_ref().filter(|include| include.value && version_1)
    {
        let message = "aggregated features are not in version-1 records";
        outcome.report(
            Diagnostic::at(Code::AggregatesInVersion1, &include.spot, message)
                .related(&aggregations.spot, "the aggregations")
                .help("set `version: \"2\"`, or `include_features: false` and read the features online"),
        );
    }
}

fn is_empty(anything: &Anything) -> bool {
    match &anything.0.value {
        NodeValue::List(items) => items.is_empty(),
        NodeValue::Map(entries) => entries.is_empty(),
        NodeValue::Scalar(_) => anything.0.is_null(),
    }
}

/// The output stream, if there is one and it is right.
pub(super) fn output(
    context: &Context<'_>,
    known: &Known,
    source: Option<&SourcePlan>,
    raw: &RawView,
    outcome: &mut Outcome,
) -> Option<OutputPlan> {
    let Spanned { value: output, spot } = raw.output_stream.as_ref()?;
    if let Some(online) = raw.online.as_ref().filter(|online| !online.value) {
        let message = "an output stream needs `online: true`";
        outcome.report(
            Diagnostic::at(Code::OutputNeedsOnline, &online.spot, message)
                .related(spot, "the output stream")
                .help("set `online: true`, or remove `output_stream`"),
        );
    }
    let given = [output.file.is_some(), output.kafka.is_some(), output.kinesis.is_some()];
    if given.into_iter().filter(|given| *given).count() != 1 {
        outcome.report_absent(
            Diagnostic::at(
                Code::ChooseOne,
                spot,
                "`view.output_stream` takes one of `file`, `kafka`, `kinesis`",
            )
            .help("write `file: { path: out.ndjson }`; a second view may write to a second place"),
        );
        return None;
    }
    let sink = if let Some(kafka) = &output.kafka {
        OutputSink::Kafka(kafka::output(context, source, &kafka.value, outcome)?)
    } else if let Some(kinesis) = &output.kinesis {
        OutputSink::Kinesis(kinesis::output(context, source, kinesis, outcome)?)
    } else {
        let file = output.file.as_ref()?;
        let path = outcome.note(context.in_files_root(&file.path))?;
        not_a_source(context, known, &path, &file.path, outcome);
        OutputSink::File { path }
    };
    Some(OutputPlan { sink, options: options(output), parallel: output.emit == Some(RawEmit::Parallel) })
}

fn options(output: &RawOutputStream) -> OutputOptions {
    OutputOptions {
        version: match output.version.as_ref().map(|version| version.value) {
            None | Some(RawVersion::One) => RecordVersion::V1,
            Some(RawVersion::Two) => RecordVersion::V2,
        },
        include_features: output.include_features.as_ref().is_some_and(|include| include.value),
        producer: match output.producer {
            None | Some(RawProducer::Millrace) => "millrace".to_owned(),
            Some(RawProducer::Tecton) => "tecton".to_owned(),
        },
    }
}

/// A stream that reads what it writes never ends, and cutting an output file on restart would cut the source.
fn not_a_source(
    context: &Context<'_>,
    known: &Known,
    path: &Path,
    written: &Spanned<String>,
    outcome: &mut Outcome,
) {
    let clash = |spot: Option<&crate::diagnostic::Spot>, what: &str| {
        let problem =
            Diagnostic::at(Code::OutputIsSource, &written.spot, format!("`{}` is {what}", written.value))
                .help("write the output stream to another file");
        match spot {
            Some(spot) => problem.related(spot, "declared here"),
            None => problem,
        }
    };
    for source in known.sources.values().flatten() {
        let file: Option<&PathBuf> = match &source.kind {
            SourceKind::File { path, .. } => Some(path),
            SourceKind::Push | SourceKind::Kafka(_) | SourceKind::Kinesis(_) => None,
        };
        if file.is_some_and(|file| file == path) {
            outcome.report(clash(Some(&source.spot), &format!("the file of source `{}`", source.name)));
        }
    }
    if context.host.dead_letter == DeadLetterPlan::File(path.to_path_buf()) {
        outcome.report(clash(None, "the file of dead letters in host.yaml"));
    }
}
