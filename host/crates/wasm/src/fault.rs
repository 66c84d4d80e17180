//! From wasmtime's errors to messages for view authors: what happened, which limit, which key changes it, where in the guest.

use std::fmt::Write as _;
use std::time::Duration;

use model::transform::{Fault, FaultKind, Limits};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::engine::BACKTRACE_FRAMES;
use crate::log::cut;

/// Bytes of a guest's own text in a message at most.
const MAX_QUOTE: usize = 4 << 10;
/// Bytes of a function's name in a back-trace at most.
const MAX_FUNCTION: usize = 256;

/// What was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Start,
    Describe,
    Open,
    Process,
}

/// Who was called, with what limits: what a message about a failure needs to know.
pub(crate) struct Blame<'a> {
    /// Empty while a component is loaded.
    pub(crate) view: &'a str,
    pub(crate) component: &'a str,
    pub(crate) limits: &'a Limits,
    /// Rows of the batch.
    pub(crate) rows: usize,
    pub(crate) phase: Phase,
}

impl Blame<'_> {
    /// A call that ended in an error of wasmtime. `refusals`: how often it was refused memory; `last_words`: what it
    /// said last.
    pub(crate) fn fault(&self, error: &wasmtime::Error, refusals: u32, last_words: &str) -> Fault {
        let trap = error.downcast_ref::<Trap>().copied();
        let mut message = self.subject();
        let kind = if error.is::<PoolConcurrencyLimitError>() {
            let _ = write!(
                message,
                " found no room for an instance on this host, which is not its fault: {}",
                error.root_cause()
            );
            return Fault { kind: FaultKind::Capacity, message };
        } else if trap == Some(Trap::Interrupt) {
            let _ = write!(message, " took longer than {}", self.time());
            FaultKind::Timeout
        } else if refusals > 0 {
            let _ =
                write!(message, " ran out of memory (limit {}, `limits.memory`)", size(self.limits.memory));
            FaultKind::Memory
        } else if error.root_cause().to_string().contains("fuel allocated for hostcalls") {
            let _ = write!(
                message,
                " returned or logged more than {} (`limits.output`)",
                size(self.limits.output)
            );
            FaultKind::BadOutput
        } else if let Some(trap) = trap {
            let _ = write!(message, " trapped: {}", explain(trap));
            FaultKind::Trap
        } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
            let _ = write!(message, " ended itself with exit code {}", exit.0);
            FaultKind::Trap
        } else if self.phase == Phase::Start && error.downcast_ref::<WasmBacktrace>().is_none() {
            let _ = write!(message, " could not be instantiated: {}", error.root_cause());
            FaultKind::Capacity
        } else if error.downcast_ref::<WasmBacktrace>().is_some() {
            let _ = write!(message, " trapped: {}", error.root_cause());
            FaultKind::Trap
        } else {
            let _ = write!(message, " gave an answer that cannot be read: {}", error.root_cause());
            FaultKind::BadOutput
        };
        let words = last_words.trim();
        if !words.is_empty() {
            let _ = write!(message, ": {}", quoted(words));
        }
        if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
            write_trace(&mut message, trace);
        }
        Fault { kind, message }
    }

    /// A call that the guest answered with an error.
    pub(crate) fn guest_error(&self, text: &str, refusals: u32) -> Fault {
        let mut message = self.subject();
        let _ = write!(message, " answered with an error: {}", quoted(text));
        if self.phase == Phase::Open {
            message.push_str(" (compare the view's `transform.params`)");
        }
        if refusals > 0 {
            let _ = write!(
                message,
                "; it was refused memory (limit {}, `limits.memory`)",
                size(self.limits.memory)
            );
            return Fault { kind: FaultKind::Memory, message };
        }
        Fault { kind: FaultKind::GuestError, message }
    }

    /// An answer that does not hold what the contract says.
    pub(crate) fn bad_output(&self, what: &str) -> Fault {
        Fault { kind: FaultKind::BadOutput, message: format!("{} gave a bad answer: {what}", self.subject()) }
    }

    fn subject(&self) -> String {
        let what = match self.phase {
            Phase::Start => "start".to_owned(),
            Phase::Describe => "`describe`".to_owned(),
            Phase::Open => "`open`".to_owned(),
            Phase::Process => {
                format!("`process` of {} row{}", self.rows, if self.rows == 1 { "" } else { "s" })
            }
        };
        if self.view.is_empty() {
            format!("{what} of component `{}`", self.component)
        } else {
            format!("{what} by component `{}` of view `{}`", self.component, self.view)
        }
    }

    fn time(&self) -> String {
        if self.phase != Phase::Process {
            return format!("{:?} (`limits.time`)", self.limits.time);
        }
        format!(
            "{:?} (`limits.time` {:?} and `limits.time_per_row` {:?})",
            batch_time(self.limits, self.rows),
            self.limits.time,
            self.limits.time_per_row
        )
    }
}

/// The time that a batch may take.
pub(crate) fn batch_time(limits: &Limits, rows: usize) -> Duration {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    limits.time.saturating_add(limits.time_per_row.saturating_mul(rows))
}

/// A text of the guest for people: bounded, and without characters that would garble a log or a terminal.
pub(crate) fn quoted(text: &str) -> String {
    let short = cut(text, MAX_QUOTE);
    let mut quoted = String::with_capacity(short.len());
    for character in short.chars() {
        if character.is_control() && character != '\n' && character != '\t' {
            quoted.extend(character.escape_default());
        } else {
            quoted.push(character);
        }
    }
    if short.len() < text.len() {
        quoted.push('…');
    }
    quoted
}

/// Bytes for people.
pub(crate) fn size(bytes: usize) -> String {
    const UNITS: [(usize, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in UNITS {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{} {name}", bytes / unit);
        }
    }
    format!("{bytes} bytes")
}

fn explain(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "a panic or an abort (`unreachable` was reached)".to_owned(),
        Trap::StackOverflow => {
            format!("the call stack is exhausted ({}): is there endless recursion?", size(crate::engine::GUEST_STACK))
        }
        Trap::MemoryOutOfBounds => {
            "access outside of its memory: endless recursion, or unsafe code".to_owned()
        }
        Trap::CannotLeaveComponent => {
            "it called the host while the host was writing arguments (a WASI adapter that reads a clock in the allocator does so): build with the host's own `host build`".to_owned()
        }
        other => other.to_string(),
    }
}

/// One function per line, the innermost first.
fn write_trace(message: &mut String, trace: &WasmBacktrace) {
    for frame in trace.frames().iter().take(BACKTRACE_FRAMES) {
        let mut written = false;
        for symbol in frame.symbols() {
            let Some(name) = symbol.name() else { continue };
            let _ = write!(message, "\n  at {}", function_name(name));
            if let Some(file) = symbol.file() {
                let _ = write!(message, " ({}", cut(file, MAX_FUNCTION));
                if let Some(line) = symbol.line() {
                    let _ = write!(message, ":{line}");
                }
                message.push(')');
            }
            written = true;
        }
        if !written {
            match frame.func_name() {
                Some(name) => {
                    let _ = write!(message, "\n  at {}", function_name(name));
                }
                None => {
                    let _ = write!(message, "\n  at function {}", frame.func_index());
                }
            }
        }
    }
}

/// The readable form of a function's name.
fn function_name(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    quoted(cut(&name, MAX_FUNCTION))
}
