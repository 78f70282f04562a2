//! Policy files: reads paths and checks the policy.
//!
//! Takes paths; returns a [`Policy`], or a [`PolicyError`] with the text that `gqos check` prints. The module
//! `policy` itself reads no files: [`Policy::parse`] takes texts.
//!
//! Most programs need only [`Policy::from_path`] or [`Policy::from_paths`]. A program that also shows warnings, or
//! reads its files again, keeps [`PolicyFiles`].
//!
//! ```
//! use gqos::files::PolicyFiles;
//!
//! let files = PolicyFiles::read(["examples/policies/streaming.toml"])?;
//! let (policy, warnings) = files.check()?;
//! for warning in &warnings {
//!     eprintln!("{}\n", files.render(warning));
//! }
//! assert!(policy.templates.contains_key("720p"));
//! # Ok::<(), gqos::files::PolicyError>(())
//! ```

use std::fmt;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::str::FromStr;

use crate::failure::{KernelCall, KernelFailure};
use crate::policy::mark::without_mark;
use crate::policy::{Code, Place, Policy, Problem, Source};

/// The texts of one or more policy files, in the order in which they merge.
///
/// ```
/// use gqos::files::PolicyFiles;
///
/// match PolicyFiles::read_all(["examples/policies/streaming.toml"]).check() {
///     Ok((policy, warnings)) => {
///         println!("{} templates, {} warnings", policy.templates.len(), warnings.len());
///     }
///     // Every problem with its place, as `gqos check` shows it.
///     Err(invalid) => eprintln!("{invalid}"),
/// }
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PolicyFiles(Vec<PolicyFile>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct PolicyFile {
    name: String,
    /// Empty if the file cannot be read.
    text: String,
    /// Why it cannot be read.
    unreadable: Option<Unreadable>,
}

/// Why a file has no text.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Unreadable {
    Kernel(KernelFailure),
    /// The first byte that is not UTF-8.
    NotUtf8(usize),
    Fifo,
}

/// Why there is no policy.
///
/// Its text is for people: an invalid policy is shown as `gqos check` shows it, every problem with its place, its code,
/// the line and how to correct it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] KernelFailure),
    /// A file is not text.
    #[error("{path}: not UTF-8 from byte {offset} on")]
    NotUtf8 {
        /// As it was given on the command line or found in a folder.
        path: String,
        /// The first byte that is not UTF-8.
        offset: usize,
    },
    /// A file is a named pipe.
    #[error("{path}: a named pipe, for whose writer a reader would wait; a policy is in a file")]
    Fifo {
        /// As it was given on the command line or found in a folder.
        path: String,
    },
    /// The policy has errors.
    #[error(transparent)]
    Invalid(#[from] InvalidPolicy),
}

/// The problems of a policy, with the texts in which they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidPolicy {
    files: PolicyFiles,
    problems: Vec<Problem>,
}

impl Policy {
    /// Reads and checks the policy in a file. Warnings are dropped: [`PolicyFiles`] keeps them.
    ///
    /// ```
    /// use gqos::policy::Policy;
    ///
    /// let policy = Policy::from_path("examples/policies/streaming.toml")?;
    /// assert_eq!(policy.classes["viewer"].max_flows, Some(500));
    ///
    /// let error = Policy::from_path("policy.toml").expect_err("no such file");
    /// assert_eq!(error.to_string(), "open (policy.toml): No such file or directory (ENOENT)");
    /// # Ok::<(), gqos::files::PolicyError>(())
    /// ```
    ///
    /// - **Errors**: the file cannot be read; every error of the policy.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        Self::from_paths([path])
    }

    /// Reads and checks the policy in several files, which merge in the order given. A definition that is in two of
    /// them is an error that names both places.
    ///
    /// - **Errors**: one file that cannot be read; of several, every one that cannot be read and every error of the others.
    pub fn from_paths<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, PolicyError> {
        let files = PolicyFiles::read_all(paths);
        let files = if files.0.len() > 1 { files } else { files.all_readable()? };
        let (policy, _) = files.check()?;
        Ok(policy)
    }
}

/// A policy from its text. Warnings are dropped.
///
/// ```
/// use gqos::policy::Policy;
///
/// let policy: Policy = "version = 1\n[class.viewer]\nmax_flows = 500\n".parse()?;
/// assert_eq!(policy.classes["viewer"].max_flows, Some(500));
/// # Ok::<(), gqos::files::InvalidPolicy>(())
/// ```
impl FromStr for Policy {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, InvalidPolicy> {
        let (policy, _) = PolicyFiles::of_text(Source { name: "policy", text }).check()?;
        Ok(policy)
    }
}

impl PolicyFiles {
    /// Reads files, each without a byte order mark.
    ///
    /// - **Errors**: the first file that cannot be read, or that is not UTF-8.
    pub fn read<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, PolicyError> {
        Self::read_all(paths).all_readable()
    }

    /// Reads files, each without a byte order mark. A file that cannot be read is a problem of [`check`](Self::check),
    /// which reports it beside the problems of the others.
    pub fn read_all<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self(paths.into_iter().map(|path| PolicyFile::read(path.as_ref())).collect())
    }

    /// - **Errors**: the first file that cannot be read.
    fn all_readable(self) -> Result<Self, PolicyError> {
        match self.0.iter().find_map(PolicyFile::error) {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// A text that is in no file; messages give the source's name.
    pub fn of_text(source: Source<'_>) -> Self {
        let Source { name, text } = source;
        Self(vec![PolicyFile { name: name.to_owned(), text: text.to_owned(), unreadable: None }])
    }

    /// Checks the policy. The problems beside it are warnings.
    ///
    /// - **Errors**: every problem, in the order of their places; the place of a file that cannot be read is its start.
    pub fn check(&self) -> Result<(Policy, Vec<Problem>), InvalidPolicy> {
        let sources = self.sources();
        let unreadable: Vec<_> =
            (0..).zip(&self.0).filter_map(|(number, file)| file.problem(number)).collect();
        let checked = if unreadable.is_empty() {
            Policy::parse(&sources)
        } else {
            Err(Policy::problems_beside(&sources, unreadable))
        };
        checked.map_err(|problems| InvalidPolicy { files: self.clone(), problems })
    }

    /// A problem of [`check`](Self::check) as text: [`Problem::render`].
    pub fn render(&self, problem: &Problem) -> String {
        problem.render(&self.sources())
    }

    /// The files as sources, for [`Policy::parse`] and for places.
    pub fn sources(&self) -> Vec<Source<'_>> {
        self.0.iter().map(|file| Source { name: &file.name, text: &file.text }).collect()
    }
}

impl PolicyFile {
    fn read(path: &Path) -> Self {
        let name = path.display().to_string();
        match text_of(path, &name) {
            Ok(text) => Self { name, text, unreadable: None },
            Err(unreadable) => Self { name, text: String::new(), unreadable: Some(unreadable) },
        }
    }

    fn error(&self) -> Option<PolicyError> {
        Some(match self.unreadable.clone()? {
            Unreadable::Kernel(failure) => PolicyError::Read(failure),
            Unreadable::NotUtf8(offset) => PolicyError::NotUtf8 { path: self.name.clone(), offset },
            Unreadable::Fifo => PolicyError::Fifo { path: self.name.clone() },
        })
    }

    /// The problem of a file that cannot be read; `number` is its place among the sources.
    fn problem(&self, number: usize) -> Option<Problem> {
        let error = self.error()?;
        let place = Place { source: number, ..Place::default() };
        Some(Problem::new(Code::Unreadable, place, error.to_string()))
    }
}

/// The longest file that is read, in bytes: longer than a policy may be, and than the message says that it is too long.
/// A device has no end.
const LONGEST_FILE: u64 = 64 << 20;

/// Whether a path is a FIFO in a file system. A pipe of this process, as `/dev/stdin`, has no name there.
fn is_fifo(path: &Path) -> bool {
    let is_pipe = std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    is_pipe && std::fs::canonicalize(path).is_ok()
}

fn text_of(path: &Path, name: &str) -> Result<String, Unreadable> {
    // Without a writer, `open` would never return.
    if is_fifo(path) {
        return Err(Unreadable::Fifo);
    }
    let failure = |error| Unreadable::Kernel(KernelCall("open").failed(name, error));
    let file = std::fs::File::open(path).map_err(failure)?;
    let failure = |error| Unreadable::Kernel(KernelCall("read").failed(name, error));
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE + 1).read_to_end(&mut bytes).map_err(failure)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(failure(std::io::ErrorKind::FileTooLarge.into()));
    }
    let text =
        String::from_utf8(bytes).map_err(|error| Unreadable::NotUtf8(error.utf8_error().valid_up_to()))?;
    Ok(without_mark(&text).to_owned())
}

impl InvalidPolicy {
    /// The problems, in the order of their places: errors, and warnings of the same files.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether the operating system refused to read files, and nothing else is wrong.
    pub fn is_refused_by_system(&self) -> bool {
        let refused = |file: &PolicyFile| matches!(file.unreadable, Some(Unreadable::Kernel(_)));
        self.problems.iter().all(|problem| {
            problem.code == Code::Unreadable && self.files.0.get(problem.place.source).is_some_and(refused)
        })
    }

    /// The files, for the places of the problems.
    pub const fn files(&self) -> &PolicyFiles {
        &self.files
    }
}

impl fmt::Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.files.0.iter().map(|file| file.name.as_str()).collect();
        let is = if names.len() == 1 { "is" } else { "are" };
        let (count, names) = (self.problems.len(), names.join(", "));
        write!(f, "{names} {is} not a valid policy: {count} problem{}", if count == 1 { "" } else { "s" })?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n\n{}", self.files.render(problem)))
    }
}

impl std::error::Error for InvalidPolicy {}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// Reads these texts as files `0.toml`, `1.toml`, …; in the error's text the directory is left out.
    #[track_caller]
    fn check(name: &str, texts: &[&[u8]], expected: Result<&[&str], &str>) {
        let directory = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            (0..texts.len()).map(|number| directory.path().join(format!("{number}.toml"))).collect();
        for (path, text) in paths.iter().zip(texts) {
            std::fs::write(path, text).unwrap();
        }
        let policy = Policy::from_paths(&paths)
            .map_err(|error| error.to_string().replace(&format!("{}/", directory.path().display()), ""));
        let classes = policy.map(|policy| policy.classes.into_keys().collect::<Vec<_>>());
        let expected = expected.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(classes, expected.map_err(str::to_owned), "{name}");
    }

    #[test]
    #[cfg(feature = "host")]
    fn a_named_pipe_is_refused_without_waiting_and_a_pipe_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.toml");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let refused = Policy::from_path(&path).map(drop);
        assert_eq!(refused, Err(PolicyError::Fifo { path: path.display().to_string() }));

        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"version = 1\n[class.a]\n").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        assert_eq!(Policy::from_path(path).map(|policy| policy.classes.len()), Ok(1));
    }

    #[test]
    fn files_merge_in_the_order_given() {
        check("one", &[b"version = 1\n[class.a]\n"], Ok(&["a"]));
        check("a byte order mark", &["\u{feff}version = 1\n[class.a]\n".as_bytes()], Ok(&["a"]));
        check("two", &[b"version = 1\n[class.b]\n", b"version = 1\n[class.a]\n"], Ok(&["a", "b"]));
        check(
            "the same class in both",
            &[b"version = 1\n[class.a]\n", b"version = 1\n[class.a]\n"],
            Err("0.toml, 1.toml are not a valid policy: 1 problem\n\n\
                 error[GQ0009]: class.a is defined a second time\n \
                 --> 1.toml:2:8\n  |\n2 | [class.a]\n  |        ^\n  |\n ::: 0.toml:2:8\n  |\n\
                 2 | [class.a]\n  |        - first defined here"),
        );
    }

    #[test]
    fn the_system_refuses_or_the_file_is_invalid() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["absent.toml", "bad.toml", "gone.toml"].map(|name| directory.path().join(name));
        std::fs::write(&paths[1], "version = 2\n").unwrap();
        let problems = |paths: &[PathBuf]| {
            let invalid = PolicyFiles::read_all(paths).check().unwrap_err();
            let codes: Vec<_> = invalid.problems().iter().map(|problem| problem.code).collect();
            (codes, invalid.is_refused_by_system())
        };
        assert_eq!(problems(&paths), (vec![Code::Unreadable, Code::Version, Code::Unreadable], false));
        assert_eq!(problems(&paths[2..]), (vec![Code::Unreadable], true));
        let error = Policy::from_paths(&paths).unwrap_err().to_string();
        assert!(error.contains("gone.toml): No such file or directory (ENOENT)"), "{error}");
    }

    #[test]
    fn an_invalid_policy_shows_every_problem() {
        check(
            "two problems",
            &[b"[clas.viewer]\n"],
            Err("0.toml is not a valid policy: 2 problems\n\n\
                 error[GQ0004]: the policy needs version = 1\n --> 0.toml:1:1\n  |\n1 | [clas.viewer]\n  | ^\n\n\
                 error[GQ0002]: the policy has no key \"clas\"\n --> 0.toml:1:2\n  |\n1 | [clas.viewer]\n  \
                 |  ^^^^\n  |\n  = help: did you mean \"class\"?"),
        );
        check("not text", &[b"version = 1 # \xff"], Err("0.toml: not UTF-8 from byte 14 on"));
        check(
            "not text, and another file with an unknown key and a name that the first one may define",
            &[
                b"version = 1 # \xff",
                b"version = 1\ntop = 1\n[group.a]\ninterface = \"eth0\"\nclass = \"b\"\n\
                  sending = { service_type = \"guaranteed\", token_rate = \"1 Mbit/s\" }\n",
            ],
            Err("0.toml, 1.toml are not a valid policy: 2 problems\n\n\
                 error[GQ0014]: 0.toml: not UTF-8 from byte 14 on\n\n\
                 error[GQ0002]: the policy has no key \"top\"\n --> 1.toml:2:1\n  |\n2 | top = 1\n  | ^^^\n  |\n  \
                 = help: the keys are version, interface, template, class, group, client, proxy, daemon, preemption, dead_after, \
                 stalled_after, rule"),
        );
    }
}
