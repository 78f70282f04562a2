//! The part of a policy that a client needs while the daemon is not there.

use super::daemon::{DaemonPolicy, Degrade};
use super::model::Policy;
use super::rule::Rule;

impl Policy {
    /// What clients do while no daemon answers.
    pub fn degrade(&self) -> Degrade {
        self.daemon.as_ref().and_then(|daemon| daemon.degrade).unwrap_or(Degrade::Refuse)
    }

    /// The templates, the rules without their classes and groups, and `degrade`: for clients that have no policy of their
    /// own. `None` where they are to refuse.
    pub fn for_clients(&self) -> Option<Self> {
        let degrade = self.degrade();
        if degrade == Degrade::Refuse {
            return None;
        }
        let rule = |rule: &Rule| Rule { class: None, group: None, ..rule.clone() };
        Some(Self {
            templates: self.templates.clone(),
            rules: self.rules.iter().map(rule).collect(),
            daemon: Some(DaemonPolicy { degrade: Some(degrade), ..DaemonPolicy::default() }),
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Source;

    const POLICY: &str = r#"
version = 1
[daemon]
group = "media"
degrade = "local-bucket"
[interface.eth0]
egress = { capacity = "1 Gbit/s", reservable = "80%" }
[class.viewer]
max_flows = 3
[template.hd]
sending = { service_type = "guaranteed", token_rate = "6 Mbit/s", token_bucket_size = "64 KiB" }
[[rule]]
match = { protocol = "tcp", local_port = 443 }
class = "viewer"
template = "hd"
"#;

    #[test]
    fn clients_get_templates_and_rules_and_nothing_else() {
        let parse = |text: &str| Policy::parse(&[Source { name: "p.toml", text }]).expect(text).0;
        let policy = parse(POLICY);
        let text = policy.for_clients().expect("a part for clients").effective();
        for absent in ["media", "viewer", "eth0"] {
            assert!(!text.contains(absent), "{absent}: {text}");
        }
        let read = parse(&text);
        assert_eq!(read.degrade(), Degrade::LocalBucket);
        assert_eq!(read.templates["hd"].qos, policy.templates["hd"].qos);
        assert_eq!((read.rules.len(), read.rules[0].templates.clone()), (1, vec!["hd".to_owned()]));
        for other in ["degrade = \"refuse\"", ""] {
            let refusing = parse(&POLICY.replace("degrade = \"local-bucket\"", other));
            assert_eq!(refusing.for_clients(), None, "{other}");
        }
    }
}
