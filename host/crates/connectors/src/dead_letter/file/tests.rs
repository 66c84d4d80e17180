//! The lines of dead letters, and what a crash leaves of them.

use model::position::{Partition, Position};
use model::view::Digest;
use serde_json::{Value, json};

use super::*;

fn write(letters: &FileDeadLetters, payload: &[u8]) -> Result<(), Failure> {
    letters.write(&[DeadLetter {
        view: "v",
        source: "s",
        partition: &Partition::new("p"),
        position: Position::from_u64(7),
        code: "decode",
        reason: "not \"JSON\"",
        ingest_time: 1_654_562_168_832_793,
        digest: Digest([0xab; 32]),
        payload,
    }])
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_letter_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/dead.ndjson");
    let letters = FileDeadLetters::open(&path).unwrap();
    letters.write(&[]).unwrap();
    write(&letters, b"{\"a\n").unwrap();
    write(&letters, b"\xff\x00").unwrap();
    let lines = lines(&path);
    let expected = json!({
        "time": "2022-06-07T00:36:08.832793Z", "view": "v", "source": "s", "partition": "p",
        "position": "0000000000000007", "code": "decode", "reason": "not \"JSON\"",
        "digest": "abababababababab", "payload": "{\"a\n",
    });
    assert_eq!(lines[0], expected);
    assert_eq!((&lines[1]["payload"], &lines[1]["payload_base64"]), (&Value::Null, &json!("/wA=")));
}

#[test]
fn long_payloads_are_cut_between_characters() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dead.ndjson");
    let letters = FileDeadLetters::open(&path).unwrap();
    let text = format!("x{}", "ä".repeat(MAX_PAYLOAD_BYTES));
    write(&letters, text.as_bytes()).unwrap();
    write(&letters, &vec![0xff; MAX_PAYLOAD_BYTES + 1]).unwrap();
    write(&letters, "ä".repeat(MAX_PAYLOAD_BYTES / 2).as_bytes()).unwrap();
    let lines = lines(&path);
    assert_eq!(lines[0]["payload_bytes"], text.len());
    assert_eq!(lines[0]["payload"].as_str().unwrap().len(), MAX_PAYLOAD_BYTES - 1);
    assert_eq!(lines[1]["payload_bytes"], MAX_PAYLOAD_BYTES + 1);
    assert_eq!(lines[2].get("payload_bytes"), None);
}

#[test]
fn an_unfinished_line_is_cut_wherever_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dead.ndjson");
    let letters = FileDeadLetters::open(&path).unwrap();
    write(&letters, b"one").unwrap();
    let first = fs::metadata(&path).unwrap().len();
    write(&letters, b"two").unwrap();
    drop(letters);
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let letters = FileDeadLetters::open(&path).unwrap();
        let kept = if (length as u64) < first { 0 } else { first };
        assert_eq!(fs::metadata(&path).unwrap().len(), kept);
        write(&letters, b"three").unwrap();
        assert_eq!(lines(&path).len(), if kept == 0 { 1 } else { 2 });
    }
    // Longer than one read.
    fs::write(&path, [b"{}\n", vec![b'x'; 3 * TAIL_BYTES as usize].as_slice()].concat()).unwrap();
    FileDeadLetters::open(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"{}\n");
}

#[test]
fn two_hosts_cannot_share_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dead.ndjson");
    let _first = FileDeadLetters::open(&path).unwrap();
    let message = FileDeadLetters::open(&path).unwrap_err().to_string();
    assert!(message.ends_with("another host writes it; give each host a file of its own"), "{message}");
}
