//! The file of the demo's report. It is opened before the run, so that a path that cannot be written costs no run.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use gqos::chart::{NotDrawn, svg};
use gqos::lab::demo::DemoResult;
use gqos::lab::report::{Provenance, html, picture};

use super::failure::{CommandFailure, Exit};

/// The path of a report, and what its extension asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ReportPath {
    path: PathBuf,
    format: DemoReportFormat,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DemoReportFormat {
    /// A page with everything.
    Html,
    /// The picture alone.
    Svg,
}

/// A file name that names no kind of report.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a report is an HTML page or an SVG picture: end its name in .html or .svg")]
pub(super) struct UnknownFormat;

/// An open file for a report. A file that was made for a report that is not written is removed.
pub(super) struct ReportFile {
    path: PathBuf,
    format: DemoReportFormat,
    file: File,
    /// Whether dropping it removes it.
    is_unwritten: bool,
}

/// The width of a picture that stands alone, in pixels.
const WIDTH: u32 = 830;

impl ReportPath {
    pub(super) fn new(path: PathBuf) -> Result<Self, UnknownFormat> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let format = match extension.as_deref() {
            Some("html" | "htm") => DemoReportFormat::Html,
            Some("svg") => DemoReportFormat::Svg,
            _ => return Err(UnknownFormat),
        };
        Ok(Self { path, format })
    }

    /// Opens the file for writing and leaves its content as it is.
    pub(super) fn open(&self) -> Result<ReportFile, CommandFailure> {
        let Self { path, format } = self.clone();
        let mut options = OpenOptions::new();
        options.write(true);
        let opened = match options.clone().create_new(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                options.open(&path).map(|file| (file, false))
            }
            opened => opened.map(|file| (file, true)),
        };
        match opened {
            Ok((file, is_unwritten)) => Ok(ReportFile { path, format, file, is_unwritten }),
            Err(error) => Err(CommandFailure::os("open", path.display(), error)),
        }
    }
}

impl ReportFile {
    /// Writes the report in place of the file's content.
    pub(super) fn write(
        mut self,
        outcome: &DemoResult,
        provenance: &Provenance,
    ) -> Result<(), CommandFailure> {
        let text = match self.format {
            DemoReportFormat::Html => html(outcome, provenance),
            DemoReportFormat::Svg => svg(&picture(outcome, "gqos-demo"), WIDTH),
        };
        let text = text.map_err(|error: NotDrawn| CommandFailure::new(Exit::OsError, error))?;
        let written = self.file.set_len(0).and_then(|()| self.file.write_all(text.as_bytes()));
        written.map_err(|error| CommandFailure::os("write", self.path.display(), error))?;
        self.is_unwritten = false;
        eprintln!("The report is in {}", self.path.display());
        Ok(())
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        if self.is_unwritten {
            // It is empty; where it cannot be removed, it does no harm.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_names_the_kind_of_report() {
        let format = |path: &str| ReportPath::new(path.into()).map(|path| path.format);
        for path in ["x.html", "a/b.c/x.HTML", "x.htm"] {
            assert_eq!(format(path), Ok(DemoReportFormat::Html), "{path}");
        }
        assert_eq!(format("x.svg"), Ok(DemoReportFormat::Svg));
        for path in ["x.pdf", "x.svg.png", "x", ".html", "html", ""] {
            assert_eq!(format(path), Err(UnknownFormat), "{path}");
        }
    }

    #[test]
    fn a_report_that_is_not_written_leaves_no_file_and_changes_none() {
        let directory = tempfile::tempdir().unwrap();
        let (new, old) = (directory.path().join("new.svg"), directory.path().join("old.svg"));
        std::fs::write(&old, "before").unwrap();
        for path in [&new, &old] {
            let report = ReportPath::new(path.clone()).unwrap().open().unwrap();
            assert!(path.exists());
            drop(report);
        }
        assert!(!new.exists());
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "before");
    }
}
