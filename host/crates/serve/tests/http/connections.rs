//! What happens below requests: binding, keep-alive, pipelining, slow clients, stopping.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serve::{BindError, ServeSettings, Server};

use crate::harness::Host;

/// Far beyond what anything here takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

fn connect(host: &Host) -> TcpStream {
    let stream = TcpStream::connect(host.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until the text ends in `end`.
#[track_caller]
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(end.as_bytes()) {
        match stream.read(&mut byte).unwrap() {
            0 => panic!("the connection ended after {:?}", String::from_utf8_lossy(&text)),
            _ => text.push(byte[0]),
        }
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_port_in_use_names_address_and_option() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let error = Server::bind(address).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }));
    assert_eq!(
        error.to_string(),
        format!(
            "failed to listen on `{address}`: the port is in use by another process; stop that process, or choose \
             another address with `--listen` (port 0 takes any free one)"
        )
    );
    let error = Server::bind("6566").unwrap_err();
    assert!(matches!(error, BindError::Address { .. }), "{error}");
    assert!(error.to_string().contains("such as `--listen 127.0.0.1:6566`"));
}

#[test]
fn requests_may_be_pipelined() {
    let host = Host::start();
    let mut stream = connect(&host);
    let body = r#"{"entities":[{"driver_id":1001}],"features":["city"]}"#;
    let read = format!(
        "POST /v1/features/driver_stats HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let live = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(format!("{read}{live}{read}").as_bytes()).unwrap();
    assert!(read_until(&mut stream, "\"city\":\"zurich\"}}]}").starts_with("HTTP/1.1 200 OK"));
    assert!(read_until(&mut stream, "{\"status\":\"live\"}").starts_with("HTTP/1.1 200 OK"));
    assert!(read_until(&mut stream, "\"city\":\"zurich\"}}]}").starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn bodies_may_come_in_chunks() {
    let host = Host::start();
    let mut stream = connect(&host);
    stream
        .write_all(b"POST /v1/push/lines HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    for part in ["fir", "st\nsec", "ond"] {
        stream.write_all(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    read_until(&mut stream, "{\"accepted\":2,\"rejected\":[]}");
    assert_eq!(*host.lines.taken.lock().unwrap(), ["first", "second"]);
}

#[test]
fn a_chunked_body_is_bounded_too() {
    let host = Host::start_with(ServeSettings { max_body_bytes: 8, ..ServeSettings::default() });
    let mut stream = connect(&host);
    stream
        .write_all(b"POST /v1/push/lines HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    stream.write_all(b"6\r\nfirst\n\r\n6\r\nsecond\r\n").unwrap();
    assert!(read_until(&mut stream, "in host.yaml\"}}").starts_with("HTTP/1.1 413 Payload Too Large"));
}

#[test]
fn slow_bodies_and_slow_heads_are_ended() {
    let settings = ServeSettings {
        body_timeout: Duration::from_millis(20),
        header_timeout: Duration::from_millis(20),
        ..ServeSettings::default()
    };
    let host = Host::start_with(settings);
    let mut stream = connect(&host);
    stream.write_all(b"POST /v1/push/lines HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc").unwrap();
    assert!(read_until(&mut stream, "\r\n").starts_with("HTTP/1.1 408"));
    let mut stream = connect(&host);
    stream.write_all(b"GET /livez HTT").unwrap();
    // Whatever is said, the connection ends.
    stream.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn further_connections_wait_for_room() {
    let host = Host::start_with(ServeSettings { max_connections: 1, ..ServeSettings::default() });
    let mut first = connect(&host);
    first.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    read_until(&mut first, "{\"status\":\"live\"}");
    let mut second = connect(&host);
    second.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    second.set_nonblocking(true).unwrap();
    assert!(second.read(&mut [0]).is_err(), "answered although the only place is taken");
    drop(first);
    second.set_nonblocking(false).unwrap();
    read_until(&mut second, "{\"status\":\"live\"}");
}

#[test]
fn open_requests_finish_when_the_server_stops() {
    let mut host = Host::start();
    let mut idle = connect(&host);
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    read_until(&mut idle, "{\"status\":\"live\"}");
    let mut open = connect(&host);
    open.write_all(
        b"POST /v1/push/lines HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    )
    .unwrap();
    read_until(&mut open, "HTTP/1.1 100 Continue\r\n\r\n");
    host.begin_stop();
    // The idle connection ends at once, the open request is still answered.
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    open.write_all(b"last").unwrap();
    read_until(&mut open, "{\"accepted\":1,\"rejected\":[]}");
    host.stopped();
    assert!(TcpStream::connect(host.address).is_err());
    assert_eq!(*host.lines.taken.lock().unwrap(), ["last"]);
}
