//! A connection to the master for a thread that writes and may block.

use std::time::Duration;

use model::error::Failure;
use redis::{ConnectionLike, Pipeline, RedisError, RedisResult};

use super::access::As;
use super::error::{self, Trouble};
use super::identity::Identity;
use super::layout::{self, Role};
use super::nodes::{Core, Nodes, WHOLE};

/// A connection to the present master, of the caller alone.
pub struct Master {
    /// The connection: without delay for small packets, with limits on reading and writing.
    pub connection: redis::Connection,
    /// Who it is.
    pub identity: Identity,
}

impl Nodes {
    /// Connects to the master as it is now, which is looked for if it is not where it was. Blocks, until the limits of
    /// connecting and answering are over; not to be called on the runtime's threads.
    ///
    /// In a cluster there is no one master; this then fails with stop.
    pub fn master(&self) -> Result<Master, Failure> {
        let core = &self.core;
        let name = &core.connection().name;
        if core.is_cluster() {
            return Err(Failure::stop(format!(
                "find one master in Redis at connection `{name}`: it is a cluster"
            )));
        }
        let seen = core.looks();
        if let Some(topology) = core.topology()
            && let Some(known) = topology.masters.first()
        {
            match self.connect(&known.link.address) {
                Ok(master) => return Ok(master),
                // Another may be master now; a wrong password is wrong there too, but costs only a look.
                Err(error) => {
                    tracing::debug!(connection = name, address = &*known.link.address, %error, "looking for the master")
                }
            }
        }
        let topology = core.look_blocking(seen).map_err(|why| core.give_up(why))?;
        let Some(found) = topology.masters.first() else {
            return Err(Failure::retry(format!(
                "find the master in Redis at connection `{name}`: there is none"
            )));
        };
        let address = &found.link.address;
        self.connect(address).map_err(|error| {
            core.trouble_at(address, &error);
            error::failure_at("connect to the master", name, Some(address), error)
        })
    }

    /// Connects to an address, which has to be a master's.
    fn connect(&self, address: &str) -> RedisResult<Master> {
        let mut connection = self.core.connect(address)?;
        let mut questions = Pipeline::new();
        for question in Identity::questions() {
            questions.add_command(question);
        }
        let answers = connection.req_packed_commands(&questions.get_packed_pipeline(), 0, questions.len())?;
        let identity = Identity::of(address, &answers)?;
        self.core.presence.fine(address);
        self.core.presence.fine(WHOLE);
        Ok(Master { connection, identity })
    }
}

impl Core {
    /// A synchronous connection with our limits.
    pub(super) fn connect(&self, address: &str) -> RedisResult<redis::Connection> {
        let configured = self.connection();
        let client = self.lines.access.client(address, As::User)?;
        let connection = client.get_connection_with_timeout(configured.connect_timeout)?;
        // Zero would mean no limit at all.
        let limit = Some(configured.response_timeout.max(Duration::from_millis(1)));
        connection.set_read_timeout(limit)?;
        connection.set_write_timeout(limit)?;
        Ok(connection)
    }
}

/// Fails if the server behind a connection is a replica by now. One that is told to follow another keeps its connections, and
/// answers reads as if nothing had happened, with rows that may be old.
pub fn check_leads(connection: &mut redis::Connection) -> RedisResult<()> {
    match connection.req_command(&redis::cmd("ROLE")).and_then(error::told) {
        Ok(answer) if matches!(layout::role(&answer), Some(Role::Replica { .. })) => Err(error::read_only()),
        Ok(_) => Ok(()),
        // Who may not ask finds out by writing.
        Err(refused) if error::trouble(&refused) == Trouble::Rights => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a synchronous connection is of no more use after this error, so that [`Nodes::master`] is to be asked again.
pub fn is_lost(error: &RedisError) -> bool {
    let trouble = error::trouble(error);
    trouble.is_of_connection() || matches!(trouble, Trouble::ReadOnly | Trouble::MasterDown | Trouble::Login)
}
