//! The memory that this thread has allocated and not freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes in use. Memory that one thread allocates and another frees changes the figures of both.
pub(super) fn live() -> isize {
    LIVE.get()
}

/// The system's allocator with a counter. A counter per thread costs nothing measurable, while a
/// global one would.
struct Counting;

fn count(bytes: usize, sign: isize) {
    LIVE.set(LIVE.get() + sign * bytes.cast_signed());
}

// SAFETY: every call goes unchanged to the system's allocator. Counting does not allocate, because
// the cell is constant and has no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's guarantees hold for this call.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller's guarantees hold for this call.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: the caller's guarantees hold for this call.
        unsafe { System.realloc(block, layout, size) }
    }
}
