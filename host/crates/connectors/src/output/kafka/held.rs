//! Tickets whose pointer travels with records: a ticket holds itself while any record that carries it is not accounted for.

use std::sync::Arc;

use crate::output::ticket::Ticket;

/// From here on the ticket holds itself, until all that it was opened with is counted off by [`close`] and [`count_off`].
pub(super) fn hold(ticket: &Arc<Ticket>) {
    // Given back by whoever counts off the last.
    let _ = Arc::into_raw(Arc::clone(ticket));
}

/// Nothing more of a batch that was held is handed over; `unused` records never were. Whether it is complete with that.
pub(super) fn close(ticket: &Arc<Ticket>, unused: usize) -> bool {
    // SAFETY: the one that stands for whoever hands over and the unused records are counted off once, here.
    unsafe { count_off(Arc::as_ptr(ticket), unused + 1) }.is_some()
}

/// Counts records off; the ticket, if it is complete with that.
///
/// # Safety
///
/// `ticket` was held with [`hold`], and with this call no more are counted off than it was opened with.
pub(super) unsafe fn count_off(ticket: *const Ticket, records: usize) -> Option<Arc<Ticket>> {
    // SAFETY: it holds itself until the last is counted off, and these are among them. Only the counter is borrowed, for
    // whoever counts off the last may drop the rest at once.
    let complete = unsafe { (*ticket).remaining.count_off(records) };
    // SAFETY: the reference that `hold` set aside; nobody counts after the last.
    complete.then(|| unsafe { Arc::from_raw(ticket) })
}
