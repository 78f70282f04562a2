//! Lengths that lie buy no memory: what is allocated stays within a small multiple of the input.

#![allow(missing_docs, clippy::unwrap_used, unsafe_code, reason = "tests; the allocator is counted")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use flowspec::{Abi, QosBytes};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more.
        let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + layout.size()));
        // SAFETY: the caller's promise is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Everything that reading these words as a buffer allocates, freed or not.
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
fn claims_are_not_believed() {
    const HUGE: u32 = u32::MAX;
    check("an object of 4 GiB", &[2002, HUGE, 0]);
    check("4 G rules", &[4003, 12, HUGE]);
    check("4 G elements", &[1003, 12, HUGE]);
    check("4 G services", &[1002, 32, 0, 0, 0, 0, 0, HUGE]);
    check("4 G flows", &[1001, 40, 0, 0, 0, 0, HUGE, 0, 48, 0, 2001, 8, 0, 0]);
    check("an address of 4 GiB", &[2004, 24, 32, 0, HUGE, 0, 2001, 8, 0, 0]);
    let mut flows = vec![1001, 40, 0, 0, 0, 0, 20, 0, 48, 0, 2001, 8];
    // Each of twenty flows says that its filters are all that follows: no byte is used twice.
    for _ in 0..20 {
        flows.extend([1, HUGE, HUGE, HUGE, HUGE, 2, HUGE, HUGE, 80, 0, 48 + 960, 0]);
    }
    flows.extend([1; 480]);
    check("filters for all", &flows);
    check("unknown objects", &[7, 8].repeat(8000));
    check("one object many times", &[4004, 8].repeat(8000));
}
