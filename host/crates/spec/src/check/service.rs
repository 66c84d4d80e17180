//! Feature services.

use std::collections::HashMap;

use model::schema::DataType;

use super::Outcome;
use super::index::Known;
use crate::diagnostic::{Code, Diagnostic, Spot};
use crate::plan::{ServiceFeatures, ServicePlan, ViewPlan};
use crate::raw::{RawService, Spanned};

pub(super) fn service(known: &Known, raw: &RawService, outcome: &mut Outcome) -> Option<ServicePlan> {
    if raw.features.value.is_empty() {
        outcome.report_absent(
            Diagnostic::at(Code::Empty, &raw.features.spot, "a service needs at least one view or feature")
                .help("name views, or features as `view:feature`"),
        );
    }
    let mut features: Vec<ServiceFeatures> = Vec::new();
    let mut places: Vec<&Spot> = Vec::new();
    let mut join_keys: HashMap<&str, (&DataType, &str, &Spot)> = HashMap::new();
    for entry in &raw.features.value {
        let Spanned { value: text, spot } = entry;
        let (view_name, feature) = match text.split_once(':') {
            Some((view, feature)) => (view, Some(feature)),
            None => (text.as_str(), None),
        };
        let Some(view) = known.view(view_name, spot, outcome) else { continue };
        if let Some(feature) = feature
            && view.shape.feature_index(feature).is_none()
        {
            outcome.report(unknown_feature(view, feature, spot));
            continue;
        }
        let part = ServiceFeatures { view: view_name.to_owned(), feature: feature.map(str::to_owned) };
        let covers = |other: &ServiceFeatures| {
            other.view == part.view
                && (other.feature == part.feature || other.feature.is_none() || part.feature.is_none())
        };
        if let Some(first) = features.iter().position(covers) {
            outcome.report(
                Diagnostic::at(Code::NameClash, spot, format!("`{text}` is in the service already"))
                    .related(places[first], "covered by this")
                    .help("remove one of them"),
            );
            continue;
        }
        for key in &view.shape.keys {
            let (data_type, other, first) =
                *join_keys.entry(&key.name).or_insert((&key.data_type, view.name(), spot));
            if *data_type != key.data_type {
                let message = format!(
                    "join key `{}` is `{}` in view `{}` and `{data_type}` in view `{other}`",
                    key.name,
                    key.data_type,
                    view.name()
                );
                outcome.report(
                    Diagnostic::at(Code::JoinKeysDisagree, spot, message)
                        .related(first, "the other view")
                        .help("one request asks for both: give the join key one type, or one of them another name"),
                );
            }
        }
        features.push(part);
        places.push(spot);
    }
    Some(ServicePlan {
        name: raw.name.value.0.clone(),
        features,
        description: raw.description.clone().unwrap_or_default(),
        spot: raw.name.spot.clone(),
    })
}

fn unknown_feature(view: &ViewPlan, feature: &str, spot: &Spot) -> Diagnostic {
    let known = || view.shape.features.iter().map(|field| field.name.as_str());
    let message = format!("view `{}` has no feature `{feature}`", view.name());
    let mut problem = Diagnostic::at(Code::UnknownReference, spot, message)
        .suggest(feature, known())
        .related(&view.spots.name, "the view");
    if problem.suggestion.is_none() {
        problem = problem.help(format!(
            "features of `{}`: {}",
            view.name(),
            known().collect::<Vec<_>>().join(", ")
        ));
    }
    problem
}
