//! Kinesis that throttles, refuses some entries, expires what it gave, answers late or not at all: it costs time only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::kinesis::{self, Call, Fault};
use tests::{Host, eventually, pass};

use crate::kinesis_job::{Job, Shape};
use crate::load::Load;
use crate::support::{VIEW, assigned, python};

/// How many lines a host may say about a Kinesis that is away, however long it is: source and output notice it each for
/// themselves, and say when it is back.
const LINES: usize = 8;
/// How often a shard may be read in a second.
const READS_A_SECOND: u32 = 5;
/// For ever.
const ALL: u64 = u64::MAX;

/// At most one record of a key is on its way: neither twice in a request, nor in two that overlap in time.
#[track_caller]
fn one_of_each_key(calls: &[Call]) {
    let mut free: BTreeMap<&str, Duration> = BTreeMap::new();
    let mut puts: Vec<&Call> = calls.iter().filter(|call| call.operation == "PutRecords").collect();
    puts.sort_by_key(|call| call.began);
    assert!(!puts.is_empty());
    for call in puts {
        for key in &call.keys {
            // The proxy notes the end before it answers: whoever sends on an answer begins later.
            let before = free.insert(key, call.ended);
            assert!(
                before.is_none_or(|ended| ended <= call.began),
                "{key} is sent before its last record was answered"
            );
        }
    }
}

#[test]
fn refused_entries_alone_are_sent_again() {
    if !kinesis::there() || !python() {
        return;
    }
    let (job, proxy) = Job::proxied(&Shape::default());
    let mut tail = job.tail();
    let host = Host::start(&job.workspace);
    let load = Load::new(&job);
    load.during(|| {
        job.emits(&host, &mut tail, 50, "records come out");
        proxy.fault("PutRecords", Fault::each_entry(3), ALL);
        job.emits(&host, &mut tail, 100, "records come out though every third entry is throttled");
        proxy.mend();
        let nobody = std::sync::Arc::new(|number: u64, _: &str| !number.is_multiple_of(5));
        proxy.fault("PutRecords", Fault::Entries("InternalFailure", nobody), ALL);
        job.emits(&host, &mut tail, 50, "records come out though most entries fail");
        proxy.mend();
    });
    job.emitted(&host, &mut tail, &load.events());
    assert!(host.stop().success());
    one_of_each_key(&proxy.calls());
    // A refused entry was never written: each record stands there once.
    job.check("once", &load.events(), &Value::Null);
}

#[test]
fn throttling_and_expiry_cost_time_only() {
    if !kinesis::there() || !python() {
        return;
    }
    let (job, proxy) = Job::proxied(&Shape::default());
    job.workspace.write("aws-credentials", credentials("first"));
    let mut tail = job.tail();
    let host = Host::start(&job.workspace);
    let load = Load::new(&job);
    load.during(|| {
        let mut more = |what: &str| job.emits(&host, &mut tail, 40, what);
        more("records come out");
        for operation in ["GetRecords", "PutRecords", "ListShards", "GetShardIterator"] {
            proxy.fault(operation, Fault::throttle(), 6);
        }
        proxy.fault("GetRecords", Fault::Refuse(400, "KMSThrottlingException"), 2);
        proxy.fault("PutRecords", Fault::Refuse(500, "InternalFailure"), 3);
        proxy.met("PutRecords", 6);
        more("records come out after throttling");
        proxy.fault("GetRecords", Fault::expired_iterator(), 4);
        proxy.met("GetRecords", 10);
        more("records come out after iterators have expired");
        proxy.fault("GetRecords", Fault::Delay(Duration::from_millis(700)), 4);
        proxy.fault("PutRecords", Fault::Delay(Duration::from_millis(700)), 4);
        more("records come out late");
        proxy.mend();
        // Who comes with the old key is sent away; the new one is in the file by then.
        job.workspace.write("aws-credentials", credentials("second"));
        proxy.only("second");
        more("records come out with new credentials");
        more("all shards are read with new credentials");
    });
    job.emitted(&host, &mut tail, &load.events());
    let refused = |operation: &str| {
        let calls = proxy.calls();
        calls
            .iter()
            .any(|call| call.operation == operation && call.code.as_deref() == Some("ExpiredTokenException"))
    };
    assert!(refused("GetRecords") || refused("PutRecords"), "nobody came with the old credentials");
    assert!(host.stop().success());
    one_of_each_key(&proxy.calls());
    job.check("once", &load.events(), &Value::Null);
}

fn credentials(key: &str) -> String {
    format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")
}

#[test]
fn answers_that_are_lost_repeat_records_in_order() {
    if !kinesis::there() || !python() {
        return;
    }
    let (job, proxy) = Job::proxied(&Shape::default());
    let mut tail = job.tail();
    let host = Host::start(&job.workspace);
    let load = Load::new(&job);
    load.during(|| {
        let mut more = |what: &str| job.emits(&host, &mut tail, 40, what);
        more("records come out");
        let faults = [
            ("PutRecords", Fault::CutAfter),
            ("PutRecords", Fault::Deny(500, "InternalFailure")),
            ("PutRecords", Fault::CutBefore),
            ("GetRecords", Fault::CutAfter),
            ("GetShardIterator", Fault::CutBefore),
        ];
        for (operation, fault) in faults {
            proxy.fault(operation, fault, 2);
            if operation != "GetShardIterator" {
                proxy.met(operation, 2);
            }
            more(&format!("records come out after answers to {operation} were lost"));
            proxy.mend();
        }
        // Committed, never heard of, and killed: the next one writes it again.
        proxy.fault("PutRecords", Fault::HoldAnswer, ALL);
        proxy.met("PutRecords", 1);
    });
    host.kill();
    proxy.mend();
    let host = Host::start(&job.workspace);
    job.emitted(&host, &mut tail, &load.events());
    assert!(host.stop().success());
    one_of_each_key_but_for_crashes(&proxy.calls());
    job.check("again", &load.events(), &Value::Null);
}

/// A request that was held when its host was killed overlaps with those of the next host.
fn one_of_each_key_but_for_crashes(calls: &[Call]) {
    let answered: Vec<Call> =
        calls.iter().filter(|call| call.ended - call.began < Duration::from_secs(1)).cloned().collect();
    one_of_each_key(&answered);
}

#[test]
fn a_kinesis_that_is_away_is_waited_for() {
    if !kinesis::there() || !python() {
        return;
    }
    let (job, proxy) = Job::proxied(&Shape::default());
    proxy.refuse();
    let first = job.put(0..20);
    let host = Host::spawn(&job.workspace, &[]);
    let reasons = host.unready("aws");
    assert_eq!(host.get("/livez").status, 200, "{reasons}");
    proxy.mend();
    let mut tail = job.tail();
    job.emitted(&host, &mut tail, &first);
    host.ready();
    // Away once more, for as long as it takes to notice.
    let said = host.log().lines().count();
    proxy.refuse();
    let second = job.put(20..40);
    host.unready("");
    pass(Duration::from_secs(3));
    let log = host.log();
    let lines: Vec<&str> = log.lines().skip(said).collect();
    assert!(lines.len() <= LINES, "{}", lines.join("\n"));
    proxy.mend();
    job.emitted(&host, &mut tail, &second);
    host.ready();
    assert!(host.stop().success());
    job.check("once", &[first, second].concat(), &Value::Null);
}

/// Neither an idle stream nor one that throttles everything is asked more often than Kinesis allows.
#[test]
fn a_shard_is_read_five_times_a_second_at_most() {
    if !kinesis::there() {
        return;
    }
    let (job, proxy) = Job::proxied(&Shape::default());
    let host = Host::start(&job.workspace);
    assigned(&host, 2);
    eventually("it reads", || (proxy.count("GetRecords") >= 4).then_some(()));
    let allowed = |time: Duration| {
        let (before, began) = (proxy.count("GetRecords"), Instant::now());
        pass(time);
        let (reads, took) =
            (u32::try_from(proxy.count("GetRecords") - before).unwrap(), began.elapsed().as_secs_f64());
        // One more of each shard may fall into the time.
        let most = 2.0 * f64::from(READS_A_SECOND) * took + 2.0;
        assert!(f64::from(reads) <= most, "{reads} reads of two shards in {took} s");
        reads
    };
    assert!(allowed(Duration::from_secs(3)) > 0, "nobody reads");
    proxy.fault("GetRecords", Fault::throttle(), ALL);
    allowed(Duration::from_secs(3));
    proxy.mend();
    proxy.fault("PutRecords", Fault::throttle(), ALL);
    let events = job.put(0..20);
    proxy.met("PutRecords", 1);
    let before = proxy.count("PutRecords");
    pass(Duration::from_secs(2));
    let puts = proxy.count("PutRecords") - before;
    assert!(puts <= 60, "{puts} requests in two seconds, each of which was throttled");
    proxy.mend();
    job.emitted(&host, &mut job.tail(), &events);
    assert_eq!(host.view(VIEW)["state"], "running");
    assert!(host.stop().success());
}
