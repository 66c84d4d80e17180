//! What is taken for a join key, and what is refused.

use super::*;

#[track_caller]
fn check(json: &str, data_type: &DataType, expected: Result<&Value, &str>) {
    let scalar = serde_json::from_str::<Scalar<'_>>(json).unwrap();
    assert_eq!(convert(&scalar, data_type).as_ref().map_err(String::as_str), expected);
}

#[test]
fn values_become_what_is_declared() {
    check(r#""u1""#, &DataType::String, Ok(&Value::String("u1".into())));
    check("9007199254740993", &DataType::Int64, Ok(&Value::Int(9_007_199_254_740_993)));
    check(r#""-7""#, &DataType::Int64, Ok(&Value::Int(-7)));
    check("1001.0", &DataType::Int64, Ok(&Value::Int(1001)));
    check("null", &DataType::Int64, Ok(&Value::Null));
    check(r#""AP8=""#, &DataType::Bytes, Ok(&Value::Bytes(vec![0, 255])));
    check("1654562168", &DataType::Timestamp, Ok(&Value::Timestamp(1_654_562_168_000_000)));
    check(r#""2022-06-07T00:36:08Z""#, &DataType::Timestamp, Ok(&Value::Timestamp(1_654_562_168_000_000)));
}

#[test]
fn other_values_are_refused_in_words() {
    check("7", &DataType::String, Err("expected a string, found the number `7`"));
    check("1.5", &DataType::Int64, Err("expected a whole number of 64 bits, found the number `1.5`"));
    check("1e300", &DataType::Int64, Err("expected a whole number of 64 bits, found the number `1e300`"));
    check(
        "18446744073709551615",
        &DataType::Int64,
        Err("expected a whole number of 64 bits, found the number `18446744073709551615`"),
    );
    check(
        "3000000000",
        &DataType::Int32,
        Err("expected a whole number of 32 bits, found the number `3000000000`"),
    );
    check(r#""u1""#, &DataType::Int64, Err("expected a whole number of 64 bits, found the string `u1`"));
    check("[1]", &DataType::Int64, Err("expected a whole number of 64 bits, found a list or an object"));
    check("true", &DataType::String, Err("expected a string, found `true`"));
    check(r#""???""#, &DataType::Bytes, Err("expected base64, found the string `???`"));
}

#[test]
fn query_strings_carry_texts() {
    assert_eq!(convert_text("7", &DataType::String), Ok(Value::String("7".into())));
    assert_eq!(convert_text("7", &DataType::Int32), Ok(Value::Int(7)));
    assert_eq!(convert_text("1654562168", &DataType::Timestamp), Ok(Value::Timestamp(1_654_562_168_000_000)));
}
