//! How C functions report errors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use flowspec::Wsa;

use super::{Address, memory};
use crate::Result;

thread_local! {
    static LAST_ERROR: Cell<u32> = const { Cell::new(0) };
    /// The call that is under way leaves the error as it is.
    static KEEPS: Cell<bool> = const { Cell::new(false) };
}

/// The code of WSAGetLastError.
pub(super) fn get() -> u32 {
    LAST_ERROR.get()
}

pub(super) fn set(code: u32) {
    LAST_ERROR.set(code);
}

/// Has the call that is under way leave the thread's error as it is where it succeeds. Programs release what they hold
/// between a failure and its report.
pub(super) fn keep() {
    KEEPS.set(true);
}

/// The value of a call, or `failure` with the thread's error set. A call that succeeds sets the error to 0, as on
/// Windows, except those that release something.
pub(super) fn api<T>(failure: T, call: impl FnOnce() -> Result<T>) -> T {
    KEEPS.set(false);
    match without_panic(call) {
        Ok(value) => {
            if !KEEPS.take() {
                set(0);
            }
            value
        }
        Err(wsa) => {
            set(wsa.code());
            failure
        }
    }
}

/// The value of a call, or `failure` with the error written to `lp_errno`.
pub(super) fn spi<T>(failure: T, lp_errno: Address, call: impl FnOnce() -> Result<T>) -> T {
    match without_panic(call) {
        Ok(value) => value,
        Err(wsa) => {
            // An error means that the caller sees only the returned value.
            let _ = memory::write_u32(lp_errno, wsa.code());
            failure
        }
    }
}

/// An error number of Windows, of which Winsock's codes are a part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Win32(pub(super) u32);

impl From<Wsa> for Win32 {
    fn from(code: Wsa) -> Self {
        Self(code.code())
    }
}

/// The value of a call with the thread's error set to 0, or `failure` with the error set to a number of Windows.
pub(super) fn win32<T>(failure: T, call: impl FnOnce() -> core::result::Result<T, Win32>) -> T {
    // A panic has no number of its own.
    let result = without_panic(|| Ok(call())).unwrap_or_else(|code| Err(code.into()));
    set(result.as_ref().err().map_or(0, |Win32(code)| *code));
    result.unwrap_or(failure)
}

/// 0, or the error as the result: for functions that report errors so.
pub(super) fn as_result(call: impl FnOnce() -> Result<()>) -> i32 {
    without_panic(call).map_or_else(|wsa| wsa.code().cast_signed(), |()| 0)
}

/// The same with the thread's error set as well.
pub(super) fn as_result_and_error(call: impl FnOnce() -> Result<()>) -> i32 {
    let code = as_result(call);
    set(code.cast_unsigned());
    code
}

fn without_panic<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Wsa::Enetdown))
}
