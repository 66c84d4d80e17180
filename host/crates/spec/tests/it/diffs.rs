//! From one plan to the next.

use proptest::prelude::*;
use spec::diff::{Change, Effect, ViewChange, diff, reopens};

use crate::texts::{BASE, VIEW, plan};

/// What a change of the files means for the one view.
#[track_caller]
fn check(old: &str, new: &str, expected: Option<(Effect, &[&str])>) {
    let difference = diff(&plan(old), &plan(new));
    let actual = difference.views.first().map(|change| match change {
        ViewChange::Changed { effect, what, .. } => (*effect, what.as_slice()),
        other => panic!("{other:?}"),
    });
    assert_eq!(actual, expected);
}

#[test]
fn changes_of_a_view_have_their_effects() {
    let old = format!("{BASE}{VIEW}");
    let with = |line: &str| format!("{BASE}{VIEW}  {line}\n");
    let without = |from: &str, to: &str| old.replace(from, to);
    check(&old, &format!("# a comment, and nothing else\n\n{old}"), None);
    check(&old, &with("ttl: 1d"), Some((Effect::Adjust, &["ttl"])));
    check(
        &old,
        &without("{ component: v.wasm,", "{ component: v.wasm, limits: { time: 1s, failures_to_pause: 7 },"),
        Some((Effect::Adjust, &["transform.limits"])),
    );
    check(&old, &with("description: counts"), Some((Effect::ServingOnly, &["description"])));
    check(&old, &with("tags: { a: b }\n  offline: true"), Some((Effect::ServingOnly, &["offline", "tags"])));
    check(&old, &without("factor: 2", "factor: 3"), Some((Effect::Restart, &["transform.params"])));
    check(&old, &without("params: { factor: 2 }", "params: { \"factor\":   2 }"), None);
    check(&old, &without("v.wasm", "w.wasm"), Some((Effect::Restart, &["transform.component"])));
    check(&old, &without("{ n: int64 }", "{ n: int64, m: bool }"), Some((Effect::Restart, &["features"])));
    check(&old, &without("{ n: int64 }", "{ n: int32 }"), Some((Effect::Restart, &["features"])));
    check(&old, &with("online: false"), Some((Effect::Restart, &["online"])));
    check(
        &old,
        &with("ttl: 1d\n  output_stream: { file: { path: o } }"),
        Some((Effect::Restart, &["output_stream", "ttl"])),
    );
    check(
        &old,
        &without("user_id: string }", "user_id: string, shop: int64 }"),
        Some((Effect::Restart, &["entities"])),
    );
}

#[test]
fn changes_of_a_source_reach_its_views() {
    let old = format!("{BASE}{VIEW}");
    check(&old, &old.replace("ad: int64", "ad: int32"), Some((Effect::Restart, &["source"])));
    check(
        &old,
        &old.replace("push: {}", "push: {}\n  description: new"),
        Some((Effect::ServingOnly, &["source"])),
    );
    let difference = diff(&plan(&old), &plan(&old.replace("ad: int64", "ad: int32")));
    assert!(matches!(difference.sources.as_slice(), [Change::Changed(source)] if source.name == "clicks"));
}

#[test]
fn changed_topics_and_groups_open_a_source_anew() {
    let old = include_str!("../good/kafka.yaml");
    let restart = Some((Effect::Restart, &["source"][..]));
    for (from, to) in [
        ("[clicks-eu, clicks_us.v2]", "clicks-eu"),
        ("    connection: main\n    topic:", "    connection: second\n    topic:"),
        ("shop: clicks", "shop"),
        ("out_of_range: earliest", "out_of_range: latest"),
        ("group_protocol: consumer", "group_protocol: classic"),
        ("fetch.wait.max.ms: 50", "fetch.wait.max.ms: 51"),
    ] {
        let new = old.replacen(from, to, 1);
        assert_ne!(old, new, "{from}");
        check(old, &new, restart);
        let (before, after) = (plan(old), plan(&new));
        assert!(reopens(&before.sources["clicks"], &after.sources["clicks"]), "{from}");
    }
    // Where a view begins that has no position says nothing to one that has.
    let later = old.replace("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    check(old, &later, Some((Effect::ServingOnly, &["start", "source"])));
    assert!(!reopens(&plan(old).sources["clicks"], &plan(&later).sources["clicks"]));
    check(
        old,
        &old.replace("exactly_once: true", "exactly_once: false"),
        Some((Effect::Restart, &["output_stream"])),
    );
    check(old, &old.replace("linger.ms: 5", "linger.ms: 6"), Some((Effect::Restart, &["output_stream"])));
}

#[test]
fn changed_streams_and_stores_restart_views() {
    let old = include_str!("../good/kinesis.yaml");
    for (from, to) in [
        ("stream_name: drivers", "stream_name: riders"),
        ("connection: aws\n", "connection: aws_alias\n"),
        ("out_of_range: earliest", "out_of_range: latest"),
        ("leases: { redis: { connection: cache } }", "leases: { alone: {} }"),
    ] {
        let new = old.replacen(from, to, 1);
        assert_ne!(old, new, "{from}");
        check(old, &new, Some((Effect::Restart, &["source"])));
        let (before, after) = (plan(old), plan(&new));
        let name = "driver_stats_stream";
        assert!(reopens(&before.sources[name], &after.sources[name]), "{from}");
    }
    let embedded =
        old.replacen("online_store: { redis: { connection: cache } }", "online_store: { embedded: {} }", 1);
    check(old, &embedded, Some((Effect::Restart, &["online_store"])));
    let unordered = old.replacen("ordered: false", "ordered: true", 1);
    check(old, &unordered, Some((Effect::Restart, &["output_stream"])));
    let start = old.replacen("2026-01-01T", "2026-02-01T", 1);
    check(old, &start, Some((Effect::ServingOnly, &["start", "source"])));
}

/// Files with up to three sources, views and services, each in several versions.
fn files() -> impl Strategy<Value = String> {
    let version = || prop::option::of(0..4_usize);
    (
        prop::array::uniform3(version()),
        prop::array::uniform3(version()),
        prop::option::of(0..3_usize),
        any::<bool>(),
    )
        .prop_map(|(sources, views, service, described)| {
            let description = if described { "who" } else { "what" };
            let mut text =
                format!("entity: {{ name: user, join_keys: {{ user_id: string }}, description: {description} }}\n");
            for (index, version) in sources.iter().enumerate() {
                let Some(version) = version else { continue };
                let schema = ["a: int64", "a: int32", "b: bool", "a: int64, b: bool"][*version];
                text += &format!("---\nsource: {{ name: s{index}, push: {{}}, schema: {{ user_id: string, ts: timestamp, {schema} }}, timestamp_field: ts }}\n");
            }
            let source = sources.iter().position(Option::is_some);
            for (index, version) in views.iter().enumerate() {
                let (Some(version), Some(source)) = (version, source) else { continue };
                let more = ["ttl: 1d", "online: false", "description: x", "features_: 0"][*version];
                let more = if *version == 3 { String::new() } else { format!(", {more}") };
                text += &format!("---\nview: {{ name: v{index}, source: s{source}, entities: [user], transform: {{ component: v.wasm }}, features: {{ n: int64 }}{more} }}\n");
            }
            if let (Some(view), Some(_)) = (service.filter(|view| views[*view].is_some()), source) {
                text += &format!("---\nservice: {{ name: all, features: [v{view}] }}\n");
            }
            text
        })
}

proptest! {
    #[test]
    fn a_difference_applied_to_the_old_plan_gives_the_new_one(old in files(), new in files()) {
        let (old, new) = (plan(&old), plan(&new));
        let difference = diff(&old, &new);
        prop_assert_eq!(difference.is_empty(), old == new);
        prop_assert_eq!(difference.apply(&old), new);
    }

    #[test]
    fn nothing_differs_from_itself(text in files()) {
        let plan = plan(&text);
        prop_assert!(diff(&plan, &plan).is_empty());
    }
}
