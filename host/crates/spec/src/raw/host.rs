//! `host.yaml` as it stands.

use super::connection::RawConnection;
use super::declare::raw_mapping;
use super::kafka::{RawCreateTopic, RawTopic};
use super::read::{Ordered, Spanned};
use super::redis::RawRedisStores;
use super::scalars::{ByteSize, Instant, Micros, Name};

raw_mapping! {
    /// Settings of a host. In texts, `${NAME}` stands for an environment variable, `${NAME:-default}` for one that may
    /// be unset, `${file:path}` for the content of a file.
    RawHost {
        /// The project that the host serves; `default` unless said otherwise. Part of every view's id.
        optional project: Option<Name>,
        /// Address and port to listen on; `127.0.0.1:6566` unless said otherwise.
        optional listen: Option<Spanned<String>>,
        /// Where the host keeps what it must not lose; `./.millrace` unless said otherwise.
        optional data_dir: Option<Spanned<String>>,
        /// File sources and file outputs lie here; the working directory unless said otherwise.
        optional files_root: Option<Spanned<String>>,
        /// The online store.
        optional online_store: Option<Spanned<RawOnlineStore>>,
        /// Push sources.
        optional push: Option<RawPushSettings>,
        /// Where events go that could not be used.
        optional dead_letter: Option<Spanned<RawDeadLetter>>,
        /// The event times that are believed.
        optional event_time: Option<RawEventTime>,
        /// Whether reads are answered, and marked, while a crash is made up for; `false` unless said otherwise.
        optional serve_while_recovering: Option<bool>,
        /// How long a stop may take; `60s` unless said otherwise.
        optional shutdown_grace: Option<Micros>,
        /// Threads that transform; one for each processor unless said otherwise.
        optional threads: Option<Spanned<u64>>,
        /// Endpoints and secrets, by the name that view files use.
        optional connections: Option<Ordered<Spanned<RawConnection>>>,
    }
}

raw_mapping! {
    /// The online store: `embedded`, `redis`, or both.
    RawOnlineStore {
        /// In this process, on this disk. With `redis` it keeps positions, and the rows of views that ask for it.
        optional embedded: Option<RawEmbedded>,
        /// Where the rows of views go that do not say otherwise; several hosts share it.
        optional redis: Option<RawRedisStores>,
    }
}

raw_mapping! {
    /// The embedded online store.
    RawEmbedded {
        /// Rows kept in memory; `512MiB` unless said otherwise.
        optional memory: Option<Spanned<ByteSize>>,
        /// Time between checkpoints; `2s` unless said otherwise.
        optional checkpoint_interval: Option<Spanned<Micros>>,
        /// Bytes of changed rows that bring a checkpoint forward; `256MiB` unless said otherwise.
        optional checkpoint_bytes: Option<Spanned<ByteSize>>,
    }
}

raw_mapping! {
    /// Push sources.
    RawPushSettings {
        /// Bytes of one source's log before pushes are refused; `4GiB` unless said otherwise.
        optional max_log_bytes: Option<Spanned<ByteSize>>,
        /// Bytes of one file of a log; `64MiB` unless said otherwise.
        optional segment_bytes: Option<Spanned<ByteSize>>,
        /// Bytes of one request; `32MiB` unless said otherwise.
        optional max_body_bytes: Option<Spanned<ByteSize>>,
        /// Bytes of one event; `1MiB` unless said otherwise.
        optional max_row_bytes: Option<Spanned<ByteSize>>,
    }
}

raw_mapping! {
    /// Where events go that could not be used: one of `file`, `kafka`.
    RawDeadLetter {
        /// A file, one JSON object per line.
        optional file: Option<RawDeadLetterFile>,
        /// A Kafka topic, one record for each event.
        optional kafka: Option<RawDeadLetterTopic>,
    }
}

raw_mapping! {
    /// A file of dead letters.
    RawDeadLetterFile {
        /// The file; `dead_letter.ndjson` in the data directory unless said otherwise.
        required path: Spanned<String>,
    }
}

raw_mapping! {
    /// A topic of dead letters.
    RawDeadLetterTopic {
        /// The connection.
        required connection: Spanned<Name>,
        /// The topic.
        required topic: RawTopic,
        /// How to make the topic if it is missing; an error unless said.
        optional create: Option<RawCreateTopic>,
    }
}

raw_mapping! {
    /// The event times that are believed; others are dead-lettered. A source may say otherwise for itself.
    RawEventTime {
        /// The earliest; `2000-01-01T00:00:00Z` unless said otherwise.
        optional earliest: Option<Instant>,
        /// How far ahead of the host's clock; `10m` unless said otherwise.
        optional max_future: Option<Micros>,
    }
}
