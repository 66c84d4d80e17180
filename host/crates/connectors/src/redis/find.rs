//! Finds out who is master of what, by asking all nodes that are known at the same time.
//!
//! Nodes may disagree while another takes over. In a cluster the one with the newest epoch is believed; among single
//! servers the master with the most replicas; where sentinels watch, they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::error::Failure;
use redis::{Pipeline, RedisError, RedisResult, Value};

use super::error::{self, Trouble};
use super::layout::{self, Held, Role};
use super::link::{Lines, Link};

/// How long other nodes have to answer once one has.
const GRACE: Duration = Duration::from_millis(250);

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// In single mode one, without slots.
    pub(super) masters: Vec<Held>,
    /// Nodes of a cluster that are no masters, for the next time.
    pub(super) replicas: Vec<String>,
}

/// Why nothing was found.
#[derive(Debug, Clone)]
pub(super) enum NotFound {
    /// Nobody answered, or not as they should.
    Redis(Arc<str>, RedisError),
    /// All answers together name no master.
    NoMaster(String),
}

impl NotFound {
    pub(super) fn into_failure(self, connection: &str) -> Failure {
        match self {
            Self::Redis(address, error) => {
                error::failure_at("find the master", connection, Some(&address), error)
            }
            Self::NoMaster(why) => {
                Failure::retry(format!("find the master in Redis at connection `{connection}`: {why}"))
            }
        }
    }

    /// One line for logs and status.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Redis(address, error) => format!("{address}: {}", error::words(error)),
            Self::NoMaster(why) => why.clone(),
        }
    }
}

/// Asks the nodes of a cluster.
pub(super) async fn cluster(lines: &Arc<Lines>, links: Vec<Arc<Link>>) -> Result<Found, NotFound> {
    let mut commands = Pipeline::with_capacity(2);
    commands.cmd("CLUSTER").arg("SLOTS").cmd("CLUSTER").arg("INFO");
    let mut best: Option<((bool, u64, usize), Found)> = None;
    let mut refused = None;
    for (link, answers) in ask(lines, links, &commands).await {
        let read = answers.and_then(|answers| told(&answers[0]).map(|()| answers));
        let answers = match read {
            Ok(answers) => answers,
            Err(error) => {
                refused = worse(refused, &link, error);
                continue;
            }
        };
        let Some((masters, replicas)) = layout::slots(&answers[0], &link.address) else { continue };
        let slots = masters.iter().flat_map(|held| &held.slots).map(ExactSizeIterator::len).sum();
        let epoch = layout::info(&answers[1], "cluster_current_epoch").and_then(|epoch| epoch.parse().ok());
        let is_ok = layout::info(&answers[1], "cluster_state") == Some("ok");
        let rank = (is_ok, epoch.unwrap_or(0), slots);
        if slots > 0 && best.as_ref().is_none_or(|(other, _)| *other < rank) {
            best = Some((rank, Found { masters, replicas }));
        }
    }
    match (best, refused) {
        (Some((_, found)), _) => Ok(found),
        (None, Some((address, error))) => Err(NotFound::Redis(address, error)),
        (None, None) => Err(NotFound::NoMaster("no node knows who holds the slots".into())),
    }
}

/// Asks single servers, one of which should be a master. With `in_order` the first master counts, and otherwise the one
/// with the most replicas.
pub(super) async fn single(
    lines: &Arc<Lines>,
    links: Vec<Arc<Link>>,
    link_to: impl Fn(&str) -> Arc<Link>,
    in_order: bool,
) -> Result<Found, NotFound> {
    let (mut masters, others, refused) = roles(lines, links.clone()).await;
    if masters.is_empty() {
        // A replica knows its master, which may stand in no list.
        let unknown: Vec<_> = others
            .iter()
            .filter(|address| links.iter().all(|link| *link.address != ***address))
            .map(|address| link_to(address))
            .collect();
        if !unknown.is_empty() {
            masters = roles(lines, unknown).await.0;
        }
    }
    let place =
        |address: &str| links.iter().position(|link| &*link.address == address).unwrap_or(links.len());
    masters.sort_by_key(|(address, replicas, offset)| {
        let rank = if in_order { (0, 0) } else { (*replicas, *offset) };
        (std::cmp::Reverse(rank), place(address))
    });
    if masters.len() > 1 && !in_order {
        let all: Vec<_> = masters.iter().map(|(address, ..)| &**address).collect();
        tracing::warn!(
            addresses = all.join(","),
            "several Redis servers say that they are master; taking the first"
        );
    }
    match (masters.into_iter().next(), refused) {
        (Some((address, ..)), _) => {
            let address = address.to_string();
            Ok(Found {
                masters: vec![Held { id: String::new(), address, slots: Vec::new() }],
                replicas: Vec::new(),
            })
        }
        (None, Some((address, error))) => Err(NotFound::Redis(address, error)),
        (None, None) => {
            Err(NotFound::NoMaster(format!("{} are replicas, and none is master", addresses(&links))))
        }
    }
}

/// Asks sentinels where the master of a service is, and that one whether it knows.
pub(super) async fn sentinel(
    lines: &Arc<Lines>,
    sentinels: Vec<(Arc<Link>, Arc<Link>)>,
    service: &str,
    link_to: impl Fn(&str) -> Arc<Link>,
) -> Result<Found, NotFound> {
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    let (open, closed): (Vec<_>, Vec<_>) = sentinels.into_iter().unzip();
    let mut answers = ask(lines, open, &commands).await;
    let wants_login = |(_, answer): &(Arc<Link>, RedisResult<Vec<Value>>)| match answer {
        Ok(values) => told(&values[0]).is_err_and(|error| error::trouble(&error) == Trouble::Login),
        Err(_) => false,
    };
    if !answers.is_empty() && answers.iter().all(wants_login) {
        answers = ask(lines, closed, &commands).await;
    }
    let mut votes: Vec<(String, usize)> = Vec::new();
    let (mut refused, mut knows_not) = (None, false);
    for (link, answer) in answers {
        match answer.and_then(|values| told(&values[0]).map(|()| layout::named(&values[0]))) {
            Ok(Some(address)) => match votes.iter_mut().find(|(other, _)| *other == address) {
                Some((_, count)) => *count += 1,
                None => votes.push((address, 1)),
            },
            Ok(None) => knows_not = true,
            Err(error) => refused = worse(refused, &link, error),
        }
    }
    votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if !votes.is_empty() {
        let links = votes.iter().map(|(address, _)| link_to(address)).collect();
        return single(lines, links, link_to, true).await;
    }
    match refused {
        _ if knows_not => Err(NotFound::NoMaster(format!("the sentinels know no master `{service}`"))),
        Some((address, error)) => Err(NotFound::Redis(address, error)),
        None => Err(NotFound::NoMaster("no sentinel answered".into())),
    }
}

type Masters = Vec<(Arc<str>, usize, i64)>;

/// Masters with replicas and offset, the masters that replicas name, and what went wrong.
async fn roles(
    lines: &Arc<Lines>,
    links: Vec<Arc<Link>>,
) -> (Masters, Vec<String>, Option<(Arc<str>, RedisError)>) {
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("ROLE");
    let (mut masters, mut others, mut refused) = (Vec::new(), Vec::new(), None);
    let is_only = links.len() == 1;
    for (link, answers) in ask(lines, links, &commands).await {
        let address = Arc::clone(&link.address);
        match answers.and_then(|answers| told(&answers[0]).map(|()| layout::role(&answers[0]))) {
            Ok(Some(Role::Master { replicas, offset })) => masters.push((address, replicas, offset)),
            Ok(Some(Role::Replica { master })) => others.push(master),
            Ok(Some(Role::Sentinel) | None) => {}
            // We may not ask; where there is no choice it is the master.
            Err(error) if is_only && error::trouble(&error) == Trouble::Rights => {
                masters.push((address, 0, 0))
            }
            Err(error) => refused = worse(refused, &link, error),
        }
    }
    (masters, others, refused)
}

/// Asks all, and waits for all, but not for long once one has answered.
async fn ask(
    lines: &Arc<Lines>,
    links: Vec<Arc<Link>>,
    commands: &Pipeline,
) -> Vec<(Arc<Link>, RedisResult<Vec<Value>>)> {
    let connection = &lines.access.connection;
    let mut deadline = Instant::now() + connection.connect_timeout.max(connection.response_timeout);
    let first = links.first().cloned();
    let mut asked: FuturesUnordered<_> = links
        .into_iter()
        .map(|link| async move {
            let answers = link.send(lines, commands, deadline).await;
            (link, answers.map_err(super::link::Unanswered::into_error))
        })
        .collect();
    let mut answers = Vec::new();
    while let Some(Some((link, answer))) = lines.until(deadline, asked.next()).await {
        if answer.is_ok() {
            deadline = deadline.min(Instant::now() + GRACE);
        }
        answers.push((link, answer));
    }
    if answers.is_empty() {
        answers.extend(first.map(|link| (link, Err(error::timeout()))));
    }
    answers
}

/// Of two refusals the one that says more: silence says least.
fn worse(
    one: Option<(Arc<str>, RedisError)>,
    link: &Link,
    other: RedisError,
) -> Option<(Arc<str>, RedisError)> {
    match one {
        Some((address, one)) if !error::trouble(&one).is_of_connection() => Some((address, one)),
        _ => Some((Arc::clone(&link.address), other)),
    }
}

fn told(answer: &Value) -> RedisResult<()> {
    match answer {
        Value::ServerError(refused) => Err(refused.clone().into()),
        _ => Ok(()),
    }
}

fn addresses(links: &[Arc<Link>]) -> String {
    links.iter().map(|link| format!("`{}`", link.address)).collect::<Vec<_>>().join(", ")
}
