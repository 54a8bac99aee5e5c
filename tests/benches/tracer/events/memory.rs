//! How many bytes this thread has allocated and not given back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes in use, of those that were allocated while a thread ran on its own;
/// what threads hand each other moves the figure of both.
pub(super) fn live() -> isize {
    LIVE.get()
}

/// The system's allocator, which says what is in use. A thread's own count
/// costs nothing that can be measured, where one for all would.
struct Counting;

fn count(bytes: usize, sign: isize) {
    LIVE.set(LIVE.get() + sign * bytes.cast_signed());
}

// SAFETY: every call is handed on to the system's allocator as it came, and
// counting does not allocate: the cell is constant and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promises are this call's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller's promises are this call's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: the caller's promises are this call's.
        unsafe { System.realloc(block, layout, size) }
    }
}
