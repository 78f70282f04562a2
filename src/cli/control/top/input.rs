//! What happens on the terminal of `gqos top`, and what ends the command from outside.
//!
//! Keys are read on a thread of their own: the library that reads them tries again without end where a terminal has closed, and
//! waits within an escape sequence. Another thread takes the signals, looks whether the terminal is there, and ends the process
//! where the command itself does not, since it writes to a terminal that takes nothing or waits for a daemon.

use std::io::{IsTerminal, stdin, stdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::terminal::disable_raw_mode;

use crate::cli::failure::Exit;
use crate::cli::signals;

/// What the command waits for.
pub(super) enum Happening {
    /// A key was pressed, the terminal has another size, or it cannot be read.
    Event(std::io::Result<Event>),
    /// A signal has come, or the terminal has closed.
    End(Exit),
}

/// How often it is seen whether the terminal is there.
const LOOK: Duration = Duration::from_millis(100);

/// How long the command may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// What happens from now on.
pub(super) struct Happenings {
    pub(super) receiver: Receiver<Happening>,
    sender: Sender<Happening>,
}

impl Happenings {
    /// Takes the signals.
    ///
    /// - **Errors**: no thread, or no handlers.
    pub(super) fn start() -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        let (signals, ends) = (signals::taken()?, sender.clone());
        std::thread::Builder::new().name("terminal".to_owned()).spawn(move || end(&signals, &ends))?;
        Ok(Self { receiver, sender })
    }

    /// Reads the keys, once the terminal gives each of them at once.
    ///
    /// - **Errors**: no thread.
    pub(super) fn read_keys(&self) -> std::io::Result<()> {
        let sender = self.sender.clone();
        let keys = move || loop {
            let read = event::read();
            let failed = read.is_err();
            if sender.send(Happening::Event(read)).is_err() || failed {
                return;
            }
        };
        std::thread::Builder::new().name("keys".to_owned()).spawn(keys).map(drop)
    }
}

/// Waits for what ends the command, and ends the process where the command does not.
fn end(signals: &Receiver<Exit>, ends: &Sender<Happening>) {
    let exit = loop {
        match signals.recv_timeout(LOOK) {
            Ok(exit) => break exit,
            Err(_) if is_closed() => break Exit::HungUp,
            Err(RecvTimeoutError::Timeout) => {}
            // No signal comes any more, but the terminal can close.
            Err(RecvTimeoutError::Disconnected) => pause(LOOK),
        }
    };
    // The command may have ended by itself.
    drop(ends.send(Happening::End(exit)));
    pause(GRACE);
    // Nothing can be written to a terminal that takes nothing; its modes can be set.
    drop(disable_raw_mode());
    std::process::exit(exit.code().into());
}

fn pause(time: Duration) {
    // It may end early, which does no harm.
    std::thread::park_timeout(time);
}

/// Whether the terminal of the keys or of the picture has closed: the kernel answers nothing about one that has hung up.
pub(super) fn is_closed() -> bool {
    !stdin().is_terminal() || !stdout().is_terminal()
}
