//! The one list of built-ins.

use model::plug::{Plug, Role};

/// Everything that this build can plug in, by role.
pub const BUILT_IN: &[Plug] = &[
    Plug {
        kind: "push",
        role: Role::Source,
        summary: "events over HTTP, acknowledged once a local log is synced",
    },
    Plug {
        kind: "file",
        role: Role::Source,
        summary: "a file of lines, followed as it grows and rotates if asked",
    },
    Plug {
        kind: "kafka",
        role: Role::Source,
        summary: "records of topics, whose partitions the hosts of a group share",
    },
    Plug {
        kind: "kinesis",
        role: Role::Source,
        summary: "records of a stream, whose shards hosts of one project can share",
    },
    Plug { kind: "json", role: Role::Format, summary: "one JSON object an event" },
    Plug { kind: "raw", role: Role::Format, summary: "the payload as it is, in one column" },
    Plug {
        kind: "embedded",
        role: Role::OnlineStore,
        summary: "newest rows in memory, checkpointed to local disk; one host",
    },
    Plug {
        kind: "redis",
        role: Role::OnlineStore,
        summary: "newest rows in Redis, laid out as Feast lays them out; shared by several hosts",
    },
    Plug {
        kind: "file",
        role: Role::OutputStream,
        summary: "one record a line, cut back to the last synced batch on restart",
    },
    Plug {
        kind: "kafka",
        role: Role::OutputStream,
        summary: "a topic, keyed by entity; at least once, or exactly once in transactions",
    },
    Plug {
        kind: "kinesis",
        role: Role::OutputStream,
        summary: "a stream, keyed by entity; at least once, each entity in order",
    },
    Plug { kind: "file", role: Role::DeadLetter, summary: "one JSON object a line" },
    Plug {
        kind: "kafka",
        role: Role::DeadLetter,
        summary: "a topic: the payload as it was, the reason in headers",
    },
];
