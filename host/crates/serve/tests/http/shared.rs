//! Views of which this host holds a part only, because others read the rest: every answer says so.

use std::sync::Arc;

use serve::{Directory, PushEntry, Service, Share, SharedStream};

use crate::harness::{Host, views};

/// A host that shares the source of `user_impression_counts` and that of `user_purchases`.
fn host() -> (Host, Arc<Share>, Arc<Share>) {
    let host = Host::start();
    let (ads, purchases) = (Arc::new(Share::default()), Arc::new(Share::default()));
    let entry = |name: &str, share: &Arc<Share>| {
        let shared = SharedStream {
            group: format!("millrace-default-{name}"),
            topics: vec![name.to_owned()],
            share: Arc::clone(share),
        };
        let entry =
            PushEntry { push: None, columns: vec![], kind: "kafka", raw: false, shared: Some(shared) };
        (name.to_owned(), entry)
    };
    let sources = [entry("ad_impressions", &ads), entry("purchases", &purchases)];
    host.directory.store(Arc::new(Directory::new(views(), Vec::<Service>::new(), sources)));
    (host, ads, purchases)
}

const READ: &str = r#"{"features":["user_impression_counts:impression","user_purchases:city"],"entities":{"user_id":["u1"]}}"#;

#[test]
fn feast_answers_say_it_in_a_header_and_stay_as_they_are() {
    let (host, ads, purchases) = host();
    let whole = host.post("/get-online-features", READ);
    assert_eq!(whole.header("millrace-partial"), None);
    ads.set(3, 12);
    let part = host.post("/get-online-features", READ);
    assert_eq!(part.header("millrace-partial"), Some("user_impression_counts=3/12"));
    assert_eq!(part.body, whole.body);
    purchases.set(0, 1);
    let part = host.post("/get-online-features", READ);
    assert_eq!(part.header("millrace-partial"), Some("user_impression_counts=3/12, user_purchases=0/1"));
    ads.set(12, 12);
    purchases.set(1, 1);
    assert_eq!(host.post("/get-online-features", READ).header("millrace-partial"), None);
}

#[test]
fn own_answers_have_a_member_and_the_header() {
    let (host, ads, _) = host();
    let read = || host.get("/v1/features/user_impression_counts?user_id=u1");
    assert_eq!((read().json().get("partial"), read().header("millrace-partial")), (None, None));
    ads.set(3, 12);
    assert_eq!(read().json()["partial"], serde_json::json!({"partitions": 3, "of": 12}));
    assert_eq!(read().header("millrace-partial"), Some("user_impression_counts=3/12"));
}

#[test]
fn rows_that_hosts_share_are_no_part() {
    let (host, ads, purchases) = host();
    ads.set(3, 12);
    purchases.set(0, 1);
    let shared = |names: &[&str]| {
        let sources = [("ad_impressions", &ads), ("purchases", &purchases)].map(|(name, share)| {
            let shared = SharedStream { group: "g".to_owned(), topics: vec![], share: Arc::clone(share) };
            let entry =
                PushEntry { push: None, columns: vec![], kind: "kafka", raw: false, shared: Some(shared) };
            (name.to_owned(), entry)
        });
        let directory = Directory::new(views(), Vec::<Service>::new(), sources);
        host.directory
            .store(Arc::new(directory.with_shared_rows(names.iter().map(|name| (*name).to_owned()))));
    };
    shared(&["user_impression_counts"]);
    let part = host.post("/get-online-features", READ);
    assert_eq!(part.header("millrace-partial"), Some("user_purchases=0/1"));
    assert_eq!(host.get("/v1/features/user_impression_counts?user_id=u1").json().get("partial"), None);
    shared(&["user_impression_counts", "user_purchases"]);
    assert_eq!(host.post("/get-online-features", READ).header("millrace-partial"), None);
}

#[test]
fn shared_sources_are_listed() {
    let (host, ads, _) = host();
    ads.set(3, 12);
    let sources = &host.get("/readyz").json()["sources"];
    assert_eq!(
        sources[0],
        serde_json::json!({"source": "ad_impressions", "group": "millrace-default-ad_impressions",
            "topics": ["ad_impressions"], "partitions": 3, "of": 12})
    );
    assert_eq!(sources[1]["source"], "purchases");
    assert_eq!(Host::start().get("/readyz").json().get("sources"), None);
}
