//! Reading TOML tables with places: every problem is noted and reading goes on.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use serde_json::json;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::policy::place::Place;
use crate::policy::problem::Code;
use crate::policy::problems::Problems;

/// A table that is being read: knows which of its keys were asked for.
pub(crate) struct Section<'a> {
    problems: &'a Problems,
    table: &'a DeTable<'a>,
    /// As it is written in messages: `interface.eth0.egress`.
    pub(crate) path: String,
    pub(crate) place: Place,
    known: RefCell<Vec<&'static str>>,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// How far a key may be from a known one and still be taken for a slip.
const NEAR: f64 = 0.7;

impl<'a> Section<'a> {
    pub(crate) fn new(problems: &'a Problems, table: &'a DeTable<'a>, path: String, place: Place) -> Self {
        Self { problems, table, path, place, known: RefCell::default() }
    }

    /// The section's entries, for tables whose keys are names.
    pub(crate) fn entries(
        &self,
    ) -> impl Iterator<Item = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        self.table.iter()
    }

    pub(crate) fn at(&self, span: Range<usize>) -> Place {
        Place { source: self.place.source, span, ..Place::default() }
    }

    pub(crate) fn problem(&self, code: Code, place: &Place, message: impl Into<String>) {
        self.problems.note(code, place.clone(), message);
    }

    pub(crate) fn raw(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A table under this key.
    pub(crate) fn section(&self, key: &'static str) -> Option<Self> {
        self.problems.learn(&self.path, key, || json!({ "type": "object" }));
        let value = self.raw(key)?;
        self.subsection(key, value)
    }

    /// A value that has to be a table.
    pub(crate) fn subsection(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Self> {
        let place = self.at(value.span());
        let path = join(&self.path, key);
        match value.get_ref() {
            DeValue::Table(table) => Some(Self::new(self.problems, table, path, place)),
            other => {
                self.wrong_type(&path, &place, "a table", other);
                None
            }
        }
    }

    /// A string.
    pub(crate) fn string(&self, key: &'static str) -> Option<Placed<&'a str>> {
        self.problems.learn(&self.path, key, || json!({ "type": "string" }));
        let value = self.raw(key)?;
        self.as_string(&join(&self.path, key), value)
    }

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

    /// A rate, size, time or share. A bare number is the commonest slip and is answered with both
    /// readings, as it would be inside quotes.
    pub(crate) fn quantity<T>(&self, key: &'static str) -> Option<Placed<T>>
    where
        T: FromStr<Err: Display>,
    {
        self.problems.learn(&self.path, key, || json!({ "type": "string", "description": kind_of::<T>() }));
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
    pub(crate) fn integer(
        &self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<Placed<u64>> {
        self.problems.learn(&self.path, key, || {
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
            _ => {
                let (least, most) = (range.start(), range.end());
                let limits = if *most == u64::MAX {
                    format!("at least {least}")
                } else {
                    format!("{least} to {most}")
                };
                self.problem(
                    Code::BadValue,
                    &place,
                    format!("{path}: {} is not allowed: {limits}", number.as_str()),
                );
                None
            }
        }
    }

    /// Yes or no.
    pub(crate) fn flag(&self, key: &'static str) -> Option<Placed<bool>> {
        self.problems.learn(&self.path, key, || json!({ "type": "boolean" }));
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

    /// A decimal number in thousandths, exact.
    pub(crate) fn thousandths(&self, key: &'static str) -> Option<Placed<u64>> {
        self.problems.learn(&self.path, key, || json!({ "type": "number", "minimum": 1, "maximum": 1000 }));
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
            self.problem(
                Code::BadValue,
                &place,
                format!("{path}: {text} is not a number from 1 to 1000 with at most three decimals"),
            );
        }
        parsed.map(|value| Placed { value, place })
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<Placed<T>> {
        let text = self.string(key);
        self.problems.learn(&self.path, key, || {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            json!({ "type": "string", "enum": names })
        });
        let text = text?;
        let path = join(&self.path, key);
        let found = choices.iter().find(|(name, _)| *name == text.value);
        if found.is_none() {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let help =
                nearest(text.value, names.iter().copied()).map(|name| format!("did you mean {name:?}?"));
            let message = format!("{path}: {:?} is none of {}", text.value, names.join(", "));
            self.problems.note_with_help(Code::BadValue, text.place.clone(), message, help);
        }
        found.map(|&(_, value)| Placed { value, place: text.place })
    }

    pub(crate) fn missing(&self, key: &str) {
        let message = format!("{} needs {key}", display_path(&self.path));
        self.problem(Code::MissingKey, &self.place, message);
    }

    pub(crate) fn wrong_type(&self, path: &str, place: &Place, wanted: &str, found: &DeValue<'_>) {
        let message = format!("{path}: {wanted} is expected, this is {}", article(found.type_str()));
        self.problem(Code::WrongType, place, message);
    }

    /// Every key that nobody asked for is a problem.
    pub(crate) fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let message = format!("{} has no key {name:?}", display_path(&self.path));
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("the keys are {}", known.join(", ")),
            };
            self.problems.note_with_help(Code::UnknownKey, self.at(key.span()), message, Some(help));
        }
    }
}

/// One value or an array of them.
pub(crate) fn each<'a, T>(
    section: &Section<'a>,
    key: &'static str,
    read: impl Fn(&Section<'a>, &'a Spanned<DeValue<'a>>) -> Option<T>,
) -> Vec<T> {
    match section.raw(key) {
        None => Vec::new(),
        Some(value) => match value.get_ref() {
            DeValue::Array(array) => {
                if array.is_empty() {
                    let message =
                        format!("{}.{key}: an empty list matches nothing; leave the key out", section.path);
                    section.problem(Code::BadValue, &section.at(value.span()), message);
                }
                array.iter().filter_map(|entry| read(section, entry)).collect()
            }
            _ => read(section, value).into_iter().collect(),
        },
    }
}

/// The known name nearest to a text, if one is near.
pub(crate) fn nearest<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let near = |name: &str| strsim::jaro_winkler(&name.to_lowercase(), &text.to_lowercase());
    let best = names.map(|name| (near(name), name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > NEAR).then_some(best.1)
}

/// What a quantity is written as.
fn kind_of<T>() -> &'static str {
    match std::any::type_name::<T>().rsplit("::").next() {
        Some("Rate") => "a rate: \"6 Mbit/s\", \"750 kB/s\"",
        Some("Bytes") => "a size: \"1500 B\", \"64 KiB\"",
        Some("Micros") => "a time: \"50 ms\", \"2 s\"",
        Some("Share") => "a share of the parent, or a rate: \"80%\", \"600 Mbit/s\"",
        _ => "a quantity with its unit",
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn display_path(path: &str) -> &str {
    if path.is_empty() { "the policy" } else { path }
}

fn article(noun: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_are_exact() {
        let cases = [("1", Some(1000)), ("1.0", Some(1000)), ("1.25", Some(1250)), ("1000", Some(1_000_000))];
        for (text, expected) in cases {
            assert_eq!(thousandths(text), expected, "{text}");
        }
        for text in ["0.999", "1000.001", "1.0001", "-1", "1e3", "nan", "inf", ""] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }
}
