//! What every table has to do, and the tables that do it.

use std::sync::Arc;

use futures_util::future::join_all;
use model::error::Disposition;
use model::source::ViewProgress;
use tokio::runtime::{Handle, Runtime};

use super::*;
use crate::kinesis::position;
use crate::redis::Shared;
use crate::redis::testing::{Cluster, Server};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn token(owner: &str, counter: u64) -> Token {
    Token { owner: (!owner.is_empty()).then(|| owner.to_owned()), counter }
}

fn progress(through: i64) -> Progress {
    let through = Some(position::from_time(through));
    let views = [("clicks".to_owned(), ViewProgress { through, epoch: 3 })].into();
    Progress { starting: Some("49".to_owned()), group: through, views, ..Progress::default() }
}

fn put(shard: &str, expects: Option<Token>, to: Token, progress: Option<Progress>) -> Change {
    Change::Put { shard: shard.to_owned(), expects, token: to, progress }
}

fn want(shard: &str, owner: &str, wanted_by: &str) -> Change {
    Change::Want { shard: shard.to_owned(), owner: owner.to_owned(), wanted_by: wanted_by.to_owned() }
}

fn renounce(shard: &str, wanted_by: &str) -> Change {
    Change::Renounce { shard: shard.to_owned(), wanted_by: wanted_by.to_owned() }
}

fn remove(shard: &str, expects: Token) -> Change {
    Change::Remove { shard: shard.to_owned(), expects }
}

async fn check(table: &dyn LeaseTable, change: Change, met: bool) {
    let said = format!("{change:?}");
    assert_eq!(change_in(table, vec![change]).await, [met], "{said}");
}

/// Makes changes of the table that there is.
async fn change_in(table: &dyn LeaseTable, changes: Vec<Change>) -> Vec<bool> {
    let era = table.read().await.unwrap().era;
    table.change(&era, changes).await.unwrap()
}

async fn rows(table: &dyn LeaseTable) -> BTreeMap<String, Row> {
    table.read().await.unwrap().rows
}

async fn row(table: &dyn LeaseTable, shard: &str) -> Row {
    rows(table).await.remove(shard).unwrap()
}

/// What every table has to do. It is empty before and has some rows afterwards.
async fn contract(table: Arc<dyn LeaseTable>) {
    let one = &*table;
    assert!(rows(one).await.is_empty());
    assert_eq!(change_in(one, Vec::new()).await, [] as [bool; 0]);

    // A row is made by the first who does so, and changed by who knows it.
    let first = token("host a#1", 1);
    check(one, put("s-1", None, first.clone(), Some(progress(1))), true).await;
    check(one, put("s-1", None, token("b", 1), Some(progress(2))), false).await;
    check(one, put("s-1", Some(token("host a#1", 2)), token("b", 3), None), false).await;
    check(one, put("s-1", Some(token("host a#2", 1)), token("b", 3), None), false).await;
    check(one, put("s-2", Some(first.clone()), token("b", 3), None), false).await;
    let expected = Row { token: first.clone(), wanted_by: None, progress: progress(1) };
    assert_eq!(rows(one).await, [("s-1".to_owned(), expected)].into());

    // Progress stays unless it is said.
    let second = token("host a#1", 2);
    check(one, put("s-1", Some(first.clone()), second.clone(), None), true).await;
    assert_eq!(row(one, "s-1").await.progress, progress(1));
    let third = token("host a#1", 3);
    check(one, put("s-1", Some(second.clone()), third.clone(), Some(progress(5))), true).await;
    assert_eq!(row(one, "s-1").await.progress, progress(5));
    check(one, put("s-1", Some(second), token("host a#1", 4), None), false).await;

    // One may want it, and changes no token by that. Renewing and freeing leave the wish, a new owner fulfills it.
    check(one, want("s-1", "b", "c"), false).await;
    check(one, want("s-9", "b", "c"), false).await;
    check(one, want("s-1", "host a#1", "b"), true).await;
    check(one, want("s-1", "host a#1", "c"), false).await;
    assert_eq!(row(one, "s-1").await.token, third);
    let fourth = token("host a#1", 4);
    check(one, put("s-1", Some(third), fourth.clone(), None), true).await;
    assert_eq!(row(one, "s-1").await.wanted_by.as_deref(), Some("b"));
    check(one, renounce("s-1", "c"), false).await;
    check(one, renounce("s-1", "b"), true).await;
    check(one, renounce("s-1", "b"), false).await;
    check(one, want("s-1", "host a#1", "c"), true).await;
    let free = token("", 5);
    check(one, put("s-1", Some(fourth), free.clone(), None), true).await;
    let now = row(one, "s-1").await;
    assert_eq!((now.token, now.wanted_by.as_deref()), (free.clone(), Some("c")));
    check(one, want("s-1", "", "d"), false).await;
    check(one, put("s-1", Some(free), token("c", 6), None), true).await;
    let now = row(one, "s-1").await;
    assert_eq!((now.token, now.wanted_by), (token("c", 6), None));

    // Several at once: each for itself, in their order.
    let several = vec![
        put("s-2", None, token("b", 1), None),
        put("s-2", None, token("c", 1), None),
        put("s-2", Some(token("b", 1)), token("b", 2), Some(progress(7))),
        remove("s-1", token("c", 5)),
    ];
    assert_eq!(change_in(one, several).await, [true, false, true, false]);

    // What was removed is as if it had never been.
    check(one, want("s-1", "c", "d"), true).await;
    check(one, remove("s-1", token("c", 6)), true).await;
    check(one, remove("s-1", token("c", 6)), false).await;
    check(one, put("s-1", None, token("a", 1), None), true).await;
    assert_eq!(row(one, "s-1").await, Row { token: token("a", 1), ..Row::default() });

    // Of many at the same moment one is first.
    let race = (0..20).map(|racer| {
        let table = Arc::clone(&table);
        let change = put("s-3", None, token(&format!("racer {racer}"), 1), Some(progress(racer)));
        async move { change_in(&*table, vec![change]).await[0] }
    });
    let met = join_all(race).await;
    assert_eq!(met.iter().filter(|met| **met).count(), 1);
    let winner = met.iter().position(|met| *met).unwrap();
    assert_eq!(row(one, "s-3").await.token.owner, Some(format!("racer {winner}")));
}

#[test]
fn a_file_keeps_the_contract_and_its_progress() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("not made yet");
    let table = Arc::new(FileTable::open(&directory, "clicks").unwrap());
    assert!(!table.is_shared());
    runtime.block_on(contract(Arc::clone(&table) as _));
    drop(table);
    let again = FileTable::open(&directory, "clicks").unwrap();
    let read = runtime.block_on(rows(&again));
    assert_eq!(read.keys().collect::<Vec<_>>(), ["s-1", "s-2", "s-3"]);
    assert_eq!(read["s-2"], Row { progress: progress(7), ..Row::default() });
    assert!(runtime.block_on(rows(&FileTable::open(&directory, "other").unwrap())).is_empty());
    let left: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["leases-clicks.json"]);
}

#[track_caller]
fn check_damaged(content: &str, part: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leases-clicks.json");
    std::fs::write(&path, content).unwrap();
    let failure = FileTable::open(folder.path(), "clicks").unwrap_err();
    let text = failure.to_string();
    assert_eq!(failure.disposition, Disposition::Stop, "{text}");
    assert!(text.contains(part) && text.contains(path.to_str().unwrap()), "{text}");
}

#[test]
fn a_damaged_file_stops_with_its_name() {
    check_damaged("", "EOF");
    check_damaged(r#"{"version":1,"shards":{"s-1":{"views":{}"#, "EOF");
    check_damaged(r#"{"version":2,"shards":{}}"#, "version is 2");
    check_damaged(r#"{"version":1,"shards":{"s-1":{"views":{},"group":"00"}}}"#, "shard `s-1`: `00`");
}

#[test]
fn a_file_that_cannot_be_written_changes_nothing() {
    let runtime = runtime();
    let folder = tempfile::tempdir().unwrap();
    let table = FileTable::open(folder.path(), "clicks").unwrap();
    let change = || vec![put("s-1", None, token("a", 1), Some(progress(1)))];
    let barrier = folder.path().join("leases-clicks.json.new");
    std::fs::create_dir(&barrier).unwrap();
    let failure = runtime.block_on(table.change("", change())).unwrap_err();
    assert_eq!(failure.disposition, Disposition::Retry);
    assert!(failure.to_string().contains("leases-clicks.json"), "{failure}");
    assert!(runtime.block_on(rows(&table)).is_empty());
    std::fs::remove_dir(&barrier).unwrap();
    assert_eq!(runtime.block_on(change_in(&table, change())), [true]);
}

/// The rows of source `clicks` of a project in this server.
pub(in super::super) fn redis_table(server: &Server, project: &str, runtime: &Handle) -> RedisTable {
    let shared = Shared::for_tests(runtime.clone());
    RedisTable::open(&server.connection("cache"), &shared, project, "clicks").unwrap()
}

#[test]
fn redis_keeps_the_contract() {
    let Some(server) = Server::start("redis_keeps_the_contract", &[]) else { return };
    let runtime = runtime();
    let table = Arc::new(redis_table(&server, "shop", runtime.handle()));
    assert!(table.is_shared());
    runtime.block_on(contract(Arc::clone(&table) as _));
    assert_eq!(server.ask::<Vec<String>>(&["KEYS", "*"]), ["millrace:{shop:clicks}:leases"]);
    // The script is sent again when the server has forgotten it.
    server.ask::<()>(&["SCRIPT", "FLUSH"]);
    runtime.block_on(check(&*table, put("s-5", None, token("a", 1), None), true));
}

#[test]
fn a_table_has_another_name_once_it_may_have_lost_something() {
    let Some(server) = Server::start("a_table_has_another_name", &[]) else { return };
    let runtime = runtime();
    let (one, other) =
        (redis_table(&server, "shop", runtime.handle()), redis_table(&server, "shop", runtime.handle()));
    let era = |table: &RedisTable| runtime.block_on(table.read()).unwrap().era;
    let first = era(&one);
    assert_eq!((era(&one), era(&other)), (first.clone(), first.clone()));
    runtime.block_on(check(&one, put("s-1", None, token("a", 1), None), true));
    assert_eq!(era(&other), first);
    // Emptied: what was decided before is not done, whoever has looked since.
    server.ask::<()>(&["FLUSHALL"]);
    let change = |era: &str| {
        let changes = vec![put("s-1", None, token("b", 1), None)];
        runtime.block_on(other.change(era, changes)).unwrap()
    };
    assert_eq!(change(&first), [false]);
    let second = era(&one);
    assert_ne!(second, first);
    assert_eq!((change(&first), change(&second)), (vec![false], vec![true]));
    // The same rows in another process: they may be those of a while ago.
    let named: String = server.ask(&["HGET", "millrace:{shop:clicks}:leases", "/table"]);
    server.kill();
    server.start_again();
    server.ask::<()>(&["HSET", "millrace:{shop:clicks}:leases", "/table", &named]);
    assert_ne!(era(&one), second);
    assert!(era(&one).ends_with(&named));
}

#[test]
fn a_redis_that_does_not_say_who_it_is_is_known_by_its_table() {
    let Some(server) = Server::start("a_redis_that_does_not_say_who_it_is", &[]) else { return };
    let runtime = runtime();
    server.ask::<()>(&["ACL", "SETUSER", "default", "-info"]);
    let table = redis_table(&server, "shop", runtime.handle());
    let era = runtime.block_on(table.read()).unwrap().era;
    assert!(era.starts_with('/') && 1 < era.len(), "{era}");
    runtime.block_on(check(&table, put("s-1", None, token("a", 1), None), true));
}

#[test]
fn a_redis_cluster_keeps_the_contract() {
    let Some(cluster) = Cluster::start("a_redis_cluster_keeps_the_contract") else { return };
    let runtime = runtime();
    let shared = Shared::for_tests(runtime.handle().clone());
    let table = RedisTable::open(&cluster.connection("cache"), &shared, "shop", "clicks").unwrap();
    runtime.block_on(contract(Arc::new(table)));
}

#[track_caller]
fn check_refused(commands: &[&[&str]], part: &str) {
    let Some(server) = Server::start("redis_rows_that_cannot_be_read", &[]) else { return };
    for command in commands {
        server.ask::<()>(command);
    }
    let runtime = runtime();
    let table = redis_table(&server, "shop", runtime.handle());
    let failure = runtime.block_on(table.read()).unwrap_err();
    let text = failure.to_string();
    assert_eq!(failure.disposition, Disposition::Stop, "{text}");
    assert!(text.contains(part) && text.contains("`clicks`") && text.contains("`cache`"), "{text}");
}

#[test]
fn redis_rows_that_cannot_be_read_stop_with_words() {
    const KEY: &str = "millrace:{shop:clicks}:leases";
    check_refused(&[&["SET", KEY, "x"]], "holds something else");
    check_refused(&[&["HSET", KEY, "/format", "2"]], "layout 2");
    check_refused(&[&["HSET", KEY, "s-1", "mine"]], "`mine` is no lease of `s-1`");
    check_refused(&[&["HSET", KEY, "s-1", "1 a", "s-1/progress", "{"]], "the progress of `s-1` is damaged");
}
