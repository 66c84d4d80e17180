//! `host list`: the views of a running host, or what this build can plug in.

use connectors::catalog::BUILT_IN;
use model::plug::{Plug, Role};
use serde_json::{Value, json};

use crate::cli::{Format, ListArgs, ListWhat};
use crate::client::Client;
use crate::report::Stopped;
use crate::results;

/// Runs the command.
pub(crate) fn list(args: &ListArgs) -> Result<(), Stopped> {
    match args.what {
        ListWhat::Views => views(args),
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
    let answer = Client::new(&args.url.url).get("/readyz")?;
    let Some(views) = answer.body["views"].as_array() else {
        return Err(Stopped::Unavailable(answer.message()));
    };
    let text = match args.format {
        Format::Json => format!("{:#}\n", answer.body["views"]),
        Format::Table => {
            let rows: Vec<Vec<String>> = views.iter().map(view_row).collect();
            results::table(
                &["VIEW", "SOURCE", "STATE", "GENERATION", "DIGEST", "IN", "OUT", "DEAD LETTERS", "NOTE"],
                &rows,
            )
        }
    };
    Ok(results::print(&text)?)
}

fn view_row(view: &Value) -> Vec<String> {
    let text = |name: &str| match &view[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let digest: String = text("digest").chars().take(16).collect();
    let note =
        [text("reason"), text("last_error")].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    vec![
        text("view"),
        text("source"),
        text("state"),
        text("generation"),
        digest,
        text("rows_in"),
        text("rows_out"),
        text("dead_letters"),
        note.join("; "),
    ]
}
