//! `host list`: the views and streams of a running host, the connections of its settings, or what this build can plug in.

use std::collections::BTreeMap;

use connectors::catalog::BUILT_IN;
use model::plug::{Plug, Role};
use serde_json::{Value, json};
use spec::plan::ConnectionPlan;

use crate::cli::{Format, ListArgs, ListWhat};
use crate::client::Client;
use crate::project::Project;
use crate::report::Stopped;
use crate::results;

/// Runs the command.
pub(crate) fn list(args: &ListArgs) -> Result<(), Stopped> {
    match args.what {
        ListWhat::Views => views(args),
        ListWhat::Streams => streams(args),
        ListWhat::Connections => connections(args),
        ListWhat::Sources => plugs(args.format, &[Role::Source]),
        ListWhat::Formats => plugs(args.format, &[Role::Format]),
        ListWhat::Stores => plugs(args.format, &[Role::OnlineStore, Role::OutputStream, Role::DeadLetter]),
    }
}

fn plugs(format: Format, roles: &[Role]) -> Result<(), Stopped> {
    let plugs = BUILT_IN.iter().filter(|plug| roles.contains(&plug.role));
    let text = match format {
        Format::Json => {
            let list: Vec<Value> = plugs
                .map(|plug| json!({"kind": plug.kind, "role": role_name(plug), "summary": plug.summary}))
                .collect();
            format!("{:#}\n", Value::Array(list))
        }
        Format::Table => {
            let rows: Vec<Vec<String>> = plugs
                .map(|plug| vec![plug.kind.to_owned(), role_name(plug).to_owned(), plug.summary.to_owned()])
                .collect();
            results::table(&["KIND", "ROLE", "SUMMARY"], &rows)
        }
    };
    Ok(results::print(&text)?)
}

fn role_name(plug: &Plug) -> &'static str {
    match plug.role {
        Role::Source => "source",
        Role::Format => "format",
        Role::OnlineStore => "online store",
        Role::OutputStream => "output stream",
        Role::DeadLetter => "dead letter",
    }
}

fn views(args: &ListArgs) -> Result<(), Stopped> {
    let client = Client::new(&args.url.url);
    let answer = client.get("/readyz")?;
    let Some(views) = answer.body["views"].as_array() else {
        return Err(Stopped::Unavailable(answer.message()));
    };
    let lags = lags(&client.get("/metrics")?.body);
    let text = match args.format {
        Format::Json => {
            let with_lag = |view: &Value| {
                let mut view = view.clone();
                view["lag_events"] = json!(lags.get(text_of(&view, "view").as_str()));
                view
            };
            format!("{:#}\n", Value::Array(views.iter().map(with_lag).collect()))
        }
        Format::Table => {
            let shared = Shared::of(&answer.body);
            let rows: Vec<Vec<String>> = views.iter().map(|view| view_row(view, &shared, &lags)).collect();
            results::table(
                &[
                    "VIEW",
                    "SOURCE",
                    "STATE",
                    "PARTITIONS",
                    "LAG",
                    "GENERATION",
                    "DIGEST",
                    "IN",
                    "OUT",
                    "DEAD LETTERS",
                    "NOTE",
                ],
                &rows,
            )
        }
    };
    Ok(results::print(&text)?)
}

/// Events that each view has not taken yet, over its partitions, from the host's metrics.
fn lags(metrics: &Value) -> BTreeMap<String, u64> {
    let mut lags = BTreeMap::new();
    let lines = metrics.as_str().unwrap_or_default().lines();
    for line in lines.filter_map(|line| line.strip_prefix("millrace_view_lag_events{")) {
        // Names of views need no escapes.
        let view = line.split_once("view=\"").and_then(|(_, rest)| rest.split_once('"'));
        let lag = line.rsplit_once(' ').and_then(|(_, value)| value.parse::<u64>().ok());
        if let (Some((view, _)), Some(lag)) = (view, lag) {
            *lags.entry(view.to_owned()).or_default() += lag;
        }
    }
    lags
}

/// Sources whose partitions hosts share: how many there are.
struct Shared(BTreeMap<String, u64>);

impl Shared {
    fn of(readiness: &Value) -> Self {
        let sources = readiness["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |source: &Value| Some((source["source"].as_str()?.to_owned(), source["of"].as_u64()?));
        Self(sources.iter().filter_map(of).collect())
    }
}

fn text_of(value: &Value, name: &str) -> String {
    match &value[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn view_row(view: &Value, shared: &Shared, lags: &BTreeMap<String, u64>) -> Vec<String> {
    let text = |name: &str| text_of(view, name);
    let digest: String = text("digest").chars().take(16).collect();
    let note =
        [text("reason"), text("last_error")].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    let partitions = view["positions"].as_array().map_or(0, Vec::len);
    let partitions = match shared.0.get(&text("source")) {
        Some(all) => format!("{partitions}/{all}"),
        None => partitions.to_string(),
    };
    vec![
        text("view"),
        text("source"),
        text("state"),
        partitions,
        lags.get(&text("view")).map(u64::to_string).unwrap_or_default(),
        text("generation"),
        digest,
        text("rows_in"),
        text("rows_out"),
        text("dead_letters"),
        note.join("; "),
    ]
}

/// The sources whose partitions hosts share.
fn streams(args: &ListArgs) -> Result<(), Stopped> {
    let answer = Client::new(&args.url.url).get("/readyz")?;
    if !answer.body["views"].is_array() {
        return Err(Stopped::Unavailable(answer.message()));
    }
    let none = Vec::new();
    let sources = answer.body["sources"].as_array().unwrap_or(&none);
    let text = match args.format {
        Format::Json => format!("{:#}\n", json!(sources)),
        Format::Table => {
            let rows: Vec<Vec<String>> = sources.iter().map(stream_row).collect();
            results::table(&["SOURCE", "GROUP", "TOPICS", "PARTITIONS HERE", "OF"], &rows)
        }
    };
    Ok(results::print(&text)?)
}

/// The connections of the settings, without what is secret in them.
fn connections(args: &ListArgs) -> Result<(), Stopped> {
    let project = Project::for_doctor(None, args.config.config.as_deref())?;
    let rows: Vec<[String; 3]> = project
        .settings
        .connections
        .iter()
        .map(|(name, plan)| [name.clone(), plan.kind().to_owned(), leads_to(plan)])
        .collect();
    let text = match args.format {
        Format::Json => {
            let list: Vec<Value> = rows
                .iter()
                .map(|[name, kind, to]| json!({"connection": name, "kind": kind, "to": to}))
                .collect();
            format!("{:#}\n", Value::Array(list))
        }
        Format::Table => {
            let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
            results::table(&["CONNECTION", "KIND", "TO"], &rows)
        }
    };
    Ok(results::print(&text)?)
}

/// Where a connection leads, as far as the settings say.
fn leads_to(plan: &ConnectionPlan) -> String {
    match plan {
        ConnectionPlan::Kafka(kafka) => kafka.bootstrap_servers.clone(),
        ConnectionPlan::Kinesis(kinesis) => {
            let place = [&kinesis.endpoint_url, &kinesis.region].into_iter().flatten().next();
            place.map_or("as the environment says", String::as_str).to_owned()
        }
        ConnectionPlan::Redis(redis) => redis.addresses.join(","),
    }
}

fn stream_row(source: &Value) -> Vec<String> {
    let topics = source["topics"].as_array().map(Vec::as_slice).unwrap_or_default();
    let topics: Vec<&str> = topics.iter().filter_map(Value::as_str).collect();
    let text = |name: &str| text_of(source, name);
    vec![text("source"), text("group"), topics.join(", "), text("partitions"), text("of")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lags_are_summed_over_partitions() {
        let metrics = json!(
            "# TYPE millrace_view_lag_events gauge\n\
             millrace_view_lag_events{view=\"a\",partition=\"ads-0\"} 3\n\
             millrace_view_lag_events{partition=\"ads-1\",view=\"a\"} 4\n\
             millrace_view_lag_events{view=\"b\",partition=\"ads-0\"} 0\n\
             millrace_view_rows_in_total{view=\"a\"} 12\n"
        );
        assert_eq!(lags(&metrics), BTreeMap::from([("a".to_owned(), 7), ("b".to_owned(), 0)]));
    }

    #[test]
    fn a_view_shows_how_many_of_the_partitions_are_here() {
        let readiness = json!({
            "views": [{"view": "a", "source": "ads", "state": "running", "generation": 2, "digest": "ab", "rows_in": 1,
                "rows_out": 1, "dead_letters": 0, "reason": null, "last_error": null, "positions": [{}, {}, {}]}],
            "sources": [{"source": "ads", "group": "g", "topics": ["x", "y"], "partitions": 3, "of": 12}],
        });
        let row =
            view_row(&readiness["views"][0], &Shared::of(&readiness), &BTreeMap::from([("a".to_owned(), 7)]));
        assert_eq!(row, ["a", "ads", "running", "3/12", "7", "2", "ab", "1", "1", "0", ""]);
        let row = view_row(&readiness["views"][0], &Shared(BTreeMap::new()), &BTreeMap::new());
        assert_eq!(row[3..5], ["3", ""]);
        assert_eq!(stream_row(&readiness["sources"][0]), ["ads", "g", "x, y", "3", "12"]);
    }
}
