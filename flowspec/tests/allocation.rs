//! A length in the input that is too large does not allocate memory: allocations stay within a small multiple of the
//! input.

#![allow(missing_docs, clippy::unwrap_used, unsafe_code, reason = "tests; the allocator counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use flowspec::{Abi, QosBytes};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter.
        let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + layout.size()));
        // SAFETY: the caller's contract is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Reads these words as a buffer, and counts all memory that is allocated, freed or not.
#[track_caller]
fn check(name: &str, words: &[u32]) {
    let mut bytes: Vec<u8> = [u32::MAX; 16].iter().flat_map(|word| word.to_le_bytes()).collect();
    (bytes[20..24]).copy_from_slice(&1u32.to_le_bytes());
    (bytes[52..56]).copy_from_slice(&1u32.to_le_bytes());
    let len = u32::try_from(words.len() * 4).unwrap();
    bytes.extend([len, 0, 0, 0].iter().chain(words).flat_map(|word| word.to_le_bytes()));
    let before = ALLOCATED.get();
    let result = QosBytes::read(&bytes, Abi::Win64).and_then(|qos| qos.check());
    let allocated = ALLOCATED.get() - before;
    assert!(result.is_err(), "{name}");
    drop(result);
    assert!(allocated <= 4 * bytes.len() + 512, "{name}: {allocated} bytes for an input of {}", bytes.len());
}

#[test]
fn lengths_in_the_input_are_not_trusted() {
    const HUGE: u32 = u32::MAX;
    check("an object of 4 GiB", &[2002, HUGE, 0]);
    check("4 G rules", &[4003, 12, HUGE]);
    check("4 G elements", &[1003, 12, HUGE]);
    check("4 G services", &[1002, 32, 0, 0, 0, 0, 0, HUGE]);
    check("4 G flows", &[1001, 40, 0, 0, 0, 0, HUGE, 0, 48, 0, 2001, 8, 0, 0]);
    check("an address of 4 GiB", &[2004, 24, 32, 0, HUGE, 0, 2001, 8, 0, 0]);
    let mut flows = vec![1001, 40, 0, 0, 0, 0, 20, 0, 48, 0, 2001, 8];
    // The filters of each of twenty flows are all bytes that follow; no byte may be used twice.
    for _ in 0..20 {
        flows.extend([1, HUGE, HUGE, HUGE, HUGE, 2, HUGE, HUGE, 80, 0, 48 + 960, 0]);
    }
    flows.extend([1; 480]);
    check("filters for all", &flows);
    check("unknown objects", &[7, 8].repeat(8000));
    check("one object many times", &[4004, 8].repeat(8000));
}
