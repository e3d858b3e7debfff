//! Which row of cells the running thread writes.
//!
//! Row 0 is the control thread's, row `1 + n` is worker `n`'s. A thread that never said who it is (a test, a blocking
//! task) shares one more row with its like, and pays for atomic additions there.

use std::cell::Cell;

/// The control thread's index.
pub const CONTROL: usize = 0;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Claims row `index` for the running thread; call it once, at the thread's start.
///
/// Cells are written with a plain load and store, so two running threads with one index would lose each other's counts.
pub fn set_thread_index(index: usize) {
    INDEX.set(index);
}

/// Claims worker `worker`'s row (workers count from 0, as in `worker_0`).
pub fn enter_worker(worker: usize) {
    set_thread_index(CONTROL + 1 + worker);
}

/// Claims the control thread's row.
pub fn enter_control() {
    set_thread_index(CONTROL);
}

/// The row to write among `threads` owned rows and the shared one after them, and whether this thread alone writes it.
#[inline]
pub(super) fn row(threads: usize) -> (usize, bool) {
    let index = INDEX.get();
    if index < threads {
        (index, true)
    } else {
        (threads, false)
    }
}
