//! Events of all kinds, well-formed and broken: the expected way, the careful way and `serde_json` agree.

use bytes::Bytes;
use model::position::PositionColumn;
use proptest::prelude::*;

use super::super::sample::{ad_columns, ad_event, raw_batch};
use super::*;

/// Mutated events in the test that knows the ad event best.
const MUTATIONS: u64 = 30_000;

/// One column of each kind.
fn columns() -> Vec<SourceColumn> {
    vec![
        required("id", "int64"),
        column("small", "int8"),
        column("u", "uint32"),
        column("f", "float64"),
        column("g", "float32"),
        column("s", "string"),
        column("b", "bytes"),
        column("t", "timestamp"),
        column("ms", "timestamp_ms"),
        column("day", "date"),
        column("d", "decimal(10,3)"),
        column("flag", "bool"),
        column("list", "list<int64>"),
        column("st", "struct<s: string, f: float64, l: list<string>>"),
        column("m", "map<string, float64>"),
        column("käse", "string"),
    ]
}

/// Decodes events as one batch, both ways, with payloads apart and side by side, and compares with `serde_json`.
#[track_caller]
fn check(columns: &[SourceColumn], events: &[Vec<u8>]) {
    let expected: Vec<_> = events.iter().map(|event| reference::row(columns, event)).collect();
    let expected = format!("{expected:?}");
    for raw in [raw_batch(0, events), side_by_side(events)] {
        let fast = decode(columns, raw.clone());
        assert_eq!(format!("{:?}", rows(columns, &fast)), expected, "{}", text(events));
        let careful = decode_carefully(columns, raw);
        assert_eq!(fast.columns, careful.columns, "{}", text(events));
        assert_eq!(fast.rejected, careful.rejected, "{}", text(events));
    }
}

/// Without a line feed between payloads: reading too far meets the next event.
fn side_by_side(events: &[Vec<u8>]) -> RawBatch {
    let mut raw = raw_batch(0, events);
    let (mut data, mut payloads) = (Vec::new(), Vec::new());
    for event in events {
        let start = data.len() as u32;
        data.extend_from_slice(event);
        payloads.push((start, data.len() as u32));
    }
    raw.data = Bytes::from(data);
    raw.payloads = payloads;
    raw.positions = PositionColumn::counting(0, events.len());
    raw
}

fn text(events: &[Vec<u8>]) -> String {
    events.iter().map(|event| String::from_utf8_lossy(event) + "\n").collect()
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\t\n \r")]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        (-200_i32..300).prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has no infinities", |f| f.is_finite()).prop_map(|f| format!("{f:?}")),
        any::<f32>().prop_filter("JSON has no infinities", |f| f.is_finite()).prop_map(|f| format!("{f}")),
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?",
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"(\\\\u[dD][89a-fA-F][0-9a-f]{2}|\\\\[\"\\\\/bfnrtx]|[ -~&&[^\"\\\\]]|ü|😀){0,20}\"",
        "\"[A-Za-z0-9+/]{0,8}={0,2}\"",
        "\"20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-6][0-9](\\.[0-9]{0,8})?(Z|z|\\+01:30)?\"",
        "\"20[0-9]{2}-[01][0-9]-[0-3][0-9]\"",
        prop::sample::select(vec![
            "true",
            "false",
            "null",
            "\"NaN\"",
            "\"Infinity\"",
            "\"-Infinity\"",
            "-0",
            "-0.0",
            "0",
            "1e400",
            "1E-400",
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "0x1",
            "NaN",
            "tru",
            "nul",
            "\"",
            "\"\\",
            "\"\\u12\"",
            "{",
            "[",
            "]",
            "",
            "1654562168832",
            "12345678901234567890",
            "0.30000000000000004",
            "9007199254740993",
            "16777217",
        ])
        .prop_map(str::to_owned),
    ]
}

fn any_value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), space())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(","))),
            (prop::collection::vec((key(), inner), 0..4), space())
                .prop_map(|(entries, space)| object(&entries, space)),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(columns()).prop_map(|column| format!("\"{}\"", column.field.name)),
        2 => prop::sample::select(vec!["\"x\"", "\"unknown\"", "\"\\u0073\"", "\"i\\u0064\"", "\"\\ud800\"", "\"\"", "s", "\"l\""])
            .prop_map(str::to_owned),
    ]
}

/// A value that often suits the column of a key.
fn entry() -> impl Strategy<Value = (String, String)> {
    let suiting = prop::sample::select(vec![
        ("id", "12"),
        ("small", "-7"),
        ("u", "70000"),
        ("f", "1.25"),
        ("g", "0.1"),
        ("s", "\"text\""),
        ("b", "\"AAEC\""),
        ("t", "\"2022-06-07T00:36:08.832793Z\""),
        ("ms", "1654562168832"),
        ("day", "\"2022-06-07\""),
        ("d", "12.5"),
        ("flag", "true"),
        ("list", "[1,2,3]"),
        ("st", "{\"s\":\"a\",\"f\":1,\"l\":[\"x\"]}"),
        ("m", "{\"a\":1.5}"),
        ("käse", "\"ü\""),
    ])
    .prop_map(|(key, value)| (format!("\"{key}\""), value.to_owned()));
    prop_oneof![10 => suiting, 3 => (key(), any_value())]
}

fn object(entries: &[(String, String)], space: &str) -> String {
    let entries: Vec<String> =
        entries.iter().map(|(key, value)| format!("{space}{key}{space}:{space}{value}{space}")).collect();
    format!("{{{}}}", entries.join(","))
}

fn event() -> impl Strategy<Value = Vec<u8>> {
    let entries = prop::collection::vec(entry(), 0..10);
    (any::<bool>(), entries, space(), space(), prop::option::weighted(0.1, any::<(u16, u8)>())).prop_map(
        |(with_id, mut entries, inside, around, mutation)| {
            if with_id {
                entries.insert(0, ("\"id\"".to_owned(), "1".to_owned()));
            }
            let mut event = format!("{around}{}{around}", object(&entries, inside)).into_bytes();
            if let Some((place, byte)) = mutation {
                let place = usize::from(place) % event.len();
                event[place] = byte;
            }
            event
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn generated_events_decode_as_with_serde_json(
        distinct in prop::collection::vec(event(), 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..10),
    ) {
        // Few distinct events in a long row, so that expectations are met and disappointed in turn.
        let events: Vec<Vec<u8>> = order.iter().map(|index| index.get(&distinct).clone()).collect();
        check(&columns(), &events);
    }

    #[test]
    fn floats_are_the_nearest_to_their_text(text in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?") {
        let columns = [column("f", "float64"), column("g", "float32")];
        let batch = decode(&columns, raw_batch(0, &[format!("{{\"f\":{text},\"g\":null}}"), format!("{{\"g\":{text}}}")]));
        let rows = rows(&columns, &batch);
        let wide: f64 = text.parse().unwrap();
        let wide = wide.is_finite().then(|| vec![Value::Float64(wide), Value::Null]);
        let narrow: f32 = text.parse().unwrap();
        let narrow = narrow.is_finite().then(|| vec![Value::Null, Value::Float32(narrow)]);
        prop_assert_eq!(format!("{:?}", rows), format!("{:?}", [wide, narrow]));
    }
}

#[test]
fn mutated_ad_events_decode_as_with_serde_json() {
    let columns = ad_columns();
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % sides as u64) as usize
    };
    let telling = b"\"\\{}[],:0123456789.-+eEtfnu \n\x00\x1f\x7f\x80\xc3\xff";
    for round in 0..MUTATIONS / 6 {
        let events: Vec<Vec<u8>> = (0..6)
            .map(|index| {
                let mut event = ad_event(round * 6 + index);
                for _ in 0..roll(3) {
                    let place = roll(event.len());
                    match roll(5) {
                        0 => event[place] = telling[roll(telling.len())],
                        1 => event.insert(place, telling[roll(telling.len())]),
                        2 => {
                            event.remove(place);
                        }
                        3 => event.truncate(place.max(1)),
                        _ => {
                            let piece: Vec<u8> = event[place..(place + roll(40)).min(event.len())].to_vec();
                            let target = roll(event.len());
                            event.splice(target..target, piece);
                        }
                    }
                }
                event
            })
            .collect();
        check(&columns, &events);
    }
}

#[test]
fn every_prefix_of_an_event_is_rejected() {
    let event = ad_event(1);
    let events: Vec<Vec<u8>> = (0..=event.len()).map(|end| event[..end].to_vec()).collect();
    let batch = decode(&ad_columns(), side_by_side(&events));
    assert_eq!(batch.rejected.len(), event.len());
    assert_eq!(batch.raw_rows, [event.len() as u32]);
    check(&ad_columns(), &events);
}
