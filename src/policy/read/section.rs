//! Reads a TOML table key by key. A value that cannot be read is noted as a problem, and reading goes on.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use serde_json::json;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::ordered::OrderedSet;
use crate::policy::code::Code;
use crate::policy::place::Place;
use crate::policy::problem::Problem;
use crate::policy::problems::Problems;

/// A table that is being read. It records which keys were read, so that [`Section::finish`] can report the others.
pub(crate) struct Section<'a> {
    problems: &'a Problems,
    table: &'a DeTable<'a>,
    /// The name of the whole file in messages, for the table at the top.
    file: &'static str,
    /// The path of the table as it is written in messages: `interface.eth0.egress`; empty at the top.
    pub(crate) path: String,
    pub(crate) place: Place,
    known: RefCell<Vec<&'a str>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// The least similarity, from 0 to 1, at which a known name is suggested for an unknown one.
const SIMILAR: f64 = 0.7;

impl<'a> Section<'a> {
    /// The table at the top of a source; `file` names the source in messages: "the policy".
    pub(crate) fn top(
        problems: &'a Problems,
        table: &'a DeTable<'a>,
        file: &'static str,
        source: usize,
    ) -> Self {
        let place = Place { source, ..Place::default() };
        Self { problems, table, file, path: String::new(), place, known: RefCell::default() }
    }

    /// All entries, for a table whose keys are names.
    pub(crate) fn entries(
        &self,
    ) -> impl Iterator<Item = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        self.table.iter()
    }

    /// A place in the section's source.
    pub(crate) fn at(&self, span: Range<usize>) -> Place {
        Place { source: self.place.source, span, ..Place::default() }
    }

    /// The place of a key's value, if the key is present.
    pub(crate) fn place_of(&self, key: &str) -> Option<Place> {
        self.table.get(key).map(|value| self.at(value.span()))
    }

    /// The path of a key as it is written in messages.
    pub(crate) fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// A message about the whole table.
    pub(crate) fn about(&self, message: impl Display) -> String {
        if self.path.is_empty() { message.to_string() } else { format!("{}: {message}", self.path) }
    }

    /// Adds a problem to those of the file; reading goes on.
    pub(crate) fn problem(&self, code: Code, place: &Place, message: impl Into<String>) {
        self.problems.note(code, place.clone(), message);
    }

    /// How many problems the file has so far.
    #[cfg(feature = "scenario")]
    pub(crate) fn problem_count(&self) -> usize {
        self.problems.count()
    }

    /// Removes the problems with a code, except the first ones: what was read is meant to be like that.
    #[cfg(feature = "scenario")]
    pub(crate) fn withdraw(&self, code: Code, except_first: usize) {
        self.problems.withdraw(code, except_first);
    }

    /// Adds a problem that has more than a message.
    pub(crate) fn add(&self, problem: Problem) {
        self.problems.add(problem);
    }

    /// The value of a key, of any type. The key counts as known from now on.
    pub(crate) fn raw(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Leaves an entry out of the unknown keys: it has a problem of its own.
    pub(crate) fn pass_over(&self, key: &'a str) {
        self.known.borrow_mut().push(key);
    }

    /// Whether the key is present.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Reads a table; a value of another type is a problem.
    pub(crate) fn section(&self, key: &'static str) -> Option<Self> {
        self.problems.record_form(&self.path, key, || json!({ "type": "object" }));
        let value = self.raw(key)?;
        self.subsection(key, value)
    }

    /// A value as a table; a problem where it is of another type.
    pub(crate) fn subsection(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Self> {
        let place = self.at(value.span());
        let path = join(&self.path, key);
        match value.get_ref() {
            DeValue::Table(table) => {
                let (problems, file) = (self.problems, self.file);
                Some(Self { problems, table, file, path, place, known: RefCell::default() })
            }
            other => {
                self.wrong_type(&path, &place, "a table", other);
                None
            }
        }
    }

    /// An array of tables.
    pub(crate) fn sections(&self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(array) => array.iter().filter_map(|entry| self.subsection(key, entry)).collect(),
            other => {
                let expected = format!("an array of tables ([[{key}]])");
                self.wrong_type(key, &self.at(value.span()), &expected, other);
                Vec::new()
            }
        }
    }

    /// Reads a string; a value of another type is a problem.
    pub(crate) fn string(&self, key: &'static str) -> Option<Placed<&'a str>> {
        self.problems.record_form(&self.path, key, || json!({ "type": "string" }));
        let value = self.raw(key)?;
        self.as_string(&join(&self.path, key), value)
    }

    /// As [`Self::string`], without the place.
    pub(crate) fn text(&self, key: &'static str) -> Option<String> {
        self.string(key).map(|text| text.value.to_owned())
    }

    /// A string or a list of strings; the list may be empty.
    #[cfg(feature = "scenario")]
    pub(crate) fn strings(&self, key: &'static str) -> Option<Vec<Placed<&'a str>>> {
        let form = || json!({ "type": ["string", "array"], "items": { "type": "string" } });
        self.problems.record_form(&self.path, key, form);
        let value = self.raw(key)?;
        let path = join(&self.path, key);
        Some(match value.get_ref() {
            DeValue::Array(array) => array.iter().filter_map(|entry| self.as_string(&path, entry)).collect(),
            _ => self.as_string(&path, value).into_iter().collect(),
        })
    }

    /// The words that a key takes, for the JSON schema.
    #[cfg(feature = "scenario")]
    pub(crate) fn record_words(&self, key: &'static str, words: &[&str]) {
        self.problems.record_form(&self.path, key, || json!({ "type": "string", "enum": words }));
    }

    /// A value as a string; a problem where it is of another type.
    pub(crate) fn as_string(&self, path: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Placed<&'a str>> {
        let place = self.at(value.span());
        match value.get_ref() {
            DeValue::String(text) => Some(Placed { value: text.as_ref(), place }),
            other => {
                self.wrong_type(path, &place, "a string", other);
                None
            }
        }
    }

    /// A rate, size, time or share. A bare number is the most common mistake; it gets the same message, with both
    /// readings, as it would inside quotes.
    pub(crate) fn quantity<T>(&self, key: &'static str) -> Option<Placed<T>>
    where
        T: FromStr<Err: Display>,
    {
        let form =
            || json!({ "type": "string", "description": kind_of::<T>(), "pattern": pattern_of::<T>() });
        self.problems.record_form(&self.path, key, form);
        let value = self.raw(key)?;
        let place = self.at(value.span());
        let path = join(&self.path, key);
        let text = match value.get_ref() {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            other => {
                self.wrong_type(&path, &place, "a string with a unit", other);
                return None;
            }
        };
        match text.parse::<T>() {
            Ok(parsed) if matches!(value.get_ref(), DeValue::String(_)) => {
                Some(Placed { value: parsed, place })
            }
            Ok(_) => {
                self.problem(Code::WrongType, &place, format!("{path}: quotes are missing: \"{text}\""));
                None
            }
            Err(error) => {
                self.problem(Code::BadUnit, &place, format!("{path}: {error}"));
                None
            }
        }
    }

    /// A whole number within a range.
    pub(crate) fn integer(&self, key: &'static str, range: RangeInclusive<u64>) -> Option<Placed<u64>> {
        self.problems.record_form(&self.path, key, || {
            let mut form = json!({ "type": "integer", "minimum": range.start() });
            if *range.end() < u64::MAX {
                form["maximum"] = json!(range.end());
            }
            form
        });
        let value = self.raw(key)?;
        let place = self.at(value.span());
        let path = join(&self.path, key);
        let DeValue::Integer(number) = value.get_ref() else {
            self.wrong_type(&path, &place, "an integer", value.get_ref());
            return None;
        };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) if range.contains(&number) => Some(Placed { value: number, place }),
            read => {
                let (least, most) = (range.start(), range.end());
                let is_too_large = read.is_err() && !number.as_str().starts_with('-');
                let limits = if *most == u64::MAX && is_too_large {
                    format!("at most {most}")
                } else if *most == u64::MAX {
                    format!("at least {least}")
                } else {
                    format!("{least} to {most}")
                };
                let message = format!("{path}: {} is not allowed: {limits}", number.as_str());
                self.problem(Code::BadValue, &place, message);
                None
            }
        }
    }

    /// Reads a boolean; a value of another type is a problem.
    pub(crate) fn flag(&self, key: &'static str) -> Option<Placed<bool>> {
        self.problems.record_form(&self.path, key, || json!({ "type": "boolean" }));
        let value = self.raw(key)?;
        let place = self.at(value.span());
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(Placed { value: *flag, place }),
            other => {
                self.wrong_type(&join(&self.path, key), &place, "true or false", other);
                None
            }
        }
    }

    /// A decimal number from 1 to 1000, exact to thousandths.
    pub(crate) fn thousandths(&self, key: &'static str) -> Option<Placed<u64>> {
        let form = || json!({ "type": "number", "minimum": 1, "maximum": 1000 });
        self.problems.record_form(&self.path, key, form);
        let value = self.raw(key)?;
        let place = self.at(value.span());
        let path = join(&self.path, key);
        let text = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            other => {
                self.wrong_type(&path, &place, "a number", other);
                return None;
            }
        };
        let parsed = thousandths(text);
        if parsed.is_none() {
            let message =
                format!("{path}: {text} is not a number from 1 to 1000 with at most three decimals");
            self.problem(Code::BadValue, &place, message);
        }
        parsed.map(|value| Placed { value, place })
    }

    /// One of several words, each with the value it stands for.
    pub(crate) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<Placed<T>> {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let Placed { value: number, place } = self.word(key, &words)?;
        Some(Placed { value: choices[number].1, place })
    }

    /// One of several words, as its number among them.
    fn word(&self, key: &'static str, words: &[&str]) -> Option<Placed<usize>> {
        let text = self.string(key);
        self.problems.record_form(&self.path, key, || json!({ "type": "string", "enum": words }));
        let text = text?;
        let found = words.iter().position(|word| *word == text.value);
        if found.is_none() {
            let path = join(&self.path, key);
            let message = format!("{path}: {:?} is not one of {}", text.value, words.join(", "));
            let help =
                nearest(text.value, words.iter().copied()).map(|name| format!("did you mean {name:?}?"));
            let problem = Problem::new(Code::BadValue, text.place.clone(), message);
            self.problems.add(problem.with_help(help));
        }
        found.map(|value| Placed { value, place: text.place })
    }

    /// One value or an array of them.
    pub(crate) fn each<T>(
        &self,
        key: &'static str,
        read: impl Fn(&Self, &'a Spanned<DeValue<'a>>) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            return read(self, value).into_iter().collect();
        };
        if array.is_empty() {
            let message = format!("{}.{key}: an empty list matches nothing", self.path);
            self.problem(Code::BadValue, &self.at(value.span()), message);
        }
        array.iter().filter_map(|entry| read(self, entry)).collect()
    }

    /// Notes that a required key is missing.
    pub(crate) fn missing(&self, key: &str) {
        let message = format!("{} needs {key}", self.name());
        self.problem(Code::MissingKey, &self.place, message);
    }

    /// Adds the problem [`Code::WrongType`], with the type that was expected and the one that was found.
    pub(crate) fn wrong_type(&self, path: &str, place: &Place, expected: &str, found: &DeValue<'_>) {
        let found = with_article(found.type_str());
        self.problem(Code::WrongType, place, format!("{path}: expected {expected}, found {found}"));
    }

    /// Whether it has a key that was not read so far.
    #[cfg(feature = "scenario")]
    pub(crate) fn has_unread(&self) -> bool {
        let known = self.known.borrow();
        self.table.iter().any(|(key, _)| !known.contains(&key.get_ref().as_ref()))
    }

    /// Notes every key that was not read as unknown.
    pub(crate) fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let message = format!("{} has no key {name:?}", self.name());
            let help = match nearest(name, known.iter().copied()) {
                // It would be there twice.
                Some(near) if self.table.get(near).is_some() => format!("{near:?} is set already"),
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("the keys are {}", each_once(&known).join(", ")),
            };
            let problem = Problem::new(Code::UnknownKey, self.at(key.span()), message);
            self.problems.add(problem.with_help(Some(help)));
        }
    }

    fn name(&self) -> &str {
        if self.path.is_empty() { self.file } else { &self.path }
    }
}

/// The names at the key `template`, best first. One that stands there twice is tried once.
pub(super) fn templates<'a>(section: &Section<'a>) -> Vec<Placed<&'a str>> {
    let path = section.path_of("template");
    let templates = section.each("template", |section, value| section.as_string(&path, value));
    for (number, name) in templates.iter().enumerate() {
        if templates[..number].iter().any(|before| before.value == name.value) {
            let message = format!("{path}: {:?} is named twice; the first that fits is taken", name.value);
            section.problem(Code::BadValue, &name.place, message);
        }
    }
    templates
}

/// The known name that is most similar to a text, if one is similar enough.
pub(crate) fn nearest<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let similarity = |name: &str| strsim::jaro_winkler(&name.to_lowercase(), &text.to_lowercase());
    let best = names.map(|name| (similarity(name), name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > SIMILAR).then_some(best.1)
}

/// How a quantity is written, for the JSON schema.
fn kind_of<T>() -> &'static str {
    match std::any::type_name::<T>().rsplit("::").next() {
        Some("Rate") => "a rate: \"6 Mbit/s\", \"750 kB/s\"",
        Some("Bytes") => "a size: \"1500 B\", \"64 KiB\"",
        Some("Micros") => "a time: \"50 ms\", \"2 s\"",
        Some("Share") => "a share of the parent, or a rate: \"80%\", \"600 Mbit/s\"",
        _ => "a quantity with its unit",
    }
}

/// The regular expression of a quantity's text.
pub(crate) fn pattern_of<T>() -> String {
    const RATES: &str = "[kMG]?bit(/s)?|[kMG]?B/s|[KMG]iB/s";
    const NUMBER: &str = "[0-9]+([.][0-9]+)?";
    match std::any::type_name::<T>().rsplit("::").next() {
        Some("Rate") => format!("^ *{NUMBER} *({RATES}) *$"),
        Some("Bytes") => format!("^ *{NUMBER} *(B|kB|MB|KiB|MiB) *$"),
        Some("Micros") => format!("^ *{NUMBER} *(us|ms|s|min|h) *$"),
        Some("Share") => format!("^ *{NUMBER} *(%|{RATES}) *$"),
        _ => format!("^ *{NUMBER}"),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn with_article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

/// `1.25` is 1250; at least 1, at most 1000.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 4 || fraction.len() > 3 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let value = format!("{whole}{fraction:0<3}").parse().ok()?;
    (1000..=1_000_000).contains(&value).then_some(value)
}

/// Names in the order in which they were read first: a key may be read in several ways.
fn each_once<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut seen = OrderedSet::new();
    names.iter().copied().filter(|name| seen.insert(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(thousandths(text), expected, "{text}");
    }

    #[test]
    fn thousandths_are_exact() {
        check("1", Some(1000));
        check("1.0", Some(1000));
        check("1.25", Some(1250));
        check("1000", Some(1_000_000));
        for text in ["0.999", "1000.001", "1.0001", "-1", "1e3", "nan", "inf", ""] {
            check(text, None);
        }
    }

    #[cfg(feature = "cli")]
    #[test]
    fn patterns_match_what_is_accepted() {
        #[track_caller]
        fn check<T: FromStr>(texts: &[&str]) {
            let pattern = regex_lite::Regex::new(&pattern_of::<T>()).unwrap();
            for text in texts {
                assert_eq!(pattern.is_match(text), text.parse::<T>().is_ok(), "{text} and {pattern}");
            }
        }
        let rates = [
            "6 Mbit/s", "2.5Gbit", "8 bit/s", "1 KiB/s", "1 kiB/s", "1 kB/s", "6 Mbps", "6", "6M", "",
            "1 GiB/s",
        ];
        check::<flowspec::Rate>(&rates);
        check::<flowspec::Share>(&rates);
        check::<flowspec::Share>(&["80%", "80 %", "33.3%", "0.8", "%"]);
        check::<flowspec::Bytes>(&["1500 B", "64KiB", "1 MiB", "1 GB", "64k", "64 KB", "1"]);
        check::<flowspec::Micros>(&["50 ms", "2s", "1 min", "1 h", "5 m", "5 d", "5"]);
    }
}
