//! Why a component was not admitted, in words for whoever wrote it. Failures of calls are [`model::transform::Fault`].

/// A component that was not admitted, or an engine that could not be made.
///
/// Messages are lower-case fragments that say which component, what is wrong and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file ends in the middle: it is still being written, or it was cut off.
    #[error("component `{name}` is incomplete: {detail}; write it to a temporary file and rename that")]
    Incomplete {
        /// The component, as the caller names it.
        name: String,
        /// Where it ends.
        detail: String,
    },
    /// The file is larger than the host takes.
    #[error(
        "component `{name}` has {size} bytes, the host takes {limit}: leave out debug information (Rust: `strip = \"debuginfo\"` in the profile), data and dependencies that it does not need"
    )]
    TooLarge {
        /// The component, as the caller names it.
        name: String,
        /// Its size in bytes.
        size: usize,
        /// The largest size taken, in bytes.
        limit: usize,
    },
    /// The file is something else: text, machine code, a core module without the contract.
    #[error("`{name}` is not a component: {detail}")]
    NotAComponent {
        /// The component, as the caller names it.
        name: String,
        /// What it is, and how to get a component.
        detail: String,
    },
    /// The file says that it is a component, but is not valid or uses what the host does not offer.
    #[error("component `{name}` is not valid: {detail}")]
    Invalid {
        /// The component, as the caller names it.
        name: String,
        /// What is not valid, and where.
        detail: String,
    },
    /// It imports something that the host does not give.
    #[error("component `{name}` imports `{import}`, which the host does not give: {help}")]
    Import {
        /// The component, as the caller names it.
        name: String,
        /// The import.
        import: String,
        /// What to do about it.
        help: String,
    },
    /// It is a component for another world, or for another version of the contract.
    #[error("component `{name}` does not keep the contract `{contract}`: {detail}")]
    Contract {
        /// The component, as the caller names it.
        name: String,
        /// The contract that the host expects.
        contract: &'static str,
        /// What is missing or different, and how to mend it.
        detail: String,
    },
    /// Its `describe` failed, or says something that the host cannot accept.
    #[error("component `{name}` does not describe itself: {detail}")]
    Description {
        /// The component, as the caller names it.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// Not the component's fault: the host has no room, or could not be set up.
    #[error("the sandbox has failed: {detail}")]
    Host {
        /// What happened.
        detail: String,
    },
}

impl LoadError {
    /// Whether the same file may be fine a moment later: it ends in the middle. Hot reload waits, then reports.
    pub fn is_incomplete(&self) -> bool {
        matches!(self, Self::Incomplete { .. })
    }

    /// Whether the component is not at fault: trying again later may help.
    pub fn is_host_failure(&self) -> bool {
        matches!(self, Self::Host { .. })
    }
}
