//! What the demo shows on standard error while it runs: a live table on a terminal, else one line for each phase.

use std::io::Write;
use std::path::{Path, PathBuf};

use gqos::lab::demo::{DaemonState, PhaseName, PhaseProgress, RungProgress};

use super::demo_summary::title;
use super::demo_table::{Alignment, Cell, Column, Screen, Tone, megabits, seconds, table};
use super::output::{counted, is_capable};

/// The progress of a run.
pub(super) struct Live {
    /// `None` if standard error is not a terminal.
    screen: Option<Screen>,
    viewers: usize,
    namespace: String,
    /// The daemon's control socket, where there is one.
    socket: Option<PathBuf>,
    /// The lines of the table that is on the screen.
    lines: usize,
    phase: Option<PhaseName>,
    daemon: Option<DaemonState>,
}

/// The width of the progress bar.
const BAR: u64 = 20;

impl Live {
    /// Nothing is shown yet; the number of viewers to come, and the daemon's control socket where there is one.
    pub(super) fn new(viewers: usize, socket: Option<PathBuf>) -> Self {
        let stderr = std::io::stderr();
        let screen = is_capable(&stderr).then(|| Screen::of(&stderr));
        Self { screen, viewers, namespace: String::new(), socket, lines: 0, phase: None, daemon: None }
    }

    /// Notes the path of the server's network namespace.
    pub(super) fn set_namespace(&mut self, path: &str) {
        path.clone_into(&mut self.namespace);
    }

    /// Replaces the table on a terminal; writes a line for each phase elsewhere.
    pub(super) fn show(&mut self, progress: &PhaseProgress) {
        let begins = self.phase.replace(progress.phase) != Some(progress.phase);
        if let Some(screen) = self.screen {
            let text = live_table(progress, (&self.namespace, self.socket.as_deref()), screen);
            self.clear();
            self.lines = text.lines().count();
            put(&text);
            return;
        }
        if begins {
            put(&phase_line(progress, self.viewers));
        }
        let before = std::mem::replace(&mut self.daemon, progress.daemon);
        if let Some(state) = progress.daemon.filter(|state| before.is_none_or(|before| before != *state)) {
            put(&format!("{}\n", daemon_line(state)));
        }
    }

    /// Removes the table from the screen.
    pub(super) fn clear(&mut self) {
        if self.lines > 0 {
            put(&format!("\x1b[{}A\x1b[J", self.lines));
        }
        self.lines = 0;
    }
}

/// Progress that cannot be written is not worth a failure.
fn put(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// What the daemon does.
fn daemon_line(state: DaemonState) -> String {
    match state {
        DaemonState::Serving { pid } => format!("daemon: process {pid}"),
        DaemonState::Killed { pid } => format!("daemon: process {pid} was killed, and none is there"),
        DaemonState::ServingAgain { pid, after } => {
            let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            format!("daemon: process {pid} serves, {} after the kill", seconds(after))
        }
    }
}

fn phase_line(progress: &PhaseProgress, viewers: usize) -> String {
    format!("{}: {} for {} s\n", title(progress.phase), counted(viewers, "viewer"), progress.seconds)
}

/// A bar, the renditions, and how to look at the kernel meanwhile. No line is longer than the screen is wide.
fn live_table(
    progress: &PhaseProgress,
    (namespace, socket): (&str, Option<&Path>),
    screen: Screen,
) -> String {
    let PhaseProgress { phase, elapsed, seconds, rungs, bulk, daemon } = progress;
    let done = (elapsed * BAR / (*seconds).max(1)).min(BAR);
    let bar: String = (0..BAR).map(|part| if part < done { '#' } else { '.' }).collect();
    let mut head = format!("{:<12} {elapsed}/{seconds} s", title(*phase));
    for part in [format!("  [{bar}]"), format!("  bulk {} Mbit/s", megabits(*bulk))] {
        if head.len() + part.len() <= screen.columns {
            head += &part;
        }
    }
    let mut text = screen.bold(&head) + "\n";
    text += &table(renditions(*phase, rungs), screen);
    let mut notes: Vec<_> = daemon.map(daemon_line).into_iter().collect();
    if *phase == PhaseName::Managed {
        notes.push(format!("inspect: nsenter --net={namespace} tc -s class show dev eth0"));
        notes.extend(socket.map(|socket| format!("inspect: gqos status --socket {}", socket.display())));
    }
    for note in notes.iter().filter(|note| note.len() <= screen.columns) {
        text += note;
        text.push('\n');
    }
    text
}

fn renditions(phase: PhaseName, rungs: &[RungProgress]) -> Vec<Column> {
    let each = |title, rank, cell: &dyn Fn(&RungProgress) -> Cell| Column {
        group: "",
        title,
        alignment: Alignment::Right,
        rank,
        cells: rungs.iter().map(cell).collect(),
    };
    let expected = match phase {
        PhaseName::Unmanaged => each("needs", 2, &|rung| megabits(rung.media_rate).into()),
        PhaseName::Managed => each("promised", 2, &|rung| megabits(rung.payload_rate).into()),
    };
    vec![
        Column { alignment: Alignment::Left, ..each("rendition", 0, &|rung| rung.name.as_str().into()) },
        each("watching", 1, &|rung| rung.watching.to_string().into()),
        each("refused", 1, &|rung| match rung.refused {
            0 => "0".into(),
            refused => Cell::new(refused.to_string(), Tone::Refused),
        }),
        expected,
        each("slowest now", 3, &|rung| megabits(rung.least).into()),
        each("stalls", 0, &|rung| match rung.stalls {
            0 => "0".into(),
            stalls => Cell::new(stalls.to_string(), Tone::Bad),
        }),
    ]
}

#[cfg(test)]
mod tests {
    use flowspec::Rate;

    use super::*;

    fn progress(phase: PhaseName) -> PhaseProgress {
        let rung = RungProgress {
            name: "1080p".into(),
            watching: 14,
            stalls: 3,
            least: Rate::from_mbit(2),
            payload_rate: Rate::from_mbit(4),
            media_rate: Rate::from_mbit(3),
            ..RungProgress::default()
        };
        PhaseProgress {
            phase,
            elapsed: 5,
            seconds: 10,
            rungs: vec![rung],
            bulk: Rate::from_mbit(9),
            daemon: Some(DaemonState::Killed { pid: 4321 }),
        }
    }

    #[test]
    fn a_viewer_without_gqos_needs_a_rate_and_is_promised_none() {
        let screen = Screen { columns: 80, colour: false };
        let without = live_table(&progress(PhaseName::Unmanaged), ("/proc/1/ns/net", None), screen);
        assert!(without.contains("needs") && without.contains("3.00"), "{without}");
        assert!(!without.contains("promised") && !without.contains("4.00"), "{without}");
        let with = live_table(
            &progress(PhaseName::Managed),
            ("/proc/1/ns/net", Some(Path::new("/run/d/gqos.sock"))),
            screen,
        );
        assert!(with.contains("promised") && with.contains("4.00"), "{with}");
        assert!(with.contains("daemon: process 4321 was killed"), "{with}");
        assert!(with.contains("gqos status --socket /run/d/gqos.sock"), "{with}");
        assert!(
            with.starts_with("With gqos    5/10 s  [##########..........]  bulk 9.00 Mbit/s\n"),
            "{with}"
        );
    }

    #[test]
    fn the_live_table_fits_every_terminal() {
        for columns in [40, 50, 80, 100, 140] {
            for phase in [PhaseName::Unmanaged, PhaseName::Managed] {
                let text = live_table(
                    &progress(phase),
                    (
                        "/proc/1234567/task/1234567/ns/net",
                        Some(Path::new("/tmp/gqos-demo-0123456789ab/gqos.sock")),
                    ),
                    Screen { columns, colour: false },
                );
                assert!(text.lines().all(|line| line.len() <= columns), "{columns}\n{text}");
            }
        }
    }

    #[test]
    fn a_pipe_gets_one_line_for_each_phase() {
        assert_eq!(phase_line(&progress(PhaseName::Unmanaged), 40), "Without gqos: 40 viewers for 10 s\n");
        assert_eq!(phase_line(&progress(PhaseName::Managed), 1), "With gqos: 1 viewer for 10 s\n");
    }
}
