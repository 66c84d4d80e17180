//! The nearest known name, for messages about unknown ones.

/// Names longer than this are not compared: the cost grows with the product of the lengths.
const LONGEST: usize = 64;

/// The candidate with the fewest edits to `name`, if these are few enough to be a slip.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let bound = (name.chars().count() / 3).max(1);
    candidates
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= bound)
        // Equal distances: the first in the alphabet, so that messages do not change between runs.
        .min()
        .map(|(_, candidate)| candidate)
}

/// ` (did you mean …?)`, the known names if they are few, or nothing.
pub(crate) fn hint(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none yet".to_owned(),
        None => {
            let mut names = known.to_vec();
            names.sort_unstable();
            let shown = names.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let more = if names.len() > 8 { format!(" and {} more", names.len() - 8) } else { String::new() };
            format!("known: {shown}{more}")
        }
    }
}

/// Levenshtein's distance, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, to) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, known: &[&str], expected: &str) {
        assert_eq!(hint(name, known), expected);
    }

    #[test]
    fn slips_are_recognized() {
        check("user_idd", &["user_id", "ad_id"], "did you mean `user_id`?");
        check("usr_id", &["user_id", "usr_ix"], "did you mean `user_id`?");
        check("clicks", &["b", "a"], "known: `a`, `b`");
        check("x", &[], "there is none yet");
        let many: Vec<String> = (0..20).map(|number| format!("view_number_{number:02}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(hint("q", &many).ends_with("`view_number_07` and 12 more"));
    }
}
