//! Connections to Kinesis, checked and filled in. Nothing here connects to anything.

use std::path::Path;

use super::connections::{is_told, needs, pem_file};
use crate::diagnostic::{Code, Diagnostic};
use crate::kinesis::{is_endpoint, is_region, is_role_arn};
use crate::plan::KinesisConnectionPlan;
use crate::raw::{RawKinesisConnection, Spanned};

/// A connection with what is right of it.
pub(super) fn kinesis(
    raw: &RawKinesisConnection,
    folder: &Path,
    problems: &mut Vec<Diagnostic>,
) -> KinesisConnectionPlan {
    let mut text = |raw: Option<&Spanned<String>>, fits: &dyn Fn(&str) -> bool, what: &str, help: &str| {
        let Spanned { value, spot } = raw?;
        // The text itself is not quoted: it may have been put in from outside.
        if !fits(value) && !is_told(problems, spot) {
            problems.push(Diagnostic::at(Code::BadValue, spot, what).help(help));
        }
        Some(value.clone())
    };
    let is_some = |text: &str| !text.is_empty() && text.trim() == text && !text.chars().any(char::is_control);
    let plan = KinesisConnectionPlan {
        region: text(
            raw.region.as_ref(),
            &is_region,
            "`region` is not the name of a region",
            "for example `eu-central-1`; leave it out to take it from the environment",
        ),
        endpoint_url: text(
            raw.endpoint_url.as_ref(),
            &is_endpoint,
            "`endpoint_url` is not `http://host:port` or `https://host:port`",
            "write it without a user and without a path; credentials come from AWS's usual chain",
        ),
        profile: text(
            raw.profile.as_ref(),
            &is_some,
            "`profile` is not the name of a profile",
            "name a profile of AWS's shared configuration files, or leave it out",
        ),
        role_arn: text(
            raw.role_arn.as_ref(),
            &is_role_arn,
            "`role_arn` is not the Amazon resource name of a role",
            "write it as `arn:aws:iam::123456789012:role/features`",
        ),
        external_id: text(
            raw.external_id.as_ref(),
            &is_some,
            "`external_id` is empty, or has blanks at an end",
            "write what the role asks for, or leave it out",
        ),
        ca: None,
    };
    let ca = pem_file("ca", raw.ca.as_ref(), folder, problems);
    let external_id = raw.external_id.as_ref().map(|id| &id.spot);
    needs(external_id, "external_id", raw.role_arn.is_some(), "role_arn", problems);
    KinesisConnectionPlan { ca, ..plan }
}
