//! Percent-encoding in paths and query strings.

/// Decodes `%41`; in query strings also `+` as a space. `None` if it is not UTF-8 or a `%` is not followed by two digits.
pub(crate) fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

/// The pairs of a query string in order; a name without `=` has an empty value.
pub(crate) fn pairs(query: &str) -> Option<Vec<(String, String)>> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name, true)?, decode(value, true)?))
        })
        .collect()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let expected = [("user id", "a&b=c"), ("city", "Zürich"), ("flag", "")];
        let actual = pairs("user+id=a%26b%3Dc&&city=Z%C3%BCrich&flag").unwrap();
        assert!(actual.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected));
        assert_eq!(decode("a+b", false).as_deref(), Some("a+b"));
        assert_eq!(pairs("a=%4"), None);
        assert_eq!(pairs("a=%ff"), None);
    }
}
