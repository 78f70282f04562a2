//! The files of the audit log: the current one, and its predecessors by rotation.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flowspec::Moment;

/// The file that is written, whose predecessors are PATH.1, PATH.2 and so on, the newest first.
#[derive(Debug)]
pub(super) struct AuditFiles {
    path: PathBuf,
    keep: usize,
    file: File,
    length: u64,
}

/// Readable by the daemon's group, and written by the daemon alone.
const MODE: u32 = 0o640;

/// A header has the paths of the policy's files; in bytes.
const LONGEST_FIRST_LINE: u64 = 1 << 20;

impl AuditFiles {
    /// Opens the file at its end. A last line that a crash has torn keeps a line of its own.
    pub(super) fn open(path: &Path, keep: usize) -> io::Result<Self> {
        let mut file = open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        let mut files = Self { path: path.to_owned(), keep, file, length };
        if length > 0 && files.last_byte()? != b'\n' {
            files.append(b"\n")?;
        }
        Ok(files)
    }

    /// The bytes of the current file.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// The time of the current file's first record, from 1970 on; `None` where that cannot be read.
    pub(super) fn first_record(&mut self) -> Option<Moment> {
        self.file.seek(SeekFrom::Start(0)).ok()?;
        let mut line = Vec::new();
        BufReader::new(&self.file).take(LONGEST_FIRST_LINE).read_until(b'\n', &mut line).ok()?;
        // What is written goes to the end in any case.
        let record: serde_json::Value = serde_json::from_slice(&line).ok()?;
        record.get("at_us")?.as_u64().map(Moment::from_micros)
    }

    fn last_byte(&mut self) -> io::Result<u8> {
        let mut last = [0];
        self.file.seek(SeekFrom::End(-1))?;
        self.file.read_exact(&mut last)?;
        Ok(last[0])
    }

    /// Writes whole lines, or none of them.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        match self.file.write_all(lines) {
            Ok(()) => {
                self.length += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Where this fails too, the next line ends the torn one, and readers skip it.
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }

    /// Begins a new file. The oldest of those that are kept is overwritten.
    pub(super) fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            match std::fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.path, self.numbered(1))?;
        self.file = open(&self.path)?;
        self.length = self.file.seek(SeekFrom::End(0))?;
        Ok(())
    }

    /// Whether the file was removed or replaced by another program, such as logrotate.
    pub(super) fn is_replaced(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        match (std::fs::metadata(&self.path), self.file.metadata()) {
            (Ok(named), Ok(open)) => (named.dev(), named.ino()) != (open.dev(), open.ino()),
            (Err(error), _) => error.kind() == io::ErrorKind::NotFound,
            (_, Err(_)) => false,
        }
    }

    /// Opens the file of the name again.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        // It may be the same file, which this process has locked.
        let _ = self.file.unlock();
        *self = Self::open(&self.path, self.keep)?;
        Ok(())
    }

    fn numbered(&self, number: usize) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

/// Opens the file for this process alone.
///
/// - **Errors**: another process writes it ([`io::ErrorKind::WouldBlock`]), or `open` fails.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        // A file system without locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_file_goes_when_there_are_as_many_as_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let mut files = AuditFiles::open(&path, 2).unwrap();
        for number in 0..4 {
            files.append(format!("{number}\n").as_bytes()).unwrap();
            files.rotate().unwrap();
        }
        assert_eq!(names(directory.path()), ["audit", "audit.1", "audit.2"]);
        assert_eq!(std::fs::read_to_string(directory.path().join("audit.1")).unwrap(), "3\n");
        assert_eq!(std::fs::read_to_string(directory.path().join("audit.2")).unwrap(), "2\n");
    }

    #[test]
    fn a_fifo_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(AuditFiles::open(&path, 1).unwrap_err().kind(), io::ErrorKind::NotSeekable);
    }

    #[test]
    fn a_file_has_one_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let mut files = AuditFiles::open(&path, 1).unwrap();
        let is_taken =
            || AuditFiles::open(&path, 1).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        assert!(is_taken());
        files.append(b"1\n").unwrap();
        files.rotate().unwrap();
        assert!(is_taken());
        drop(files);
        assert!(!is_taken());
    }

    #[test]
    fn a_torn_line_keeps_a_line_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        std::fs::write(&path, "whole\nto").unwrap();
        let mut files = AuditFiles::open(&path, 1).unwrap();
        files.append(b"next\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nto\nnext\n");
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let mut files = AuditFiles::open(&path, 1).unwrap();
        assert!(!files.is_replaced());
        std::fs::rename(&path, directory.path().join("moved")).unwrap();
        assert!(files.is_replaced());
        files.reopen().unwrap();
        files.append(b"1\n").unwrap();
        assert!(!files.is_replaced());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
    }
}
