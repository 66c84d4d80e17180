//! "Did you mean": the nearest known name by edit distance.

/// The known name that differs least from a misspelled one, if the difference is small for its length.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().take(MAX_CHARS).collect();
    // A third of the letters may differ, but always one: `onlin`, `kye`.
    let allowed = (wanted.len() / 3).max(1);
    let known: Vec<&str> = known.into_iter().collect();
    known
        .iter()
        .copied()
        .map(|candidate| {
            let letters: Vec<char> = candidate.to_lowercase().chars().take(MAX_CHARS).collect();
            (distance(&wanted, &letters), candidate)
        })
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
        // Or a name that was not written to its end: `max_log` for `max_log_bytes`.
        .or_else(|| {
            let mut longer =
                known.iter().filter(|candidate| wanted.len() >= 3 && candidate.starts_with(name));
            longer.next().filter(|_| longer.next().is_none()).copied()
        })
}

/// Longer names are compared by their beginning: the table is quadratic, and names come from files.
const MAX_CHARS: usize = 128;

/// Insertions, deletions, substitutions and swaps of neighbors (optimal string alignment).
fn distance(one: &[char], other: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, candidate) in other.iter().enumerate() {
            let substituted = last[column] + usize::from(letter != candidate);
            let mut best = substituted.min(last[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *letter == other[column - 1] && one[row - 1] == *candidate {
                best = best.min(before_last[column - 1] + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, known: &[&str], expected: Option<&str>) {
        assert_eq!(nearest(name, known.iter().copied()), expected);
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        check("onlin", &["online", "offline"], Some("online"));
        check("kye", &["key", "name"], Some("key"));
        check("Features", &["features", "feature_start_time"], Some("features"));
        check("user_idd", &["user_id", "user"], Some("user_id"));
        check("max_log", &["max_log_bytes", "segment_bytes"], Some("max_log_bytes"));
        check("max", &["max_log_bytes", "max_row_bytes"], None);
        check("x", &["y"], None);
        check("impressions", &["ttl", "owner"], None);
        check("", &["ttl"], None);
        check(&"a".repeat(10_000), &["ttl"], None);
    }
}
