//! Kinesis sources and outputs, and the rules that bind them to each other.

use super::{Context, Outcome};
use crate::connection::reference;
use crate::diagnostic::{Code, Diagnostic, Spot};
use crate::kinesis::{Given, Refused, stream};
use crate::plan::{
    ConnectionPlan, KinesisConnectionPlan, KinesisOutputPlan, KinesisSourcePlan, LeasesPlan, OutOfRange,
    SourceKind, SourcePlan, StorePlan, StreamPlan,
};
use crate::raw::{RawKinesisOutput, RawKinesisSource, RawLeases, RawOutOfRange, Spanned};

/// The stream of a source, if it is right.
pub(super) fn source(
    context: &Context<'_>,
    Spanned { value: raw, spot }: &Spanned<RawKinesisSource>,
    outcome: &mut Outcome,
) -> Option<KinesisSourcePlan> {
    let known = &context.host.connections;
    let connection = outcome.note(reference(&raw.connection, "kinesis", known));
    let given = Given {
        name: raw.stream_name.as_ref(),
        arn: raw.stream_arn.as_ref(),
        spot,
        one: (
            "a Kinesis source reads one stream",
            "name one stream; declare a second source for a second one",
        ),
    };
    let stream = read_stream(context, &given, connection.as_deref(), outcome);
    let leases = leases(context, raw.leases.as_ref(), outcome);
    Some(KinesisSourcePlan {
        connection: connection?,
        stream: stream?,
        out_of_range: match raw.out_of_range {
            None | Some(RawOutOfRange::Stop) => OutOfRange::Stop,
            Some(RawOutOfRange::Earliest) => OutOfRange::Earliest,
            Some(RawOutOfRange::Latest) => OutOfRange::Latest,
        },
        leases: leases?,
    })
}

fn read_stream(
    context: &Context<'_>,
    given: &Given<'_>,
    connection: Option<&str>,
    outcome: &mut Outcome,
) -> Option<StreamPlan> {
    match stream(given, connection.and_then(|name| settings(context, name))) {
        Ok(stream) => Some(stream),
        Err(Refused { problem, is_absence: true }) => {
            outcome.report_absent(*problem);
            None
        }
        Err(Refused { problem, is_absence: false }) => {
            outcome.report(*problem);
            None
        }
    }
}

/// Hosts that share a store share the stream as well, unless said otherwise: each would do all of the work for all.
fn leases(
    context: &Context<'_>,
    raw: Option<&Spanned<RawLeases>>,
    outcome: &mut Outcome,
) -> Option<LeasesPlan> {
    let Some(Spanned { value: raw, spot }) = raw else {
        return Some(match &context.host.default_store {
            StorePlan::Embedded => LeasesPlan::Alone,
            StorePlan::Redis { connection } => LeasesPlan::Redis { connection: connection.clone() },
        });
    };
    match (&raw.alone, &raw.redis) {
        (Some(_), None) => Some(LeasesPlan::Alone),
        (None, Some(redis)) => {
            let connection =
                outcome.note(reference(&redis.connection, "redis", &context.host.connections))?;
            Some(LeasesPlan::Redis { connection })
        }
        _ => {
            outcome.report_absent(
                Diagnostic::at(Code::ChooseOne, spot, "`leases` takes one of `alone`, `redis`")
                    .help("write `redis: { connection: NAME }`, or `alone: {}` if one host reads the stream"),
            );
            None
        }
    }
}

/// The stream of an output, if it is right.
pub(super) fn output(
    context: &Context<'_>,
    source: Option<&SourcePlan>,
    Spanned { value: raw, spot }: &Spanned<RawKinesisOutput>,
    outcome: &mut Outcome,
) -> Option<KinesisOutputPlan> {
    let known = &context.host.connections;
    let connection = outcome.note(reference(&raw.connection, "kinesis", known));
    let given = Given {
        name: raw.stream_name.as_ref(),
        arn: raw.stream_arn.as_ref(),
        spot,
        one: (
            "an output stream goes to one stream",
            "name one stream; declare a second view for a second one",
        ),
    };
    let stream = read_stream(context, &given, connection.as_deref(), outcome);
    let plan =
        KinesisOutputPlan { connection: connection?, stream: stream?, ordered: raw.ordered.unwrap_or(true) };
    if let Some(source) = source
        && let SourceKind::Kinesis(read) = &source.kind
        && is_one_stream(context, read, &plan)
    {
        let named: Option<&Spot> =
            raw.stream_name.as_ref().map(|name| &name.spot).or(raw.stream_arn.as_ref().map(|arn| &arn.spot));
        let message = format!("stream `{}` is read by source `{}`", plan.stream.name(), source.name);
        outcome.report(
            Diagnostic::at(Code::OutputIsSource, named.unwrap_or(spot), message)
                .related(&source.spot, "the source of this view")
                .help("a view that reads what it writes never ends: write to another stream"),
        );
    }
    Some(plan)
}

/// Whether what is written is what is read, as far as names and settings tell.
fn is_one_stream(context: &Context<'_>, read: &KinesisSourcePlan, written: &KinesisOutputPlan) -> bool {
    let place = |name: &str| {
        let KinesisConnectionPlan { region, endpoint_url, profile, role_arn, .. } = settings(context, name)?;
        Some((region, endpoint_url, profile, role_arn))
    };
    let is_one_place =
        || read.connection == written.connection || place(&read.connection) == place(&written.connection);
    match (&read.stream, &written.stream) {
        (StreamPlan::Arn(one), StreamPlan::Arn(other)) => one == other,
        (one, other) => one.name() == other.name() && is_one_place(),
    }
}

fn settings<'a>(context: &Context<'a>, name: &str) -> Option<&'a KinesisConnectionPlan> {
    match context.host.connections.get(name) {
        Some(ConnectionPlan::Kinesis(kinesis)) => Some(kinesis),
        _ => None,
    }
}
