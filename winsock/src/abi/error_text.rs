//! Texts of error codes: gai_strerror.

use std::cell::RefCell;
use std::ffi::CString;

use flowspec::Wsa;

use super::memory::{self, Encoding};

thread_local! {
    /// The texts that the thread's latest calls have returned.
    static NARROW: RefCell<CString> = RefCell::default();
    static WIDE: RefCell<Vec<u16>> = const { RefCell::new(Vec::new()) };
}

/// GAI_STRERROR_BUFFER_SIZE is larger than every text.
fn text_of(code: i32) -> String {
    match Wsa::from_code(code.cast_unsigned()) {
        Some(wsa) => format!("{}: {}", wsa.name(), wsa.text()),
        None => format!("Error {code}."),
    }
}

/// gai_strerrorA. The text is valid until the thread's next call.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_gai_strerrorA(code: i32) -> usize {
    let text = CString::new(text_of(code)).unwrap_or_default();
    NARROW.with_borrow_mut(|kept| {
        *kept = text;
        kept.as_ptr().expose_provenance()
    })
}

/// gai_strerrorW. The text is valid until the thread's next call.
#[unsafe(no_mangle)]
pub extern "C" fn gqos_gai_strerrorW(code: i32) -> usize {
    let bytes = memory::encoded(&text_of(code), Encoding::Wide);
    let text = bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect();
    WIDE.with_borrow_mut(|kept| {
        *kept = text;
        kept.as_ptr().expose_provenance()
    })
}
