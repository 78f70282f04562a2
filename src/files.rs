//! Policy files: from paths to a checked policy.
//!
//! Takes paths; gives a [`Policy`], or a [`PolicyError`] whose text is what `gqos check` prints. The policy itself knows
//! no files: [`Policy::parse`] takes texts.
//!
//! [`Policy::from_path`] and [`Policy::from_paths`] are the short way. A program that shows warnings as well, or reads
//! its files again, keeps [`PolicyFiles`].
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
use std::path::Path;
use std::str::FromStr;

use crate::failure::KernelFailure;
use crate::policy::{Policy, Problem, Source};

/// The bytes that editors on Windows write at the start of a text in UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The texts of one or more policy files, in the order in which they merge.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PolicyFiles(Vec<PolicyFile>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct PolicyFile {
    name: String,
    text: String,
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
        /// The file.
        path: String,
        /// The first byte that is not UTF-8.
        offset: usize,
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
    /// - **Errors**: a file cannot be read; every error of the policy.
    pub fn from_paths<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, PolicyError> {
        let (policy, _) = PolicyFiles::read(paths)?.check()?;
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
        let (policy, _) = PolicyFiles::of_text("policy", text).check()?;
        Ok(policy)
    }
}

impl PolicyFiles {
    /// Reads files, each without a byte order mark.
    ///
    /// - **Errors**: the first file that cannot be read, or that is not UTF-8.
    pub fn read<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, PolicyError> {
        paths.into_iter().map(|path| PolicyFile::read(path.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// A text that is in no file, by this name in messages.
    pub fn of_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self(vec![PolicyFile { name: name.into(), text: text.into() }])
    }

    /// Checks the policy. The problems beside it are warnings.
    ///
    /// - **Errors**: every problem, in the order of their places.
    pub fn check(&self) -> Result<(Policy, Vec<Problem>), InvalidPolicy> {
        Policy::parse(&self.sources()).map_err(|problems| InvalidPolicy { files: self.clone(), problems })
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
    fn read(path: &Path) -> Result<Self, PolicyError> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| KernelFailure::new("open", &*name, error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            PolicyError::NotUtf8 { path: name.clone(), offset }
        })?;
        let text = text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text);
        Ok(Self { name, text })
    }
}

impl InvalidPolicy {
    /// The problems, in the order of their places: errors, and warnings of the same files.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
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
    }
}
