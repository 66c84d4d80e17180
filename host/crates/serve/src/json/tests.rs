//! Exactness of what is written.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(value: &Value, expected: &str) {
    let mut out = Vec::new();
    write_value(&mut out, value, Dialect::Own);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[track_caller]
fn check_feast(value: &Value, expected: &str) {
    let mut out = Vec::new();
    write_value(&mut out, value, Dialect::Feast);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn scalars() {
    check(&Value::Null, "null");
    check(&Value::Bool(true), "true");
    check(&Value::Bool(false), "false");
    check(&Value::Int(9_007_199_254_740_993), "9007199254740993");
    check(&Value::Int(i64::MIN), "-9223372036854775808");
    check(&Value::UInt(u64::MAX), "18446744073709551615");
    check(&Value::Float64(0.1), "0.1");
    check(&Value::Float64(1.0), "1.0");
    check(&Value::Float64(-0.0), "-0.0");
    check(&Value::Float32(0.1), "0.1");
    check(&Value::Float64(f64::NAN), r#""NaN""#);
    check(&Value::Float32(f32::INFINITY), r#""Infinity""#);
    check(&Value::Float64(f64::NEG_INFINITY), r#""-Infinity""#);
    check(&Value::Bytes(vec![0, 255]), r#""AP8=""#);
    check(&Value::Bytes(Vec::new()), r#""""#);
    check(&Value::Date(19_150), r#""2022-06-07""#);
    check(&Value::Decimal(-1_234_567, 2), r#""-12345.67""#);
    check(&Value::Decimal(5, 3), r#""0.005""#);
    check(&Value::Decimal(-42, 0), r#""-42""#);
    check(&Value::Decimal(i128::MIN, 0), r#""-170141183460469231731687303715884105728""#);
}

#[test]
fn times_differ_by_dialect() {
    let time = || Value::Timestamp(1_654_562_168_832_793);
    check(&time(), r#""2022-06-07T00:36:08.832793Z""#);
    check_feast(&time(), "1654562168");
    check_feast(&Value::Timestamp(-1), "-1");
}

#[test]
fn nested_values() {
    let tags = Value::List(vec![Value::String("a\"b".into()), Value::Null]);
    let place = Value::Struct(vec![("lat".into(), Value::Float32(1.5)), ("tags".into(), tags)]);
    let map = Value::Map(vec![(Value::Int(1), place), (Value::String("x".into()), Value::Map(Vec::new()))]);
    check(&map, r#"{"1":{"lat":1.5,"tags":["a\"b",null]},"x":{}}"#);
}

#[test]
fn protobuf_times_have_0_3_or_6_digits() {
    #[track_caller]
    fn check(micros: i64, expected: &str) {
        let mut out = Vec::new();
        write_short_time(&mut out, micros);
        assert_eq!(String::from_utf8(out).unwrap(), format!("\"{expected}\""));
    }
    check(0, "1970-01-01T00:00:00Z");
    check(1_654_562_168_000_000, "2022-06-07T00:36:08Z");
    check(1_654_562_168_120_000, "2022-06-07T00:36:08.120Z");
    check(1_654_562_168_120_001, "2022-06-07T00:36:08.120001Z");
    check(-500_000, "1969-12-31T23:59:59.500Z");
}

proptest! {
    #[test]
    fn texts_read_back(text: String) {
        let mut out = Vec::new();
        write_text(&mut out, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn floats_read_back(number: f64) {
        let mut out = Vec::new();
        write_value(&mut out, &Value::Float64(number), Dialect::Own);
        if number.is_finite() {
            // serde_json rounds unless told otherwise; the standard library reads exactly.
            prop_assert_eq!(String::from_utf8(out).unwrap().parse::<f64>().unwrap().to_bits(), number.to_bits());
        } else {
            prop_assert_eq!(out[0], b'"');
        }
    }
}
