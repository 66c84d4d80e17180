//! Scripts that run inside Redis: called by their hash, sent whole only where they are not known.
//!
//! A server forgets scripts when it restarts, when it takes over from another, and when somebody flushes them.

use redis::{Cmd, ConnectionLike, RedisResult, ToRedisArgs, Value};

use super::error::{self, Trouble};

/// A script and its hash. Make it once.
#[derive(Debug)]
pub struct Script {
    code: String,
    hash: String,
}

impl Script {
    /// Of this Lua code.
    pub fn new(code: impl Into<String>) -> Self {
        let code = code.into();
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    /// The SHA-1 by which servers know it, 40 hexadecimal digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// `EVALSHA` with these keys and arguments. All keys have to lie in one slot.
    pub fn call(&self, keys: &[impl AsRef<[u8]>], arguments: impl ToRedisArgs) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len());
        for key in keys {
            command.arg(key.as_ref());
        }
        command.arg(arguments);
        command
    }

    /// `SCRIPT LOAD`.
    pub fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(&self.code);
        command
    }

    /// Runs what [`Script::call`] made on a synchronous connection; teaches the server the script if it does not know it.
    pub fn run(&self, connection: &mut dyn ConnectionLike, call: &Cmd) -> RedisResult<Value> {
        match connection.req_command(call).and_then(error::told) {
            Err(refused) if error::trouble(&refused) == Trouble::NoScript => {
                connection.req_command(&self.load()).and_then(error::told)?;
                connection.req_command(call).and_then(error::told)
            }
            answer => answer,
        }
    }
}
