//! What each type takes, what it refuses, and in which words.

use super::super::sample::{ad_batch, ad_columns, decode_with_serde, raw_batch};
use super::*;

/// One event `{"x": value}` and its row, or the message.
#[track_caller]
fn check(data_type: &str, value: &str, expected: Result<Value, &str>) {
    let columns = [column("x", data_type)];
    let event = format!(r#"{{"x":{value}}}"#);
    // The second time the key is expected.
    let batch = decode(&columns, raw_batch(0, &[&event, &event]));
    let actual = rows(&columns, &batch);
    match expected {
        Ok(expected) => {
            let expected = Some(vec![expected]);
            assert_eq!(
                format!("{actual:?}"),
                format!("{:?}", [&expected, &expected]),
                "{:?}",
                batch.rejected
            );
        }
        Err(expected) => {
            assert_eq!(actual, [None, None]);
            for rejected in &batch.rejected {
                assert_eq!(rejected.code, "decode");
                assert!(rejected.message.contains(expected), "{}", rejected.message);
            }
        }
    }
}

/// An event for columns `a: int64` and `s: string`, and the message.
#[track_caller]
fn check_syntax(event: &[u8], expected: &str) {
    let columns = [column("a", "int64"), column("s", "string")];
    let good: &[u8] = br#"{"a":1,"s":"x"}"#;
    let batch = decode(&columns, raw_batch(0, &[good, event, good]));
    assert_eq!(batch.raw_rows, [0, 2]);
    assert_eq!(batch.rejected[0].row, 1);
    assert_eq!(batch.rejected[0].message, expected);
}

#[test]
fn numbers() {
    check("int8", "-128", Ok(Value::Int(-128)));
    check("int8", "128", Err("column `x` (int8): cannot hold `128` at byte 5: out of range"));
    check("int64", "-9223372036854775808", Ok(Value::Int(i64::MIN)));
    check("int64", "9223372036854775808", Err("out of range"));
    check("int64", "-0", Ok(Value::Int(0)));
    check("int64", "1.0", Err("found `1.0` at byte 5; send it as an integer or declare the column float64"));
    check("int64", "1e3", Err("needs a whole number"));
    check("int64", "\"7\"", Err("needs an integer, found `\"7\"` at byte 5"));
    check("int64", "01", Err("a number without leading zeros is expected"));
    check("int64", "true", Err("needs an integer, found `true`"));
    check("uint8", "255", Ok(Value::UInt(255)));
    check("uint8", "-1", Err("out of range"));
    check("uint8", "-0", Ok(Value::UInt(0)));
    check("uint64", "18446744073709551615", Ok(Value::UInt(u64::MAX)));
    check("uint64", "18446744073709551616", Err("out of range"));
    check("uint64", "100000000000000000000000", Err("out of range"));
    check("float64", "0.1", Ok(Value::Float64(0.1)));
    check("float64", "-0", Ok(Value::Float64(-0.0)));
    check("float64", "123456789012345678901234567890", Ok(Value::Float64(123456789012345678901234567890.0)));
    check("float64", "5e-324", Ok(Value::Float64(5e-324)));
    check("float64", "1e400", Err("cannot hold `1e400` at byte 5: too large"));
    check("float64", "\"NaN\"", Ok(Value::Float64(f64::NAN)));
    check("float64", "\"-Infinity\"", Ok(Value::Float64(f64::NEG_INFINITY)));
    check(
        "float64",
        "\"nan\"",
        Err("needs a number, \"NaN\", \"Infinity\" or \"-Infinity\", found `\"nan\"`"),
    );
    check("float64", "NaN", Err("`NaN` where a value is expected at byte 5"));
    check("float64", "1.", Err("a digit is expected"));
    check("float32", "16777217", Ok(Value::Float32(16777216.0)));
    check("float32", "0.3", Ok(Value::Float32(0.3)));
    check("float32", "1e39", Err("too large"));
    check("decimal(5,2)", "123.45", Ok(Value::Decimal(12345, 2)));
    check("decimal(5,2)", "\"-1.5\"", Ok(Value::Decimal(-150, 2)));
    check("decimal(5,2)", "1.5000", Ok(Value::Decimal(150, 2)));
    check("decimal(5,2)", "1.2e2", Ok(Value::Decimal(12000, 2)));
    check("decimal(5,2)", "1.005", Err("cannot hold `1.005` at byte 5 without rounding"));
    check("decimal(5,2)", "1000", Err("too many digits"));
    check("decimal(5,2)", "0e999999999999", Ok(Value::Decimal(0, 2)));
    check("decimal(5,2)", "1e999999999999", Err("too many digits"));
    check("decimal(5,2)", "1e-999999999999", Err("without rounding"));
    check("decimal(5,2)", "\"1 \"", Err("needs a number or text that holds one"));
    let nines = "9".repeat(38);
    check("decimal(38,0)", &nines, Ok(Value::Decimal(nines.parse().unwrap(), 0)));
    check("decimal(38,0)", &format!("{nines}9"), Err("too many digits"));
}

#[test]
fn texts() {
    check("string", r#""""#, Ok(Value::String(String::new())));
    check(
        "string",
        r#""a\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00ü""#,
        Ok(Value::String("a\"\\/\u{8}\u{c}\n\r\tä😀ü".into())),
    );
    check("string", r#""\u0000""#, Ok(Value::String("\0".into())));
    check("string", r#""\ud83d""#, Err("half of a surrogate pair at byte 6"));
    check("string", r#""\ude00""#, Err("half of a surrogate pair at byte 6"));
    check("string", r#""\ud83d\u0041""#, Err("half of a surrogate pair"));
    check("string", r#""\x""#, Err("an unknown or incomplete escape at byte 6"));
    check("string", "\"a\nb\"", Err("a control character that is not escaped at byte 7"));
    check("string", "1", Err("column `x` (string): needs text, found `1` at byte 5"));
    check("bool", "true", Ok(Value::Bool(true)));
    check("bool", "False", Err("`False` where a value is expected"));
    check("bool", "1", Err("needs `true` or `false`, found `1`"));
    check("bytes", r#""AP8=""#, Ok(Value::Bytes(vec![0, 255])));
    check("bytes", r#""AP8""#, Ok(Value::Bytes(vec![0, 255])));
    check("bytes", r#""\/\/8=""#, Ok(Value::Bytes(vec![255, 255])));
    check("bytes", r#""A_8=""#, Err("is not base64"));
}

#[test]
fn instants_and_days() {
    let instant = Ok(Value::Timestamp(1_654_562_168_832_793));
    check("timestamp", "\"2022-06-07T00:36:08.832793Z\"", instant.clone());
    check("timestamp", "\"2022-06-07 00:36:08.8327939\"", instant.clone());
    check("timestamp", "\"2022-06-07T02:36:08.832793+02:00\"", instant);
    check("timestamp", "\"2022-06-07T00:36:08Z\"", Ok(Value::Timestamp(1_654_562_168_000_000)));
    check("timestamp", "\"2022-06-07T00:36:08.5Z\"", Ok(Value::Timestamp(1_654_562_168_500_000)));
    check("timestamp", "\"2024-02-29T23:59:60Z\"", Ok(Value::Timestamp(1_709_251_200_000_000)));
    check("timestamp", "\"2023-02-29T00:00:00Z\"", Err("has a field that is out of range"));
    check("timestamp", "\"yesterday\"", Err("is not an RFC 3339 time such as"));
    check("timestamp", "1654562168", Err("declare the column `timestamp_s` if it counts seconds"));
    check("timestamp", "1654562168832", Err("declare the column `timestamp_ms` if it counts milliseconds"));
    check(
        "timestamp",
        "1654562168832793",
        Err("declare the column `timestamp_us` if it counts microseconds"),
    );
    check("timestamp_s", "-1", Ok(Value::Timestamp(-1_000_000)));
    check("timestamp_ms", "1654562168832", Ok(Value::Timestamp(1_654_562_168_832_000)));
    check("timestamp_us", "1654562168832793", Ok(Value::Timestamp(1_654_562_168_832_793)));
    check("timestamp_s", "9223372036855", Err("out of range"));
    check("timestamp_ms", "1.5", Err("needs a whole number"));
    check(
        "timestamp_ms",
        "\"2022-06-07T00:36:08Z\"",
        Err("is declared `timestamp_ms` and needs a whole number of milliseconds"),
    );
    check("date", "\"1970-01-02\"", Ok(Value::Date(1)));
    check("date", "\"1970-13-02\"", Err("is not a day of the calendar"));
    check("date", "1", Err("needs text such as \"2022-06-07\""));
}

#[test]
fn nested_values() {
    let text = |text: &str| Value::String(text.to_owned());
    check("list<int32>", "[ 1 , null,3]", Ok(Value::List(vec![Value::Int(1), Value::Null, Value::Int(3)])));
    check("list<int32>", "[]", Ok(Value::List(Vec::new())));
    check("list<int32>", "[1,]", Err("`]` where a value is expected"));
    check(
        "list<int32>",
        "[1,true]",
        Err("column `x` (list<int32>): needs an integer, found `true` at byte 8"),
    );
    check("list<int32>", "{}", Err("needs a list, found `{`"));
    check(
        "struct<a: int64, b: string>",
        r#"{"b":"x","c":[{}],"a":"bad","a":2}"#,
        Ok(Value::Struct(vec![("a".into(), Value::Int(2)), ("b".into(), text("x"))])),
    );
    check("struct<a: int64>", "{}", Ok(Value::Struct(vec![("a".into(), Value::Null)])));
    check("struct<a: int64>", "null", Ok(Value::Null));
    check(
        "map<string, int64>",
        r#"{"k":1,"l":null,"\u006b":2}"#,
        Ok(Value::Map(vec![(text("k"), Value::Int(2)), (text("l"), Value::Null)])),
    );
    check("map<int32, bool>", r#"{"-5":true}"#, Ok(Value::Map(vec![(Value::Int(-5), Value::Bool(true))])));
    check("map<int32, bool>", r#"{"5x":true}"#, Err("needs a value of the key's type"));
    check(
        "map<bool, bool>",
        r#"{"true":true}"#,
        Ok(Value::Map(vec![(Value::Bool(true), Value::Bool(true))])),
    );
    check("map<date, int8>", r#"{"1970-01-02":1}"#, Ok(Value::Map(vec![(Value::Date(1), Value::Int(1))])));
    check(
        "map<float64, int8>",
        r#"{"1.5":1,"-Infinity":2}"#,
        Ok(Value::Map(vec![
            (Value::Float64(1.5), Value::Int(1)),
            (Value::Float64(f64::NEG_INFINITY), Value::Int(2)),
        ])),
    );
    check("map<list<int8>, int8>", "{}", Err("keys of a map may not be nested"));
    check(
        "list<struct<m: map<string, list<float32>>>>",
        r#"[{"m":{"e":[0.5,null]}},null]"#,
        Ok(Value::List(vec![
            Value::Struct(vec![(
                "m".into(),
                Value::Map(vec![(text("e"), Value::List(vec![Value::Float32(0.5), Value::Null]))]),
            )]),
            Value::Null,
        ])),
    );
}

#[test]
fn syntax() {
    check_syntax(b"", "not a JSON object: the payload ends where `{` is expected at byte 0");
    check_syntax(b"\xef\xbb\xbf{}", "not a JSON object: a byte-order mark where `{` is expected at byte 0");
    check_syntax(b"[1]", "not a JSON object: `[` where `{` is expected at byte 0");
    check_syntax(
        br#"{"a":1,"s":"x""#,
        "not a JSON object: the payload ends where `,` or `}` is expected at byte 14",
    );
    check_syntax(br#"{"a":1,"s":"x"}}"#, "not a JSON object: `}` behind the end of the object at byte 15");
    check_syntax(
        br#"{"a":1,"s":"x""#.split_at(13).0,
        "not a JSON object: the payload ends within a text at byte 13",
    );
    check_syntax(br#"{"a":1,}"#, "not a JSON object: `}` where a key in quotes is expected at byte 7");
    check_syntax(br#"{"a" 1}"#, "not a JSON object: `1` where `:` is expected at byte 5");
    check_syntax(br#"{"a":}"#, "not a JSON object: `}` where a value is expected at byte 5");
    check_syntax(b"{\"a\":1,\"s\":\"\xff\"}", "not a JSON object: text that is not UTF-8 at byte 12");
    check_syntax(b"{\"a\":1,\"\xff\":2}", "not a JSON object: text that is not UTF-8 at byte 8");
    check_syntax(br#"{"a":1,"u":{"v":[1,]}}"#, "not a JSON object: `]` where a value is expected at byte 19");
}

#[test]
fn missing_values_duplicates_and_unknown_keys() {
    let columns = [column("a", "int64"), required("b", "int64")];
    let events: [&[u8]; 6] = [
        br#"{"a":1,"b":2}"#,
        br#"{"b":3}"#,
        br#"{"a":4}"#,
        br#"{"a":5,"b":null}"#,
        br#" { "b" : 6 , "zz" : {"b":[1,{"a":"\ud800"}]} , "a" : "x" , "a" : 7 } "#,
        br#"{"a":8,"\u0062":9}"#,
    ];
    let batch = decode(&columns, raw_batch(0, &events));
    let int = Value::Int;
    let expected = [
        Some(vec![int(1), int(2)]),
        Some(vec![Value::Null, int(3)]),
        None,
        None,
        Some(vec![int(7), int(6)]),
        Some(vec![int(8), int(9)]),
    ];
    assert_eq!(rows(&columns, &batch), expected);
    let message = "column `b` (int64) is not nullable, but its value is missing or null";
    assert_eq!(batch.rejected[0].message, message);
    assert_eq!(batch.rejected[1].message, message);
}

#[test]
fn nesting_is_bounded_as_in_serde_json() {
    let columns = [column("a", "int64")];
    for (levels, taken) in [(126, true), (127, false), (100_000, false)] {
        let event = format!(r#"{{"u":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&event).is_ok(), taken);
        for batch in
            [decode(&columns, raw_batch(0, &[&event])), decode_carefully(&columns, raw_batch(0, &[&event]))]
        {
            assert_eq!(batch.rejected.is_empty(), taken, "{levels}");
        }
    }
}

#[test]
fn ingest_time_comes_from_the_batch() {
    let columns = [column("a", "int64"), required("_ingest_time", "timestamp")];
    let mut raw = raw_batch(0, &[r#"{"a":1}"#, "{", r#"{"_ingest_time":"nonsense"}"#]);
    raw.ingest_times = vec![10, 20, 30];
    let batch = decode(&columns, raw);
    let expected = [
        Some(vec![Value::Int(1), Value::Timestamp(10)]),
        None,
        Some(vec![Value::Null, Value::Timestamp(30)]),
    ];
    assert_eq!(rows(&columns, &batch), expected);
}

#[test]
fn nothing_and_no_columns() {
    let batch = decode(&[column("a", "int64")], raw_batch::<&str>(0, &[]));
    assert_eq!((batch.columns.num_rows(), batch.columns.num_columns()), (0, 1));
    let batch = decode(&[], raw_batch(0, &["{}", r#"{"a":1}"#, "x"]));
    assert_eq!((batch.columns.num_rows(), batch.rejected.len()), (2, 1));
}

#[test]
fn the_sample_decodes_as_with_serde() {
    let batch = decode(&ad_columns(), ad_batch(5, 500));
    assert!(batch.rejected.is_empty());
    assert_eq!(batch.columns, decode_with_serde(&batch.raw));
    let bytes: usize = (0..500).map(|row| batch.raw.payload(row).len()).sum();
    assert!((136..=142).contains(&(bytes / 500)), "{}", bytes / 500);
}
