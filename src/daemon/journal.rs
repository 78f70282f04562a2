//! The state file: what is held, written down by a thread of its own, so that no answer waits for a file system.
//!
//! Holders note what has changed; the thread looks it up and appends a line about it. The file is replaced as a whole
//! when it starts, when it has become long, and after a failure. Nothing else depends on it: without it, reservations
//! end with the daemon.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::state_log::{Key, Lines, StateLog, StateWrite};
use crate::failure::{KernelCall, KernelFailure};

/// Notes what has changed.
pub(super) struct Journal {
    changed: Mutex<Changed>,
    wake: Condvar,
    /// The first failure to write.
    failure: watch::Sender<Option<KernelFailure>>,
}

#[derive(Default)]
struct Changed {
    keys: BTreeSet<Key>,
    /// So much has changed that the whole file is written again.
    is_all: bool,
    /// Whether nothing is written (any more).
    is_closed: bool,
    /// Whether the file is removed once that is so.
    is_removed: bool,
}

impl Changed {
    fn take(&mut self) -> (BTreeSet<Key>, bool) {
        (std::mem::take(&mut self.keys), std::mem::take(&mut self.is_all))
    }
}

/// From this number of unwritten changes on, the whole file is written again.
const MOST_NOTED: usize = 65_536;

/// How long the first change waits for others, so that a busy daemon does not wake the thread for each: many are written at
/// once, and of a reservation that has ended meanwhile its end alone.
const GATHER: Duration = Duration::from_millis(1);

/// The pause after a failure.
const PAUSE: Duration = Duration::from_secs(5);

impl Journal {
    /// Notes nothing until it is [written](Self::write).
    pub(super) fn new() -> Arc<Self> {
        let changed = Mutex::new(Changed { is_closed: true, ..Changed::default() });
        Arc::new(Self { changed, wake: Condvar::new(), failure: watch::Sender::new(None) })
    }

    /// Something has changed.
    pub(super) fn note(&self, key: Key) {
        let mut changed = self.changed();
        if changed.is_closed || changed.is_all {
            return;
        }
        let is_first = changed.keys.is_empty();
        changed.keys.insert(key);
        if changed.keys.len() >= MOST_NOTED {
            changed.keys.clear();
            changed.is_all = true;
        }
        drop(changed);
        if is_first {
            self.wake.notify_one();
        }
    }

    /// Writes everything to a file, and from now on what changes, on a thread of its own.
    ///
    /// - **Errors**: the thread cannot be started.
    pub(super) fn write(self: &Arc<Self>, path: PathBuf, system: String, lines: Lines) -> io::Result<Writer> {
        self.open();
        let journal = Arc::clone(self);
        let (end, ended) = oneshot::channel();
        let mut file = StateFile { path, log: StateLog::new(system, lines), file: None };
        let run = move || {
            while let Some((keys, is_all)) = journal.next() {
                if let Err(failure) = file.write(&keys, is_all) {
                    journal.failed(failure);
                    file.log.failed();
                    journal.pause();
                }
            }
            if journal.changed().is_removed {
                // Nothing is held any more; a file that stays says so of what has ended.
                let _ = fs::remove_file(&file.path);
            }
            // There may be no receiver.
            let _ = end.send(());
        };
        std::thread::Builder::new().name("gqos-state".into()).spawn(run)?;
        Ok(Writer { journal: Arc::clone(self), ended: Some(ended) })
    }

    /// From now on what changes is noted, and everything is to be written.
    pub(super) fn open(&self) {
        let mut changed = self.changed();
        (changed.is_closed, changed.is_all) = (false, true);
    }

    /// What has changed and is not written yet, without waiting; `None` where there is nothing.
    pub(super) fn noted(&self) -> Option<(BTreeSet<Key>, bool)> {
        let mut changed = self.changed();
        if changed.is_closed || (!changed.is_all && changed.keys.is_empty()) {
            return None;
        }
        Some(changed.take())
    }

    /// Writes nothing any more.
    fn close(&self, is_removed: bool) {
        *self.changed() = Changed { is_closed: true, is_removed, ..Changed::default() };
        self.wake.notify_all();
    }

    /// The first failure to write, once there is one.
    pub(super) fn failure(&self) -> watch::Receiver<Option<KernelFailure>> {
        self.failure.subscribe()
    }

    /// Waits for changes; `None` once the journal is closed.
    fn next(&self) -> Option<(BTreeSet<Key>, bool)> {
        let is_idle =
            |changed: &mut Changed| !changed.is_closed && !changed.is_all && changed.keys.is_empty();
        let waited = self.wake.wait_while(self.changed(), is_idle);
        let changed = waited.unwrap_or_else(PoisonError::into_inner);
        let is_open = |changed: &mut Changed| !changed.is_closed;
        let gathered = self.wake.wait_timeout_while(changed, GATHER, is_open);
        let (mut changed, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        if changed.is_closed {
            return None;
        }
        Some(changed.take())
    }

    fn failed(&self, why: KernelFailure) {
        self.changed().is_all = true;
        self.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(why);
            is_first
        });
    }

    fn pause(&self) {
        // The end of the journal ends the pause.
        let is_open = |changed: &mut Changed| !changed.is_closed;
        drop(self.wake.wait_timeout_while(self.changed(), PAUSE, is_open));
    }

    fn changed(&self) -> MutexGuard<'_, Changed> {
        // It is whole between any two statements that can panic.
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that writes. Dropped, it writes nothing any more.
pub(super) struct Writer {
    journal: Arc<Journal>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Writer {
    /// Removes the file, since nothing is held any more. A file system that does not answer is not waited for.
    pub(super) async fn remove(mut self) {
        self.journal.close(true);
        if let Some(ended) = self.ended.take() {
            let _ = tokio::time::timeout(PAUSE, ended).await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.ended.is_some() {
            self.journal.close(false);
        }
    }
}

/// The file, and what it says.
struct StateFile {
    path: PathBuf,
    log: StateLog,
    /// What the path named when it was written as a whole.
    file: Option<File>,
}

impl StateFile {
    fn write(&mut self, keys: &BTreeSet<Key>, is_all: bool) -> Result<(), KernelFailure> {
        match (self.log.next(keys, is_all), &mut self.file) {
            (StateWrite::Append(bytes), Some(file)) => {
                file.write_all(&bytes).map_err(failed("write", &self.path))
            }
            (StateWrite::Append(_), None) => {
                let whole = self.log.whole();
                self.replace(&whole)
            }
            (StateWrite::Replace(bytes), _) => self.replace(&bytes),
        }
    }

    /// Writes everything to a new file, which takes the place of the one before.
    fn replace(&mut self, bytes: &[u8]) -> Result<(), KernelFailure> {
        self.file = None;
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("unlink", &new)(error)),
            _ => {}
        }
        // A file of this name is never followed elsewhere, and other users do not read what is held.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
        let mut file = opened.map_err(failed("open", &new))?;
        file.write_all(bytes).map_err(failed("write", &new))?;
        fs::rename(&new, &self.path).map_err(failed("rename", &new))?;
        self.file = Some(file);
        Ok(())
    }
}

/// The failure of a call on a file.
fn failed(call: &str, path: &Path) -> impl FnOnce(io::Error) -> KernelFailure {
    move |error| KernelCall(call).failed(path.display().to_string(), error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::saved::read;
    use super::super::state_log::MOST_SURPLUS;
    use super::*;

    fn lines() -> Lines {
        Lines { of: Box::new(Key::ended), all: Box::new(Vec::new) }
    }

    #[track_caller]
    fn until(what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..10_000_000_u64 {
            if holds() {
                return;
            }
            std::thread::yield_now();
        }
        panic!("{what}");
    }

    #[test]
    fn changes_reach_the_file_which_nobody_else_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let journal = Journal::new();
        journal.note(Key::Flow("before".into()));
        let writer = journal.write(path.clone(), "s".into(), lines()).unwrap();
        until("the file is there", || path.exists());
        let length = || fs::metadata(&path).unwrap().len();
        let before = length();
        journal.note(Key::Flow("a".into()));
        until("a line is appended", || length() > before);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(read(&bytes, "s").map(|state| state.damaged), Ok(0));
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("\"a\"") && !text.contains("before"), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*journal.failure().borrow(), None);
        drop(writer);
        journal.note(Key::Flow("b".into()));
        assert!(journal.next().is_none() && path.exists());
    }

    #[tokio::test]
    async fn the_file_goes_with_what_it_is_about() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let writer = Journal::new().write(path.clone(), "s".into(), lines()).unwrap();
        until("the file is there", || path.exists());
        writer.remove().await;
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_reported_once_and_costs_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing/state");
        let journal = Journal::new();
        let _writer = journal.write(path, "s".into(), lines()).unwrap();
        let failure = journal.failure();
        until("the failure is reported", || failure.borrow().is_some());
        for number in 0..2 * MOST_NOTED {
            journal.note(Key::Flow(number.to_string()));
        }
        assert!(journal.changed().keys.len() < MOST_NOTED);
        let said = failure.borrow().clone().unwrap();
        assert_eq!((said.call.as_str(), said.errno()), ("open", Some(flowspec::Errno::ENOENT)), "{said}");
        assert!(said.object.ends_with("missing/state.new"), "{said}");
    }

    #[test]
    fn a_file_does_not_grow_without_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let mut file = StateFile { path: path.clone(), log: StateLog::new("s".into(), lines()), file: None };
        file.write(&BTreeSet::new(), true).unwrap();
        let empty = fs::metadata(&path).unwrap().len();
        for number in 0..=MOST_SURPLUS {
            file.write(&BTreeSet::from([Key::Flow(number.to_string())]), false).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), empty, "it was replaced");
    }
}
