//! Rows in Redis: one hash for each source, and one script that makes conditional changes.
//!
//! The key is `millrace:{<project>:<source>}:leases`. A shard has up to three fields: `<shard>` with its token, `<counter>
//! <owner>` or `<counter> ` if it is free; `<shard>/wanted` with who wants it; and `<shard>/progress` as
//! [`Progress`] writes it. The field `/format` names this layout; shards have no slash in their names.
//!
//! The table is named by the field `/table`, a number by chance that whoever first looks at an empty one writes there, and
//! by the `run_id` of the process that answers: that is another one once Redis was restarted or a replica has taken over.
//! Where `INFO` is not allowed or not known, the field has to do.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use model::error::Failure;
use redis::Value;

use super::{Change, Content, LeaseTable, Row, Token};
use crate::kinesis::lease::progress::Progress;
use crate::redis::{Connection, Keyed, Nodes, Script, Shared};

/// The layout.
const FORMAT: &str = "1";
const FORMAT_FIELD: &str = "/format";
const WANTED: &str = "/wanted";
const PROGRESS: &str = "/progress";

/// Names the table, if nobody has done so, by the only argument. Answers its name and all its fields.
const READ: &str = r"
local key = KEYS[1]
local format = redis.call('HGET', key, '/format')
if not format or format == '1' then
  redis.call('HSETNX', key, '/table', ARGV[1])
end
return {era_of(key), redis.call('HGETALL', key)}
";

/// The name of a table.
const ERA: &str = r"
local function era_of(key)
  local info = redis.pcall('INFO', 'server')
  local process = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
  return process .. '/' .. (redis.call('HGET', key, '/table') or '')
end
";

/// Makes changes, if the table has the name that the first argument says, each of five arguments: what, shard, and three more. Answers 1 for each whose condition was met, else 0.
/// Texts are compared for equality only, which is bytewise.
const CHANGE: &str = r"
local key = KEYS[1]
local met = {}
local function owner_of(token)
  return token and string.match(token, '^%d+ (.*)$') or ''
end
local is_same = era_of(key) == ARGV[1]
for i = 2, #ARGV, 5 do
  local what, shard, a, b, c = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local token = redis.call('HGET', key, shard)
  local wanted = shard .. '/wanted'
  local done = 0
  if not is_same then
    done = 0
  elseif what == 'put' then
    if (token or '') == a then
      redis.call('HSET', key, shard, b, '/format', '1')
      if c ~= '' then redis.call('HSET', key, shard .. '/progress', c) end
      local owner = owner_of(b)
      if owner ~= '' and owner ~= owner_of(token) then redis.call('HDEL', key, wanted) end
      done = 1
    end
  elseif what == 'want' then
    if a ~= '' and owner_of(token) == a and redis.call('HSETNX', key, wanted, b) == 1 then done = 1 end
  elseif what == 'renounce' then
    if redis.call('HGET', key, wanted) == a then
      redis.call('HDEL', key, wanted)
      done = 1
    end
  elseif what == 'remove' then
    if token == a then
      redis.call('HDEL', key, shard, wanted, shard .. '/progress')
      done = 1
    end
  end
  met[#met + 1] = done
end
return met
";

/// Rows in Redis.
#[derive(Debug)]
pub(in super::super) struct RedisTable {
    nodes: Arc<Nodes>,
    reading: Arc<Script>,
    changing: Arc<Script>,
    key: String,
    source: String,
}

impl RedisTable {
    /// The rows of a source of a project. Waits for nobody; fails if the connection's settings are wrong.
    pub(in super::super) fn open(
        connection: &Connection,
        shared: &Shared,
        project: &str,
        source: &str,
    ) -> Result<Self, Failure> {
        Ok(Self {
            nodes: Nodes::open(connection, shared)?,
            reading: Arc::new(Script::new(format!("{ERA}{READ}"))),
            changing: Arc::new(Script::new(format!("{ERA}{CHANGE}"))),
            key: format!("millrace:{{{project}:{source}}}:leases"),
            source: source.to_owned(),
        })
    }

    async fn ask(&self, doing: &str, command: Keyed) -> Result<Value, Failure> {
        let failed = |failure: Failure| Failure {
            disposition: failure.disposition,
            message: format!("{doing} of source `{}`", self.source),
            source: Some(Box::new(failure)),
        };
        let answer = self.nodes.run(vec![command]).await.map_err(failed)?.pop();
        answer.expect("one command has one answer").map_err(failed)
    }

    fn odd(&self, what: &str) -> Failure {
        Failure::stop(format!(
            "read the leases of source `{}` in Redis at connection `{}`: {what} in key `{}`; see who else writes there",
            self.source,
            self.nodes.connection().name,
            self.key
        ))
    }

    fn content(&self, answer: Value) -> Result<Content, Failure> {
        let (era, fields): (String, BTreeMap<String, String>) =
            redis::from_redis_value(answer).map_err(|error| self.odd("no texts").caused_by(error))?;
        if let Some(format) = fields.get(FORMAT_FIELD)
            && format != FORMAT
        {
            return Err(Failure::stop(format!(
                "read the leases of source `{}` in Redis at connection `{}`: they have layout {format}, and this host \
                 knows {FORMAT}; hosts of different versions share a source only if they say so in their notes",
                self.source,
                self.nodes.connection().name,
            )));
        }
        let mut rows = BTreeMap::new();
        for (shard, token) in &fields {
            if shard.contains('/') {
                continue;
            }
            let token =
                token_of(token).ok_or_else(|| self.odd(&format!("`{token}` is no lease of `{shard}`")))?;
            let wanted_by = fields.get(&format!("{shard}{WANTED}")).cloned();
            let progress = match fields.get(&format!("{shard}{PROGRESS}")) {
                Some(text) => Progress::parse(text)
                    .map_err(|why| self.odd(&format!("the progress of `{shard}` is damaged ({why})")))?,
                None => Progress::default(),
            };
            rows.insert(shard.clone(), Row { token, wanted_by, progress });
        }
        Ok(Content { era, rows })
    }
}

impl LeaseTable for RedisTable {
    fn is_shared(&self) -> bool {
        true
    }

    fn read(&self) -> BoxFuture<'_, Result<Content, Failure>> {
        async move {
            // An empty table has another name than the one that this host gave before.
            let name = format!("{:016x}", RandomState::new().hash_one(&self.key));
            let command = Keyed::script(&self.reading, &[&self.key], vec![name]);
            self.content(self.ask("read the leases", command).await?)
        }
        .boxed()
    }

    fn change<'a>(&'a self, era: &'a str, changes: Vec<Change>) -> BoxFuture<'a, Result<Vec<bool>, Failure>> {
        async move {
            let count = changes.len();
            let changes = changes.into_iter().flat_map(arguments);
            let arguments: Vec<String> = std::iter::once(era.to_owned()).chain(changes).collect();
            let command = Keyed::script(&self.changing, &[&self.key], arguments);
            let answer = self.ask("write the leases", command).await?;
            let met: Vec<i64> =
                redis::from_redis_value(answer).map_err(|error| self.odd("no numbers").caused_by(error))?;
            if met.len() != count {
                return Err(self.odd("fewer answers than questions"));
            }
            Ok(met.into_iter().map(|met| met == 1).collect())
        }
        .boxed()
    }
}

fn arguments(change: Change) -> [String; 5] {
    let none = String::new;
    match change {
        Change::Put { shard, expects, token, progress } => {
            let expects = expects.as_ref().map_or_else(none, text_of);
            let progress = progress.as_ref().map_or_else(none, Progress::encode);
            ["put".to_owned(), shard, expects, text_of(&token), progress]
        }
        Change::Want { shard, owner, wanted_by } => ["want".to_owned(), shard, owner, wanted_by, none()],
        Change::Renounce { shard, wanted_by } => ["renounce".to_owned(), shard, wanted_by, none(), none()],
        Change::Remove { shard, expects } => ["remove".to_owned(), shard, text_of(&expects), none(), none()],
    }
}

fn text_of(token: &Token) -> String {
    format!("{} {}", token.counter, token.owner.as_deref().unwrap_or_default())
}

fn token_of(text: &str) -> Option<Token> {
    let (counter, owner) = text.split_once(' ')?;
    let owner = (!owner.is_empty()).then(|| owner.to_owned());
    Some(Token { owner, counter: counter.parse().ok()? })
}
