//! The parameters of a request's target.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::control::limits::MOST_NAME_BYTES;

/// Parameters by their names.
pub(super) type Parameters = BTreeMap<String, String>;

/// The most parameters of a request.
const MOST_PARAMETERS: usize = 8;

/// Why parameters are not read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum QueryError {
    #[error("there are more than {MOST_PARAMETERS} parameters")]
    TooMany,
    #[error("there is no parameter {name:?}; there are {}", known.join(", "))]
    Unknown { name: String, known: &'static [&'static str] },
    #[error("{name} has {bytes} bytes, {MOST_NAME_BYTES} are allowed")]
    TooLong { name: String, bytes: usize },
    #[error("{name} is given twice")]
    Repeated { name: String },
    #[error("the parameters are not percent-encoded UTF-8")]
    Encoding,
    #[error("interface and class need a template")]
    TemplateMissing,
}

/// Reads the part of a target after its question mark.
pub(super) fn parameters(
    query: Option<&str>,
    known: &'static [&'static str],
) -> Result<Parameters, QueryError> {
    let mut parameters = Parameters::new();
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    for (number, pair) in pairs.enumerate() {
        if number >= MOST_PARAMETERS {
            return Err(QueryError::TooMany);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        if !known.contains(&name.as_str()) {
            return Err(QueryError::Unknown { name, known });
        }
        if value.len() > MOST_NAME_BYTES {
            return Err(QueryError::TooLong { name, bytes: value.len() });
        }
        if parameters.insert(name.clone(), value).is_some() {
            return Err(QueryError::Repeated { name });
        }
    }
    Ok(parameters)
}

/// Text with its escapes replaced.
fn decode(text: &str) -> Result<String, QueryError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                let value = high.zip(low).map(|(high, low)| high * 16 + low);
                value.and_then(|value| u8::try_from(value).ok()).ok_or(QueryError::Encoding)?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| QueryError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: Option<&str>, expected: Result<&[(&str, &str)], &str>) {
        match (parameters(query, &["template", "class"]), expected) {
            (Ok(found), Ok(expected)) => {
                let found: Vec<_> =
                    found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                assert_eq!(found, expected, "{query:?}");
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{query:?}: {error}"),
            (found, _) => panic!("{query:?}: {found:?}"),
        }
    }

    #[test]
    fn parameters_are_decoded_and_bounded() {
        check(None, Ok(&[]));
        check(Some(""), Ok(&[]));
        check(Some("template=1080p&class=a%20b+c%26"), Ok(&[("class", "a b c&"), ("template", "1080p")]));
        check(Some("template=%e2%82%ac"), Ok(&[("template", "€")]));
        check(Some("template=%ff"), Err("not percent-encoded UTF-8"));
        check(Some("template=%4"), Err("not percent-encoded UTF-8"));
        check(Some("template=%zz"), Err("not percent-encoded UTF-8"));
        check(Some("template=a&template=b"), Err("template is given twice"));
        check(Some("templat=a"), Err("no parameter \"templat\"; there are template, class"));
        check(Some(&format!("class={}", "a".repeat(5000))), Err("has 5000 bytes"));
        check(Some(&"class=&".repeat(99)), Err("given twice"));
    }
}
