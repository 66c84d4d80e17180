//! Values as text.

use super::*;

#[track_caller]
fn check(write: impl Fn(&mut Vec<u8>), expected: &str) {
    let mut out = Vec::new();
    write(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn scalars_have_one_spelling() {
    check(|out| float(out, 1.0_f64), "1.0");
    check(|out| float(out, 0.1_f32), "0.1");
    check(|out| float(out, -0.0_f64), "-0.0");
    check(|out| float(out, f64::NAN), "NaN");
    check(|out| float(out, -f64::NAN), "NaN");
    check(|out| float(out, f32::INFINITY), "Infinity");
    check(|out| float(out, f64::NEG_INFINITY), "-Infinity");
    check(|out| decimal(out, 12345, 2), "123.45");
    check(|out| decimal(out, -5, 3), "-0.005");
    check(|out| decimal(out, 0, 2), "0.00");
    check(|out| decimal(out, 100, 0), "100");
    check(|out| decimal(out, i128::MIN, 38), "-1.70141183460469231731687303715884105728");
    check(|out| base64(out, &[0, 255]), "AP8=");
    check(|out| base64(out, &[]), "");
    check(|out| date(out, 19_150), "2022-06-07");
    check(|out| percent_encoded(out, "a/b c;é~"), "a%2Fb%20c%3B%C3%A9~");
}

#[test]
fn instants_are_written_as_model_does() {
    let mut instants = Instants::new();
    let days = [0, 1, -1, 19_150, 19_151, 19_150, 2_932_896, 2_932_897, -719_529, 100_000_000];
    for day in days {
        for in_day in [0, 1, 59_999_999, 3_661_000_001, 86_399_999_999] {
            let (mut actual, mut expected) = (Vec::new(), Vec::new());
            instants.write(&mut actual, day * MICROS_PER_DAY + in_day);
            write_rfc3339(&mut expected, day * MICROS_PER_DAY + in_day);
            assert_eq!(String::from_utf8(actual), String::from_utf8(expected));
        }
    }
    for number in 0..100 {
        assert_eq!(two_digits(number), format!("{number:02}").as_bytes());
    }
}

proptest::proptest! {
    #[test]
    fn texts_are_escaped_as_in_serde_json(text in "([\\x00-\\x7f]|ü|😀|\"|\\\\){0,60}") {
        let mut out = vec![b'"'];
        escaped(&mut out, text.as_bytes());
        out.push(b'"');
        proptest::prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
    }
}
