//! What the host gives to everything that talks to Kinesis: the runtime, metrics, and what is known of each connection.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use model::error::Failure;
use tokio::runtime::Handle;

use super::client;
use super::{Connection, KinesisMetrics};
use crate::contact::{Contact, ContactHook};

/// A client that is younger is not made anew: whoever asks for that found the old one's credentials refused.
const MIN_CLIENT_AGE: Duration = Duration::from_secs(5);

/// What all Kinesis clients of a host share. Cheap to clone; a host makes one.
#[derive(Clone)]
pub struct Shared {
    /// Where asynchronous work runs.
    pub runtime: Handle,
    /// Hears of connections that go away and come back.
    pub hook: ContactHook,
    metrics: KinesisMetrics,
    /// Tests come as nobody in particular, whatever the environment says.
    is_test: bool,
    /// One for each connection in use, so that all who use it share credentials, sockets and opinion.
    known: Arc<Mutex<Vec<Known>>>,
}

struct Known {
    connection: Connection,
    contact: Contact,
    /// The client, and when it was made.
    client: Option<(Client, Instant)>,
}

impl Shared {
    /// With this runtime and these metrics; `hook` hears of connections that go away and come back.
    pub fn new(runtime: Handle, metrics: KinesisMetrics, hook: ContactHook) -> Self {
        Self { runtime, hook, metrics, is_test: false, known: Arc::default() }
    }

    /// With metrics and a hook that nobody sees, and credentials that only servers of tests take.
    pub fn for_tests(runtime: Handle) -> Self {
        let shared = Self::new(runtime, KinesisMetrics::detached(), Arc::new(|_, _| {}));
        Self { is_test: true, ..shared }
    }

    /// The metrics.
    pub fn metrics(&self) -> &KinesisMetrics {
        &self.metrics
    }

    /// What is known of a connection. Whoever asks Kinesis anything tells it what came of that, see
    /// [`super::Trouble::tell`].
    pub fn contact(&self, connection: &Connection) -> Contact {
        self.with(connection, |known| known.contact.clone())
    }

    /// The client of this connection, which all its users share. Made at the first call: that reads files and the
    /// environment, and where the region is not given it may ask the machine's metadata service.
    ///
    /// Stops with words where settings are wrong. Credentials are looked for with the first request, and kept until they
    /// expire; what the service does not take has to be found out by asking.
    pub async fn client(&self, connection: &Connection) -> Result<Client, Failure> {
        if let Some((client, _)) = self.with(connection, |known| known.client.clone()) {
            return Ok(client);
        }
        let made = client::make(connection, self.is_test).await?;
        // Two may have made one at the same moment: the first stays.
        Ok(self.with(connection, |known| known.client.get_or_insert((made, Instant::now())).0.clone()))
    }

    /// The client of this connection made anew, with what files and environment say by now: for those whose credentials were
    /// refused. One that was made a moment ago is not made again.
    pub async fn renewed(&self, connection: &Connection) -> Result<Client, Failure> {
        self.with(connection, |known| {
            if known.client.as_ref().is_some_and(|(_, made)| made.elapsed() >= MIN_CLIENT_AGE) {
                known.client = None;
            }
        });
        self.client(connection).await
    }

    fn with<T>(&self, connection: &Connection, what: impl FnOnce(&mut Known) -> T) -> T {
        let mut all = self.lock();
        let index = match all.iter().position(|known| known.connection == *connection) {
            Some(index) => index,
            None => {
                all.push(self.first_contact(connection));
                all.len() - 1
            }
        };
        what(&mut all[index])
    }

    fn first_contact(&self, connection: &Connection) -> Known {
        let away = self.metrics.away(&connection.name);
        let theirs = Arc::clone(&self.hook);
        let hook: ContactHook = Arc::new(move |name, reason| {
            away.set(i64::from(reason.is_some()));
            theirs(name, reason);
        });
        let contact = Contact::new(&connection.name, "kinesis", hook);
        Known { connection: connection.clone(), contact, client: None }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
