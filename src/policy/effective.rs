//! The effective policy: one TOML text with all sources merged and every default written out. It parses back to the same
//! policy.

use std::fmt::Write;

use super::entries::{self, Entries};
use super::model::Policy;
use super::notation::key;
use super::place::Place;

impl Policy {
    /// The whole policy as TOML. A comment on each table names the file and line of its definition.
    pub fn effective(&self) -> String {
        let mut text = String::from("version = 1\n");
        write_lines(&mut text, &entries::top(self));
        let named = self.interfaces.iter().map(|(name, interface)| (name.as_str(), interface));
        for (name, interface) in named.chain(self.any_interface.iter().map(|interface| ("*", interface))) {
            self.table(&mut text, &format!("interface.{}", key(name)), &interface.place);
            write_lines(&mut text, &entries::interface(interface));
        }
        for (name, template) in &self.templates {
            self.table(&mut text, &format!("template.{}", key(name)), &template.place);
            write_lines(&mut text, &entries::template(&template.qos));
        }
        for (name, class) in &self.classes {
            self.table(&mut text, &format!("class.{}", key(name)), &class.place);
            write_lines(&mut text, &entries::class(class));
        }
        for (name, group) in &self.groups {
            self.table(&mut text, &format!("group.{}", key(name)), &group.place);
            write_lines(&mut text, &entries::group(group));
        }
        for client in &self.clients {
            self.table(&mut text, &format!("client.{}", key(&client.pattern)), &client.place);
            write_lines(&mut text, &entries::client(client));
        }
        if let Some(daemon) = &self.daemon {
            self.table(&mut text, "daemon", &daemon.place);
            write_lines(&mut text, &entries::daemon(daemon));
        }
        for rule in &self.rules {
            self.table(&mut text, "[rule]", &rule.place);
            write_lines(&mut text, &entries::rule(rule));
        }
        for (name, proxy) in &self.proxies {
            self.table(&mut text, &format!("proxy.{}", key(name)), &proxy.place);
            write_lines(&mut text, &entries::proxy(proxy));
        }
        text
    }

    fn table(&self, text: &mut String, name: &str, place: &Place) {
        let origin = self.locate(place).map_or(String::new(), |origin| format!("    # {origin}"));
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "\n[{name}]{origin}");
    }
}

fn write_lines(text: &mut String, entries: &Entries) {
    for (key, value) in entries.lines() {
        let _ = writeln!(text, "{key} = {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Source;

    fn parse(text: &str) -> Policy {
        Policy::parse(&[Source { name: "a/p.toml", text }]).expect(text).0
    }

    /// The policy without its places.
    fn bare(mut policy: Policy) -> Policy {
        policy.sources.clear();
        policy.places_mut().for_each(|place| *place = Place::default());
        policy
    }

    #[track_caller]
    fn check(text: &str) {
        let policy = parse(text);
        let effective = policy.effective();
        assert_eq!(bare(parse(&effective)), bare(policy), "{effective}");
        assert_eq!(
            parse(&effective).effective().replace(char::is_numeric, ""),
            effective.replace(char::is_numeric, "")
        );
    }

    #[test]
    fn the_effective_policy_means_the_same() {
        check("version = 1\n");
        check(include_str!("../../fuzz/policy.toml"));
        for text in [
            include_str!("../../examples/policies/streaming.toml"),
            include_str!("../../examples/policies/live-ladder.toml"),
            include_str!("../../examples/policies/vod-and-live.toml"),
            include_str!("../../examples/policies/tiers.toml"),
            include_str!("../../examples/policies/origin.toml"),
            include_str!("../../examples/policies/event.toml"),
            include_str!("../../examples/policies/ingest.toml"),
        ] {
            check(text);
        }
        check(
            "version = 1\n[interface.\"a\\\"b\\\"\\\\\\u0001é\"]\negress = { capacity = \"auto\" }\n[template.\"\"]\nsending = { service_type = \"no_traffic\" }\n",
        );
    }
}
