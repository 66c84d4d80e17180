//! The clock by which leases run out: it goes on while the machine sleeps.
//!
//! [`std::time::Instant`] does not on most platforms, so that a host on a machine that was suspended would take its leases
//! for young when it wakes. Where the platform has no such clock this is that one. Says nothing of the time of day.

use std::ops::Add;
use std::time::Duration;

/// A moment since the machine was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(Duration);

impl Moment {
    /// This moment.
    pub(super) fn now() -> Self {
        Self(since_start())
    }

    /// How long before this moment an earlier one was; nothing if it was not.
    pub(super) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_start() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).expect("the machine was not started in the future");
    let nanoseconds = u32::try_from(time.tv_nsec).expect("a second has a billion nanoseconds");
    Duration::new(seconds, nanoseconds)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_start() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_follow_each_other() {
        let first = Moment::now();
        let second = Moment::now();
        assert!(first <= second);
        assert_eq!((first + Duration::from_secs(7)).since(first), Duration::from_secs(7));
        assert_eq!(first.since(first + Duration::from_secs(7)), Duration::ZERO);
    }

    /// The kernel counts sleep into what it names its uptime, in hundredths of a second.
    #[test]
    #[cfg(target_os = "linux")]
    fn time_that_the_machine_slept_counts() {
        let uptime = || -> Option<Duration> {
            let text = std::fs::read_to_string("/proc/uptime").ok()?;
            Some(Duration::from_secs_f64(text.split(' ').next()?.parse().ok()?))
        };
        let Some(before) = uptime() else { return };
        let Moment(now) = Moment::now();
        let after = uptime().unwrap() + Duration::from_millis(10);
        assert!(before <= now && now <= after, "{before:?} {now:?} {after:?}");
    }
}
