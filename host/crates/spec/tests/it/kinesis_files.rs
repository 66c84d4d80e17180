//! Kinesis in files: what connections, sources and output streams come to.

use std::time::Duration;

use model::codec::TimestampUnit;
use model::schema::{DataType, Field};
use model::time::EventTime;
use spec::check::check;
use spec::files::Files;
use spec::plan::{
    BatchPlan, ConnectionPlan, FormatKind, HostPlan, KinesisConnectionPlan, KinesisOutputPlan,
    KinesisSourcePlan, LeasesPlan, OutOfRange, OutputSink, SourceKind, Start, StorePlan, StreamPlan,
};

use crate::redis_files::host_file;
use crate::texts::{plan, with_connections};

const GOOD: &str = include_str!("../good/kinesis.yaml");

#[test]
fn every_key_of_kinesis_reaches_the_plan() {
    let plan = plan(GOOD);
    let drivers = KinesisSourcePlan {
        connection: "aws".into(),
        stream: StreamPlan::Name("drivers".into()),
        out_of_range: OutOfRange::Earliest,
        leases: LeasesPlan::Redis { connection: "cache".into() },
    };
    let source = &plan.sources["driver_stats_stream"];
    assert_eq!(source.kind, SourceKind::Kinesis(drivers));
    assert_eq!((source.kind.name(), source.kind.connection()), ("kinesis", Some("aws")));
    assert_eq!(source.start, Start::Time(EventTime(1_767_225_600_000_000)));
    let view = &plan.views["driver_hourly_stats_stream"];
    assert_eq!(view.start, source.start);
    let sink = OutputSink::Kinesis(KinesisOutputPlan {
        connection: "aws".into(),
        stream: StreamPlan::Arn("arn:aws:kinesis:eu-central-1:123456789012:stream/features".into()),
        ordered: false,
    });
    assert_eq!(view.output.as_ref().map(|output| &output.sink), Some(&sink));
    assert_eq!(sink.connection(), Some("aws"));
}

#[test]
fn defaults_of_kinesis_are_as_documented() {
    let plan = plan(GOOD);
    let SourceKind::Kinesis(others) = &plan.sources["others"].kind else { panic!("it is a Kinesis source") };
    assert_eq!((others.out_of_range, &others.leases), (OutOfRange::Stop, &LeasesPlan::Alone));
    assert_eq!(others.stream.name(), "others.v2");
    assert_eq!(plan.sources["others"].start, Start::Latest);
    assert_eq!(plan.views["others_per_driver"].start, Start::Committed);
    assert_eq!(plan.views["kept_here"].start, Start::Earliest, "`trim_horizon` is the same");
    let output = plan.views["others_per_driver"].output.as_ref().unwrap();
    let OutputSink::Kinesis(output) = &output.sink else { panic!("it is a stream") };
    assert!(output.ordered);
}

/// Everything that the driver-statistics view of a Feast repository says has its place.
#[test]
fn the_driver_statistics_view_can_be_said() {
    let plan = plan(GOOD);
    let source = &plan.sources["driver_stats_stream"];
    assert_eq!((source.format, source.timestamp_field.as_str()), (FormatKind::Json, "event_timestamp"));
    let columns: Vec<String> = source.columns.iter().map(|column| column.field.to_string()).collect();
    let expected = [
        "driver_id: int64",
        "event_timestamp: timestamp not null",
        "conv_rate: float64",
        "acc_rate: float64",
        "created: timestamp",
    ];
    assert_eq!(columns, expected);
    assert!(source.columns.iter().all(|column| column.unit == TimestampUnit::Text));
    assert_eq!(source.watermark_delay, Some(Duration::from_secs(300)));
    let batch = BatchPlan {
        path: "/data/data/driver_stats.parquet".into(),
        timestamp_field: "event_timestamp".into(),
    };
    assert_eq!(source.batch, Some(batch));
    let view = &plan.views["driver_hourly_stats_stream"];
    assert_eq!(view.shape.ttl_micros, Some(8_640_000_000_000_000));
    assert_eq!(view.shape.keys, [Field::required("driver_id", DataType::Int64)]);
    let features = ["conv_percentage", "acc_percentage"];
    assert_eq!(view.shape.features, features.map(|name| Field::nullable(name, DataType::Float32)));
    assert!(view.shape.online);
}

#[test]
fn a_time_may_stand_alone() {
    let text = GOOD.replace("{ at_timestamp: 2026-01-01T00:00:00Z }", "2026-01-01T00:00:00Z");
    assert_ne!(text, GOOD);
    assert_eq!(plan(&text), plan(GOOD));
}

#[test]
fn hosts_that_share_a_store_share_the_stream_unless_said_otherwise() {
    let default_store = StorePlan::Redis { connection: "cache".into() };
    let host = HostPlan { default_store, ..with_connections() };
    let leases = |text: &str| {
        let report = check(&Files::from_memory([("views/v.yaml", text)]), &host);
        let SourceKind::Kinesis(others) = &report.plan.sources["others"].kind else { panic!("a stream") };
        others.leases.clone()
    };
    assert_eq!(leases(GOOD), LeasesPlan::Redis { connection: "cache".into() });
    assert_eq!(leases(&GOOD.replace("others.v2\"", "others.v2\", leases: { alone: {} }")), LeasesPlan::Alone);
}

#[test]
fn connections_to_kinesis_reach_the_plan() {
    let plan = host_file(
        "connections:
  aws:
    kinesis:
      region: eu-central-1
      endpoint_url: https://kinesis.local:4567
      profile: shop
      role_arn: arn:aws:iam::123456789012:role/teams/features
      external_id: \"007\"
      ca: ca.pem
  as_the_environment_says: { kinesis: {} }
  local: { kinesis: { region: us-gov-west-1, endpoint_url: \"http://[::1]:4567/\" } }
",
    );
    let expected = KinesisConnectionPlan {
        region: Some("eu-central-1".into()),
        endpoint_url: Some("https://kinesis.local:4567".into()),
        profile: Some("shop".into()),
        role_arn: Some("arn:aws:iam::123456789012:role/teams/features".into()),
        external_id: Some("007".into()),
        ca: Some("conf/ca.pem".into()),
    };
    assert_eq!(plan.connections["aws"], ConnectionPlan::Kinesis(expected));
    let nothing = ConnectionPlan::Kinesis(KinesisConnectionPlan::default());
    assert_eq!(plan.connections["as_the_environment_says"], nothing);
    assert_eq!(plan.connections["local"].kind(), "kinesis");
}
