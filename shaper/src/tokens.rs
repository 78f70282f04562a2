//! Waits for the tokens of a stream.

use std::io;
use std::task::{Context, Poll, ready};

use flowspec::Direction;

use crate::clock;
use crate::control::Control;
use crate::direction_state::Acquired;
use crate::timer::Timer;

/// Ready with the payload that may pass.
pub(crate) fn poll_tokens(
    control: &Control,
    direction: Direction,
    timer: &mut Timer,
    cx: &mut Context<'_>,
    wanted: usize,
) -> Poll<io::Result<usize>> {
    loop {
        let wait = {
            let mut state = control.state(direction);
            match state.acquire(clock::now(), wanted) {
                Acquired::Granted(granted) => return Poll::Ready(Ok(granted)),
                Acquired::Wait(wait) => {
                    state.wake_on_change(cx.waker());
                    wait
                }
            }
        };
        ready!(timer.poll(cx, wait))?;
    }
}
