//! Ranges of numbers: ports, user ids and group ids.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use toml::Spanned;
use toml::de::DeValue;

use super::section::Section;
use crate::policy::code::Code;
use crate::policy::problem::Problem;

/// The numbers of a key, for messages.
pub(super) struct Numbers {
    /// The key in its table.
    pub(super) key: &'static str,
    /// What one is, with its limits: "a port is 0 to 65535".
    pub(super) limits: &'static str,
    /// A range as it is written.
    pub(super) example: &'static str,
}

/// A number, or a range such as `"1935-1940"`.
pub(super) fn range<'a, T>(
    section: &Section<'a>,
    value: &'a Spanned<DeValue<'a>>,
    numbers: &Numbers,
) -> Option<RangeInclusive<T>>
where
    T: Copy + Display + FromStr + PartialOrd,
{
    let Numbers { key, limits, example } = numbers;
    let (key, place) = (&section.path_of(key), section.at(value.span()));
    let number = |text: &str| text.trim().parse::<T>().ok();
    let range = match value.get_ref() {
        DeValue::Integer(one) => number(one.as_str()).map(|one| one..=one),
        DeValue::String(text) => match text.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)).map(|(first, last)| first..=last),
            None => number(text).map(|one| one..=one),
        },
        other => {
            section.wrong_type(key, &place, &format!("a number or a range such as \"{example}\""), other);
            return None;
        }
    };
    match range {
        None => section.problem(
            Code::BadValue,
            &place,
            format!("{key}: {limits}, and a range is written \"{example}\""),
        ),
        Some(range) if range.is_empty() => {
            let (first, last) = range.into_inner();
            let message = format!("{key}: the range \"{first}-{last}\" is reversed and contains nothing");
            let help = Some(format!("write \"{last}-{first}\""));
            section.add(Problem::new(Code::BadValue, place, message).with_help(help));
        }
        Some(range) => return Some(range),
    }
    None
}
