//! `host rewind`: a view of a running host takes events again from a point on. The host does it; this asks and shows.

use model::position::Position;
use serde_json::{Value, json};

use crate::cli::{RewindArgs, RewindTo};
use crate::client::{Client, encode};
use crate::report::Stopped;
use crate::results;

/// Runs the command.
pub(crate) fn rewind(args: &RewindArgs) -> Result<(), Stopped> {
    let to = match &args.to {
        RewindTo::Text(text) => json!(text),
        RewindTo::Number(number) => json!(number),
        RewindTo::Numbers(pairs) => {
            let mut numbers = serde_json::Map::new();
            for (partition, number) in pairs {
                if numbers.insert(partition.clone(), json!(number)).is_some() {
                    return Err(Stopped::Usage(format!("partition `{partition}` stands twice in --to")));
                }
            }
            Value::Object(numbers)
        }
    };
    let path = format!("/v1/views/{}/rewind", encode(&args.view));
    let answer = Client::new(&args.url.url).post(&path, json!({ "to": to }).to_string().as_bytes())?;
    answer.show(args.format, table)
}

fn table(body: &Value) -> String {
    let partitions = body["partitions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<String>> = partitions
        .iter()
        .map(|partition| {
            let name = partition["partition"].as_str().unwrap_or_default().to_owned();
            vec![name, next(partition["after"].as_str())]
        })
        .collect();
    let head = format!("view {} is in epoch {}\n", body["view"].as_str().unwrap_or_default(), body["epoch"]);
    head + &results::table(&["PARTITION", "BEGINS AT"], &rows)
}

/// The place behind a position, as a number where positions count.
fn next(after: Option<&str>) -> String {
    let Some(hex) = after else { return "its beginning".to_owned() };
    match Position::from_hex(hex)
        .and_then(|position| position.as_u64())
        .and_then(|number| number.checked_add(1))
    {
        Some(number) => number.to_string(),
        None => format!("what follows {hex}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_shown_as_people_name_them() {
        assert_eq!(next(None), "its beginning");
        assert_eq!(next(Some("00000000000004af")), "1200");
        assert_eq!(next(Some("abcd")), "what follows abcd");
        assert_eq!(next(Some("ffffffffffffffff")), "what follows ffffffffffffffff");
    }
}
