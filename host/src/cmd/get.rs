//! `host get`: the features of one entity, from a running host.

use crate::cli::GetArgs;
use crate::client::{Client, encode};
use crate::report::Stopped;
use crate::results;

/// Runs the command.
pub(crate) fn get(args: &GetArgs) -> Result<(), Stopped> {
    let mut query = Vec::new();
    for pair in &args.keys {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Stopped::Usage(format!("`{pair}` is not KEY=VALUE, such as `user_id=u1`")));
        };
        query.push(format!("{}={}", encode(key), encode(value)));
    }
    if !args.features.is_empty() {
        query.push(format!("features={}", encode(&args.features.join(","))));
    }
    let path = format!("/v1/features/{}?{}", encode(&args.view), query.join("&"));
    Client::new(&args.url.url).get(&path)?.show(args.format, table)
}

/// One line for each feature, then what is known of the row.
fn table(body: &serde_json::Value) -> String {
    let Some(row) = body["rows"].get(0).or_else(|| body["results"].get(0)) else {
        return format!("{body:#}\n");
    };
    let mut lines = Vec::new();
    if let Some(features) = row["features"].as_object() {
        for (name, value) in features {
            lines.push(vec![name.clone(), value.to_string()]);
        }
    }
    for name in ["status", "feature_timestamp", "effective_time", "version"] {
        if let Some(value) = row.get(name) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            lines.push(vec![format!("({name})"), text]);
        }
    }
    results::table(&["FEATURE", "VALUE"], &lines)
}
