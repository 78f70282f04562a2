//! Words that the prose of this repository does without.

use crate::source::{files, relative};

/// The folders and files with prose of our own.
const PLACES: &[&str] = &[
    ".ci",
    "CHANGELOG.md",
    "Cargo.toml",
    "README.md",
    "benches",
    "clippy.toml",
    "docs",
    "examples",
    "flowspec",
    "fuzz",
    "packaging",
    "rustfmt.toml",
    "shaper",
    "src",
    "tests",
    "winsock",
];

const KINDS: &[&str] = &[
    ".rs",
    ".md",
    ".toml",
    ".sh",
    ".c",
    ".h",
    ".py",
    ".service",
    ".socket",
    ".varlink",
    ".yml",
    "run",
    "sanitizers",
];

/// Where each refused word stands, a line each: `path:line: word`.
pub(crate) fn refused() -> Vec<String> {
    let (words, phrases) = lists();
    let mut found = Vec::new();
    for file in files(PLACES, KINDS) {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let path = relative(&file);
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            let mut stands = |what: &str| found.push(format!("{path}:{}: {what}", number + 1));
            // An underscore separates words: the names of tests are prose too.
            let mut split = line.split(|letter: char| !letter.is_alphanumeric());
            if let Some(word) = split.find(|word| words.contains(word)) {
                stands(word);
            }
            if let Some(phrase) = phrases.iter().find(|phrase| line.contains(**phrase)) {
                stands(phrase);
            }
        }
    }
    found
}

/// Single words, and phrases. They are kept in a file, because this test reads its own sources too.
fn lists() -> (Vec<&'static str>, Vec<&'static str>) {
    let entries =
        include_str!("refused_words.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    entries.partition(|entry| !entry.contains(' '))
}
