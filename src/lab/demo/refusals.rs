//! Refusals of one kind, counted.

use serde_json::Value;

/// All refusals of a phase that have the same error and reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefusalKind {
    /// The error's name: `WSAEOPNOTSUPP`.
    pub error: String,
    /// Its number, 0 where the answer had none.
    pub code: u64,
    /// Why, in snake case; empty where the answer had no reason.
    pub reason: String,
    /// The ids of the requests, in the order of the refusals.
    pub ids: Vec<String>,
    /// The message of the first, with its numbers.
    pub message: String,
}

impl RefusalKind {
    /// The kinds among some decisions, in the order of their first refusals.
    pub fn of(refused: &[Value]) -> Vec<Self> {
        let mut kinds: Vec<Self> = Vec::new();
        for decision in refused {
            let part = |key: &str| decision[key].as_str().unwrap_or_default().to_owned();
            let (error, reason, id) = (part("error"), part("reason"), part("id"));
            let code = decision["code"].as_u64().unwrap_or_default();
            let same = |kind: &&mut Self| kind.error == error && kind.code == code && kind.reason == reason;
            if let Some(kind) = kinds.iter_mut().find(same) {
                kind.ids.push(id);
            } else {
                kinds.push(Self { error, code, reason, ids: vec![id], message: part("message") });
            }
        }
        kinds
    }

    /// The error, its number and the reason: `WSAEOPNOTSUPP (10045), interface_budget`.
    pub fn name(&self) -> String {
        let Self { error, code, reason, .. } = self;
        let error = if error.is_empty() { "refused" } else { error };
        let number = if *code == 0 { String::new() } else { format!(" ({code})") };
        let reason = if reason.is_empty() { String::new() } else { format!(", {reason}") };
        format!("{error}{number}{reason}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_is_listed_once() {
        let refusal = |id: &str, reason: &str| json!({ "id": id, "error": "WSAEOPNOTSUPP", "code": 10045, "reason": reason, "message": format!("{id}: no") });
        let other = json!({ "ok": false, "message": "the engine has stopped" });
        let refused = [
            refusal("v1", "interface_budget"),
            refusal("v2", "class_share"),
            refusal("v3", "interface_budget"),
            other,
        ];
        let kinds = RefusalKind::of(&refused);
        let listed: Vec<_> =
            kinds.iter().map(|kind| (kind.name(), kind.ids.join(" "), kind.message.as_str())).collect();
        let expected = [
            ("WSAEOPNOTSUPP (10045), interface_budget".to_owned(), "v1 v3".to_owned(), "v1: no"),
            ("WSAEOPNOTSUPP (10045), class_share".to_owned(), "v2".to_owned(), "v2: no"),
            ("refused".to_owned(), String::new(), "the engine has stopped"),
        ];
        assert_eq!(listed, expected);
        assert_eq!(RefusalKind::of(&[]), []);
    }
}
