//! What the scripts decide of a row, against what the reader says is held: for all that a hash may hold, whoever wrote it.

use model::position::RowVersion;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use testkit::contract::online::counts_view;

use super::*;
use crate::online::redis::layout::version::{Version, held};
use crate::online::redis::layout::{Fields, append_timestamp};
use crate::online::redis::scripts;

/// Rows of one call.
const ROWS: usize = 400;
const CALLS: usize = 12;

const LATE: i64 = 0;
const TAKEN: i64 = 1;
const SAME: i64 = 2;
const DAMAGED: i64 = 3;

/// A row, and what its hash holds before it comes.
#[derive(Debug, Clone)]
struct Case {
    new: RowVersion,
    /// Our version, and whether it is a deletion.
    ours: Option<(RowVersion, bool)>,
    time: Option<Vec<u8>>,
}

/// Times around which encodings and numbers change: the beginning, seconds of four and five bytes, 2023, 2^53 microseconds,
/// seconds of five and six bytes, 2^59 microseconds, the ends.
const BASES: [i64; 12] = [
    0,
    -1_000_000,
    -62_135_596_800_000_000,
    268_435_455_000_000,
    268_435_456_000_000,
    1_700_000_000_000_000,
    1 << 53,
    9_100_000_000_000_000,
    34_359_738_368_000_000,
    1 << 59,
    i64::MIN,
    i64::MAX,
];

fn any_time(base: i64) -> impl Strategy<Value = i64> {
    let apart = [0, 1, -1, 999_999, -999_999, 1_000_000, -1_000_000, 1_500_000, 3_000_001];
    let near = proptest::sample::select(apart.to_vec());
    prop_oneof![8 => near, 1 => any::<i64>()].prop_map(move |apart| base.saturating_add(apart))
}

fn any_version(base: i64) -> impl Strategy<Value = RowVersion> {
    (any_time(base), 0..3u32, 0..3u64).prop_map(|(event_time, partition, position)| RowVersion {
        event_time,
        partition: Partition::new(partition.to_string()),
        position: Position::from_u64(position),
        generation: 1,
        row: 0,
    })
}

/// A `Timestamp` in any of the forms that mean the same, and with what is below microseconds.
fn timestamp(micros: i64, form: u8) -> Vec<u8> {
    let mut plain = Vec::new();
    append_timestamp(micros, &mut plain);
    let (seconds, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let part = |tag: u8, mut number: u64| {
        let mut out = vec![tag];
        while number > 127 {
            out.push(number as u8 | 128);
            number >>= 7;
        }
        out.push(number as u8);
        out
    };
    let seconds = part(8, seconds.cast_unsigned());
    match form {
        0 => [part(16, rest.cast_unsigned() * 1_000), seconds].concat(),
        1 => [seconds, part(16, rest.cast_unsigned() * 1_000)].concat(),
        2 => [seconds, part(16, rest.cast_unsigned() * 1_000 + 999)].concat(),
        _ => plain,
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    proptest::sample::select(BASES.to_vec())
        .prop_flat_map(|base| {
            let ours = proptest::option::weighted(0.8, (any_version(base), any::<bool>()));
            let feast = proptest::option::of((any_time(base), 0..8u8));
            (any_version(base), ours, feast, 0..8u8, any::<bool>())
        })
        .prop_map(|(new, ours, feast, form, is_feast)| {
            // A row of ours has its time beside it, unless Feast has written or deleted since.
            let own = ours.as_ref().filter(|(_, deleted)| !deleted && !is_feast);
            let time = match own {
                Some((ours, _)) => Some(timestamp(ours.event_time, form)),
                None => feast.map(|(time, form)| timestamp(time, form)),
            };
            Case { new, ours, time }
        })
}

fn encode(version: &RowVersion, is_deletion: bool) -> Vec<u8> {
    let mut out = Vec::new();
    Version::from(version).append(is_deletion, &mut out);
    out
}

fn expected(case: &Case) -> i64 {
    let ours = case.ours.as_ref().map(|(version, deleted)| encode(version, *deleted));
    match held(ours.as_deref(), case.time.as_deref()).unwrap() {
        Some(held) if held.version > case.new => LATE,
        Some(held) if held.version == case.new => SAME,
        _ => TAKEN,
    }
}

struct Rig {
    connection: redis::Connection,
    fields: Fields,
}

impl Rig {
    fn start(test: &str) -> Option<(Server, Self)> {
        let server = Server::start(test, &[])?;
        let fields = Fields::new(&counts_view("counts")).unwrap();
        let rig = Self { connection: server.client(), fields };
        Some((server, rig))
    }

    /// Makes the hashes what they are before the rows come.
    fn prepare(&mut self, cases: &[Case]) -> Vec<String> {
        let mut before = redis::pipe();
        let mut keys = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let key = format!("row:{number}");
            before.cmd("DEL").arg(&key);
            if let Some((version, deleted)) = &case.ours {
                let version = encode(version, *deleted);
                before.cmd("HSET").arg(&key).arg(&self.fields.version[..]).arg(version);
            }
            if let Some(time) = &case.time {
                before.cmd("HSET").arg(&key).arg(&self.fields.time[..]).arg(&time[..]);
            }
            keys.push(key);
        }
        before.exec(&mut self.connection).unwrap();
        keys
    }

    /// All rows in one call; `tell`: whether what was held is asked for, which is the long way.
    fn batch(&mut self, cases: &[Case], tell: bool) -> Vec<i64> {
        let rows = self.prepare(cases);
        let deletions = cases.iter().any(|case| case.ours.as_ref().is_some_and(|(_, deleted)| *deleted));
        let history = if deletions { "history:deletions" } else { "history" };
        redis::cmd("HSET")
            .arg("history:deletions")
            .arg("deletions")
            .arg(1)
            .exec(&mut self.connection)
            .unwrap();
        let keys: Vec<&str> =
            ["claim", "writers", history].into_iter().chain(rows.iter().map(String::as_str)).collect();
        let least =
            cases.iter().map(|case| case.new.event_time).min().unwrap_or(i64::MAX).div_euclid(1_000_000);
        let told: Vec<usize> = if tell { (1..=cases.len()).collect() } else { Vec::new() };
        let mut arguments: Vec<Vec<u8>> = vec![
            Vec::new(),
            b"host".to_vec(),
            self.fields.version.to_vec(),
            self.fields.time.to_vec(),
            b"0".to_vec(),
            b"0".to_vec(),
            least.to_string().into_bytes(),
            b"1".to_vec(),
            told.len().to_string().into_bytes(),
            self.fields.features[0].to_vec(),
        ];
        arguments.extend(told.iter().map(|row| row.to_string().into_bytes()));
        for case in cases {
            let mut time = Vec::new();
            append_timestamp(case.new.event_time, &mut time);
            arguments.extend([encode(&case.new, false), time, b"value".to_vec()]);
        }
        let call = scripts::BATCH.call(&keys, arguments);
        let answer = scripts::BATCH.run(&mut self.connection, &call).unwrap();
        let redis::Value::Array(answer) = answer else { panic!("{answer:?}") };
        let mut outcomes = vec![TAKEN; cases.len()];
        for part in answer[1..].chunks(4) {
            let [redis::Value::Int(row), redis::Value::Int(outcome), ..] = part else { panic!("{part:?}") };
            outcomes[usize::try_from(*row).unwrap() - 1] = *outcome;
        }
        outcomes
    }

    /// Each row in a call of its own, as on clusters.
    fn single(&mut self, cases: &[Case]) -> Vec<i64> {
        let keys = self.prepare(cases);
        let rows = keys.iter().zip(cases).map(|(key, case)| {
            let mut time = Vec::new();
            append_timestamp(case.new.event_time, &mut time);
            let arguments: Vec<Vec<u8>> = vec![
                self.fields.version.to_vec(),
                self.fields.time.to_vec(),
                b"0".to_vec(),
                b"1".to_vec(),
                self.fields.features[0].to_vec(),
                encode(&case.new, false),
                time,
                b"value".to_vec(),
            ];
            let call = scripts::SINGLE.call(&[key], arguments);
            match scripts::SINGLE.run(&mut self.connection, &call).unwrap() {
                redis::Value::Array(answer) => match answer[0] {
                    redis::Value::Int(outcome) => outcome,
                    _ => panic!("{answer:?}"),
                },
                answer => panic!("{answer:?}"),
            }
        });
        rows.collect()
    }

    /// The hash holds the row if it was taken, and else what it held.
    #[track_caller]
    fn check_rows(&mut self, cases: &[Case], outcomes: &[i64]) {
        let mut asked = redis::pipe();
        for number in 0..cases.len() {
            asked
                .cmd("HMGET")
                .arg(format!("row:{number}"))
                .arg(&self.fields.version[..])
                .arg(&self.fields.features[0][..]);
        }
        let rows: Vec<Vec<Option<Vec<u8>>>> = asked.query(&mut self.connection).unwrap();
        for ((case, outcome), held) in cases.iter().zip(outcomes).zip(rows) {
            let expected = if *outcome == TAKEN {
                [Some(encode(&case.new, false)), Some(b"value".to_vec())]
            } else {
                [case.ours.as_ref().map(|(version, deleted)| encode(version, *deleted)), None]
            };
            assert_eq!(held, expected, "{case:?}");
        }
    }

    #[track_caller]
    fn check(&mut self, cases: &[Case]) {
        let expected: Vec<i64> = cases.iter().map(expected).collect();
        for way in ["short", "long", "single"] {
            let found = match way {
                "short" => self.batch(cases, false),
                "long" => self.batch(cases, true),
                _ => self.single(cases),
            };
            for ((case, found), expected) in cases.iter().zip(&found).zip(&expected) {
                assert_eq!(found, expected, "{way}: {case:?}");
            }
            self.check_rows(cases, &found);
        }
    }
}

#[test]
fn scripts_decide_by_what_the_reader_sees() {
    let Some((_server, mut rig)) = Rig::start("scripts_decide_by_what_the_reader_sees") else { return };
    let mut runner = TestRunner::default();
    for call in 0..CALLS {
        let mut cases: Vec<Case> =
            (0..ROWS).map(|_| any_case().new_tree(&mut runner).unwrap().current()).collect();
        if call % 2 == 0 {
            // The short way is for views without deletions.
            cases.retain(|case| case.ours.as_ref().is_none_or(|(_, deleted)| !deleted));
        }
        // What the reader refuses is not held by anybody.
        let is_read = |case: &Case| held(None, case.time.as_deref()).is_ok();
        cases.retain(is_read);
        rig.check(&cases);
        // Alone, so that the least time of the call is the row's own.
        cases.iter().take(60).for_each(|case| rig.check(std::slice::from_ref(case)));
    }
}

/// The last microsecond of a second, where microseconds are beyond what Lua's numbers can say.
#[test]
fn times_are_compared_exactly_however_late_they_are() {
    let Some((_server, mut rig)) = Rig::start("times_are_compared_exactly") else { return };
    for second in [9_007_199_255, 9_100_000_001, 34_359_738_367, 576_460_752_303, 9_223_372_036_854] {
        for micros in [0, 1, 2, 499_999, 775_805, 775_806, 775_807] {
            let version = |partition: &str, apart: i64| RowVersion {
                event_time: second * 1_000_000 + micros + apart,
                partition: Partition::new(partition),
                position: Position::from_u64(1),
                generation: 1,
                row: 0,
            };
            let case = |new: RowVersion, ours: RowVersion| {
                let time = Some(timestamp(ours.event_time, 9));
                Case { new, ours: Some((ours, false)), time }
            };
            rig.check(&[case(version("1", 0), version("2", 0))]);
            rig.check(&[case(version("2", 0), version("1", 0))]);
            rig.check(&[case(version("1", 0), version("1", 0))]);
            rig.check(&[case(version("2", -1), version("1", 0))]);
            if second < 9_223_372_036_854 {
                let last = 999_999 - micros;
                rig.check(&[case(version("1", last), version("2", last))]);
                rig.check(&[case(version("1", last + 1), version("2", last))]);
            }
        }
    }
}

#[test]
fn what_is_no_version_is_told_and_stays() {
    let Some((_server, mut rig)) = Rig::start("what_is_no_version_is_told_and_stays") else { return };
    let new = RowVersion {
        event_time: 5,
        partition: Partition::new("0"),
        position: Position::from_u64(1),
        generation: 1,
        row: 0,
    };
    let cases = [Case { new, ours: None, time: None }];
    for damaged in
        [&b""[..], b"?", b"\x01\x80", b"\x02\x80\0\0\0\0\0\0\x050\0\0\0\0\0\0\0\0\x01\x08\0\0\0\x01\0\0\0\0"]
    {
        rig.prepare(&cases);
        let mut before = redis::cmd("HSET");
        before.arg("row:0").arg(&rig.fields.version[..]).arg(damaged).exec(&mut rig.connection).unwrap();
        // `prepare` within would mend it.
        let call = scripts::SINGLE.call(
            &["row:0"],
            vec![
                rig.fields.version.to_vec(),
                rig.fields.time.to_vec(),
                b"0".to_vec(),
                b"0".to_vec(),
                encode(&cases[0].new, false),
                Vec::new(),
            ],
        );
        let answer = scripts::SINGLE.run(&mut rig.connection, &call).unwrap();
        let redis::Value::Array(answer) = answer else { panic!("{answer:?}") };
        assert_eq!(answer[0], redis::Value::Int(DAMAGED), "{damaged:?}");
    }
}
