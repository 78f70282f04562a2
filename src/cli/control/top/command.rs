//! The terminal of `gqos top`, and its connection to the daemon.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use gqos::control::{FlowBatch, MethodCall, StatusCall};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};

use super::super::client::{ControlClient, SocketArgument};
use super::super::flows::{SortKey, fetch};
use super::input::{Happening, Happenings, is_closed};
use super::state::{Reading, TopState};
use super::view::{sum_count, view};
use crate::cli::failure::{CommandFailure, Exit};
use crate::cli::stopwatch::Stopwatch;

/// Watch the daemon's interfaces and flows on a terminal, once a second.
///
/// Keys: q quits, s sorts, / filters, c shows or hides classes and groups, p pauses, ? shows the other keys. If the
/// daemon ends, the view waits for the next daemon. The kernel's counters are shown as - for a flow without its own
/// class. Without a terminal, use gqos status and gqos flows.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The seconds between two readings.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// The initial order of the flows; rates, counts and times are listed with the highest first.
    #[arg(long, value_enum, default_value_t)]
    sort: SortKey,
    /// Show flows whose id, interface, class, client or group contains this text.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    #[command(flatten)]
    socket: SocketArgument,
}

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(3);

pub(in crate::cli) fn run(arguments: &Arguments) -> Result<ExitCode, CommandFailure> {
    if std::env::var_os("TERM").is_some_and(|kind| kind == "dumb") {
        let problem = anyhow!(
            "TERM is dumb: gqos top needs a terminal whose cursor it can move; gqos status and gqos flows print once"
        );
        return Err(CommandFailure::new(Exit::Usage, problem));
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let problem = anyhow!("gqos top needs a terminal; gqos status and gqos flows print once");
        return Err(CommandFailure::new(Exit::Usage, problem));
    }
    // A daemon that is not there is said before the terminal changes.
    let client = connect(&arguments.socket)?;
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut state = TopState::new(arguments.filter.clone(), colours);
    state.order = arguments.sort;
    let happenings = Happenings::start().map_err(|error| CommandFailure::os("clone", "a thread", error))?;
    let (client, clock) = (Some(client), Stopwatch::start());
    let mut top = Top { arguments, state, client, clock, happenings, next: 0, lines: 0 };
    let mut terminal =
        ratatui::try_init().map_err(|error| CommandFailure::os("tcsetattr", "the terminal", error))?;
    let result = top.happenings.read_keys().and_then(|()| top.watch(&mut terminal));
    let closed = is_closed();
    drop(ratatui::try_restore());
    if closed {
        // Its end shows the cursor, and says on standard error, which may have closed too, that it cannot.
        std::mem::forget(terminal);
    }
    match result {
        Err(_) if closed => Ok(Exit::HungUp.into()),
        result => result.map_err(|error| CommandFailure::os("read", "the terminal", error)),
    }
}

struct Top<'a> {
    arguments: &'a Arguments,
    state: TopState,
    client: Option<ControlClient>,
    clock: Stopwatch,
    /// Keys, and what ends the command so that the terminal is given back as it was.
    happenings: Happenings,
    /// When the daemon is read next, in milliseconds.
    next: u64,
    /// The height of the terminal.
    lines: u16,
}

impl Top<'_> {
    fn watch(&mut self, terminal: &mut DefaultTerminal) -> std::io::Result<ExitCode> {
        loop {
            let now = self.now();
            self.lines = terminal.size()?.height;
            if now >= self.next {
                self.next = now + self.arguments.interval * 1000;
                if !self.state.is_paused {
                    self.read();
                }
            }
            terminal.draw(|frame| view(&self.state, frame))?;
            if let Some(exit) = self.events_until_next()? {
                return Ok(exit);
            }
        }
    }

    /// Takes keys until something changes, or the daemon is to be read. The exit code where the command ends.
    fn events_until_next(&mut self) -> std::io::Result<Option<ExitCode>> {
        let left = Duration::from_millis(self.next.saturating_sub(self.now()));
        // This holds a sender itself, so that there is only the end of the time.
        let Ok(first) = self.happenings.receiver.recv_timeout(left) else { return Ok(None) };
        let before = self.state.wanted(self.lines);
        let mut happening = Some(first);
        // All keys that were pressed.
        while let Some(taken) = happening {
            match taken {
                Happening::End(exit) => return Ok(Some(exit.into())),
                Happening::Event(event) => {
                    if let Event::Key(key) = event?
                        && key.kind != KeyEventKind::Release
                        && self.key(key.code, key.modifiers)
                    {
                        return Ok(Some(ExitCode::SUCCESS));
                    }
                }
            }
            happening = self.happenings.receiver.try_recv().ok();
        }
        // The daemon sorts, filters and cuts out, also for a view that is paused.
        if self.state.wanted(self.lines) != before {
            self.read();
        }
        Ok(None)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.time().as_millis()).unwrap_or(u64::MAX)
    }

    /// Reads the daemon, and connects again where the connection has ended.
    fn read(&mut self) {
        let read = self.reading();
        match read {
            Ok(reading) => self.state.read(reading),
            Err(failure) => {
                self.client = None;
                self.state.trouble = Some(format!("{:#}", failure.error));
            }
        }
    }

    fn reading(&mut self) -> Result<Reading, CommandFailure> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => connect(&self.arguments.socket)?,
        };
        let status = client.call(&MethodCall::Status(StatusCall { classes: None, sums: Some(true) }))?;
        let FlowBatch { flows, matching } = fetch(&mut client, self.state.wanted(self.lines))?;
        self.client = Some(client);
        Ok(Reading { status, flows, matching })
    }

    /// A key was pressed. Whether the command ends.
    fn key(&mut self, code: KeyCode, modifiers: KeyModifiers) -> bool {
        let state = &mut self.state;
        if code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL) {
            return true;
        }
        if state.is_typing {
            match code {
                KeyCode::Enter => state.is_typing = false,
                KeyCode::Esc => {
                    state.is_typing = false;
                    state.clear_filter();
                }
                KeyCode::Backspace => state.pop_filter(),
                KeyCode::Char(letter) => state.push_filter(letter),
                _ => {}
            }
            return false;
        }
        match code {
            KeyCode::Esc if state.shows_help => state.shows_help = false,
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('s') => state.sort(),
            KeyCode::Char('c') => state.hides_classes = !state.hides_classes,
            KeyCode::Char('/') => state.is_typing = true,
            KeyCode::Char('p' | ' ') => state.is_paused = !state.is_paused,
            KeyCode::Char('?' | 'h') => (state.shows_help, state.help_first) = (!state.shows_help, 0),
            KeyCode::Char('j') | KeyCode::Down => state.scroll(true, 1),
            KeyCode::Char('k') | KeyCode::Up => state.scroll(false, 1),
            KeyCode::PageDown => state.scroll(true, PAGE),
            KeyCode::PageUp => state.scroll(false, PAGE),
            KeyCode::Home => state.first = 0,
            KeyCode::Char(']') => state.scroll_sums(true, sum_count(state)),
            KeyCode::Char('[') => state.scroll_sums(false, sum_count(state)),
            _ => {}
        }
        false
    }
}

/// How many flows a page moves.
const PAGE: usize = 10;

fn connect(socket: &SocketArgument) -> Result<ControlClient, CommandFailure> {
    socket.connect()?.limit_waits(Some(PATIENCE))
}
