//! The process that has claimed an interface.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The process that has claimed an interface. In JSON a text: `process 7, gqos demo`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "String", into = "String")]
pub struct ClaimHolder {
    /// Its number; `None` where it is in another PID namespace.
    pub pid: Option<i32>,
    /// Its command line; empty where `/proc` does not show it. Without a number, the text of a record that another
    /// version of gqos has written.
    pub command: String,
}

impl ClaimHolder {
    /// A process of another PID namespace, of which nothing is known.
    pub const ELSEWHERE: Self = Self { pid: None, command: String::new() };
}

impl fmt::Display for ClaimHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.command.as_str()) {
            (None, "") => f.write_str("a process of another PID namespace"),
            (None, text) => f.write_str(text),
            (Some(pid), "") => write!(f, "process {pid}"),
            (Some(pid), command) => write!(f, "process {pid}, {command}"),
        }
    }
}

impl From<String> for ClaimHolder {
    fn from(text: String) -> Self {
        let numbered = text.strip_prefix("process ").and_then(|rest| {
            let (pid, command) = rest.split_once(", ").unwrap_or((rest, ""));
            Some(Self { pid: Some(pid.parse().ok()?), command: command.to_owned() })
        });
        let known = numbered.unwrap_or(Self::ELSEWHERE);
        match known.to_string() == text {
            true => known,
            false => Self { pid: None, command: text },
        }
    }
}

impl From<ClaimHolder> for String {
    fn from(holder: ClaimHolder) -> Self {
        holder.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pid: Option<i32>, command: &str, text: &str) {
        let holder = ClaimHolder { pid, command: command.into() };
        assert_eq!(holder.to_string(), text);
        let json = serde_json::to_value(&holder).unwrap();
        assert_eq!(json, text);
        assert_eq!(serde_json::from_value::<ClaimHolder>(json).unwrap(), holder, "{text}");
    }

    #[test]
    fn the_process_of_a_claim_survives_json() {
        check(Some(7), "gqos demo, once", "process 7, gqos demo, once");
        check(Some(7), "", "process 7");
        check(None, "", "a process of another PID namespace");
        check(None, "pid 7 (gqos)", "pid 7 (gqos)");
        check(None, "process seven", "process seven");
        check(None, "process 07", "process 07");
    }
}
