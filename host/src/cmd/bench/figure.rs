//! A figure, what it is held against, and whether that is good enough.

use serde_json::{Value, json};

use crate::results;

/// One measured figure.
pub(super) struct Figure {
    /// What was measured.
    pub(super) figure: String,
    /// How much.
    pub(super) value: f64,
    /// Of what.
    pub(super) unit: &'static str,
    /// What it is held against: a limit or a peer, with its value where it was measured in this run.
    pub(super) against: String,
    /// Value by what it is held against; `None` where the goal is a value.
    pub(super) ratio: Option<f64>,
    /// What is wanted, in words.
    pub(super) goal: String,
    /// Whether it is reached.
    pub(super) met: bool,
}

impl Figure {
    /// A figure without a goal, with what belongs to it.
    pub(super) fn plain(
        figure: impl Into<String>,
        value: f64,
        unit: &'static str,
        beside: impl Into<String>,
    ) -> Self {
        Self {
            figure: figure.into(),
            value,
            unit,
            against: beside.into(),
            ratio: None,
            goal: String::new(),
            met: true,
        }
    }

    /// A figure that must not be above a value.
    pub(super) fn at_most(figure: impl Into<String>, value: f64, unit: &'static str, limit: f64) -> Self {
        Self {
            figure: figure.into(),
            value,
            unit,
            against: String::new(),
            ratio: None,
            goal: format!("≤ {limit} {unit}"),
            met: value <= limit,
        }
    }

    /// A figure that must not be below a value.
    pub(super) fn at_least(figure: impl Into<String>, value: f64, unit: &'static str, limit: f64) -> Self {
        Self {
            goal: format!("≥ {limit} {unit}"),
            met: value >= limit,
            ..Self::at_most(figure, value, unit, limit)
        }
    }

    /// Says what the value stands against, without being decided by it.
    pub(super) fn against(mut self, against: impl Into<String>, other: f64) -> Self {
        self.against = against.into();
        self.ratio = Some(self.value / other);
        self
    }

    /// A figure that must be at least so many times the other one.
    pub(super) fn times_at_least(
        figure: impl Into<String>,
        value: f64,
        unit: &'static str,
        against: impl Into<String>,
        other: f64,
        times: f64,
    ) -> Self {
        let ratio = value / other;
        Self {
            figure: figure.into(),
            value,
            unit,
            against: against.into(),
            ratio: Some(ratio),
            goal: format!("≥ {times} ×"),
            met: ratio >= times,
        }
    }

    /// A figure that must be at most so many times the other one.
    pub(super) fn times_at_most(
        figure: impl Into<String>,
        value: f64,
        unit: &'static str,
        against: impl Into<String>,
        other: f64,
        times: f64,
    ) -> Self {
        let ratio = value / other;
        Self {
            goal: format!("≤ {times} ×"),
            met: ratio <= times,
            ..Self::times_at_least(figure, value, unit, against, other, times)
        }
    }
}

/// The figures for people.
pub(super) fn table(figures: &[Figure]) -> String {
    let rows: Vec<Vec<String>> = figures
        .iter()
        .map(|figure| {
            vec![
                figure.figure.clone(),
                format!("{} {}", number(figure.value), figure.unit),
                figure.against.clone(),
                figure.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2} ×")),
                figure.goal.clone(),
                match (figure.goal.as_str(), figure.met) {
                    ("", _) => String::new(),
                    (_, true) => "met".to_owned(),
                    (_, false) => "missed".to_owned(),
                },
            ]
        })
        .collect();
    results::table(&["FIGURE", "VALUE", "AGAINST", "RATIO", "GOAL", ""], &rows)
}

/// The figures for programs.
pub(super) fn json(figures: &[Figure]) -> String {
    let list: Vec<Value> = figures
        .iter()
        .map(|figure| {
            json!({
                "figure": figure.figure,
                "value": figure.value,
                "unit": figure.unit,
                "against": figure.against,
                "ratio": figure.ratio,
                "goal": figure.goal,
                "met": figure.met,
            })
        })
        .collect();
    format!("{:#}\n", Value::Array(list))
}

/// Three significant digits or so.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// The value below which `part` (0 to 1) of the values lie; sorts them.
pub(super) fn percentile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = (last as f64 * part).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^53")]
pub(super) fn count(number: u64) -> f64 {
    number as f64
}
