//! Messages to the host's log. A message below the level that the host wants costs one comparison.

use std::sync::atomic::{AtomicU8, Ordering};

/// How important a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warn,
    /// Something of note happened.
    Info,
    /// For whoever writes the transform.
    Debug,
    /// Even more of that.
    Trace,
}

/// The least important level that is not dropped.
static LEAST: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Whether a message of this level would be kept.
#[inline(always)]
pub fn enabled(level: Level) -> bool {
    level as u8 <= LEAST.load(Ordering::Relaxed)
}

/// Sets the least important level that is kept. In a guest the host does that.
pub fn set_level(level: Level) {
    LEAST.store(level as u8, Ordering::Relaxed);
}

/// Hands a message over: to the host in a guest, to standard error elsewhere. Use the macros, which check the level.
#[cold]
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::guest::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    {
        use std::io::Write;
        // A message that cannot be written to standard error has nowhere else to go.
        let _ = writeln!(std::io::stderr(), "{level:?}: {message}");
    }
}

/// Logs a message of the level, formatted like `format!`, if that level is wanted.
#[macro_export]
macro_rules! log_at {
    ($level:expr, $($message:tt)+) => {
        if $crate::log::enabled($level) {
            $crate::log::log($level, &::std::format!($($message)+));
        }
    };
}

/// Logs that something failed.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log_at!($crate::log::Level::Error, $($message)+) };
}

/// Logs that something looks wrong.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log_at!($crate::log::Level::Warn, $($message)+) };
}

/// Logs that something of note happened.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log_at!($crate::log::Level::Info, $($message)+) };
}

/// Logs something for whoever writes the transform.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log_at!($crate::log::Level::Debug, $($message)+) };
}

/// Logs even more of that.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::log_at!($crate::log::Level::Trace, $($message)+) };
}

/// Leaves the function and refuses the row, with a reason that is formatted like `format!`.
#[macro_export]
macro_rules! reject {
    ($($reason:tt)+) => {
        return ::core::result::Result::Err($crate::Reject { reason: ::std::format!($($reason)+) }.into())
    };
}
