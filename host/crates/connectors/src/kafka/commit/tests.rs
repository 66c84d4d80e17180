//! What the text of a commit says, and what is made of texts that others wrote.

use proptest::prelude::*;

use super::*;

fn progress(begun: Option<u32>, views: &[(&str, u64, u32)]) -> Progress {
    let views = views
        .iter()
        .map(|(view, next, epoch)| ((*view).to_owned(), ViewOffset { next: *next, epoch: *epoch }));
    Progress { begun, views: views.collect() }
}

#[track_caller]
fn check(progress: &Progress, text: &str) {
    assert_eq!(progress.encode().as_deref(), Ok(text));
    assert_eq!(Progress::parse(text).as_ref(), Some(progress));
}

#[test]
fn texts() {
    check(&progress(None, &[]), "1");
    check(&progress(Some(12), &[]), "1;*=12");
    check(&progress(None, &[("clicks", 0, 0)]), "1;clicks=0");
    check(&progress(Some(4), &[("b", 7, 2), ("a", 1207, 0)]), "1;*=4;a=1207;b=7,2");
    check(&progress(None, &[("odd;name=%,*", 1, 0)]), "1;odd%3bname%3d%25%2c%2a=1");
    check(&progress(None, &[("ünï", u64::MAX, u32::MAX)]), "1;%c3%bcn%c3%af=18446744073709551615,4294967295");
}

#[test]
fn what_others_wrote_tells_nothing() {
    for text in [
        "",
        "2;a=1",
        "consumed by kafka-streams",
        "AgAAAXnM",
        "1;a",
        "1;a=x",
        "1;a=1,",
        "1;a=-1",
        "1;%zz=1",
        "10;a=1",
    ] {
        assert_eq!(Progress::parse(text), None, "{text}");
    }
}

#[test]
fn a_text_longer_than_brokers_keep_is_refused() {
    let mut progress = progress(Some(4), &[]);
    let mut count = 0;
    while progress.fits(&format!("view_number_{count:04}")).is_ok() {
        let name = format!("view_number_{count:04}");
        assert!(progress.advance(&name, ViewOffset { next: i64::MAX as u64, epoch: u32::MAX }));
        count += 1;
    }
    assert!(count > 80, "{count} views fit");
    assert!(progress.encode().expect("fits").len() <= MAX_METADATA_BYTES);
    assert_eq!(progress.fits("view_number_0000"), Ok(()), "what is in it fits");
    for extra in 0..10 {
        progress
            .advance(&format!("view_number_{extra:04}_more"), ViewOffset { next: i64::MAX as u64, epoch: 9 });
    }
    let refused = progress.encode().expect_err("too long");
    assert!(refused.to_string().contains("of the 4096 that brokers keep"), "{refused}");
}

#[test]
fn progress_goes_forward_within_an_epoch() {
    let mut progress = progress(None, &[("v", 10, 1)]);
    assert!(!progress.advance("v", ViewOffset { next: 9, epoch: 1 }));
    assert!(!progress.advance("v", ViewOffset { next: 10, epoch: 1 }));
    assert!(!progress.advance("v", ViewOffset { next: 99, epoch: 0 }));
    assert!(progress.advance("v", ViewOffset { next: 11, epoch: 1 }));
    assert!(progress.advance("v", ViewOffset { next: 2, epoch: 2 }));
    assert!(progress.advance("w", ViewOffset { next: 0, epoch: 0 }));
    assert_eq!(progress.encode().as_deref(), Ok("1;v=2,2;w=0"));
}

proptest! {
    #[test]
    fn every_progress_comes_back(
        begun in proptest::option::of(0..10_000_u32),
        views in proptest::collection::btree_map("\\PC{1,12}", (any::<u64>(), any::<u32>()), 0..12),
    ) {
        let views = views.into_iter().map(|(view, (next, epoch))| (view, ViewOffset { next, epoch }));
        let progress = Progress { begun, views: views.collect() };
        if let Ok(text) = progress.encode() {
            prop_assert_eq!(Progress::parse(&text), Some(progress));
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,60}") {
        let _ = Progress::parse(&text);
    }
}
