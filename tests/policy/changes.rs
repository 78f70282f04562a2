//! What one policy changes compared with another.

use gqos::policy::PolicyChanges;

use super::{HEAD, parse};

/// What a policy with these rules and clients changes compared with another, as text.
#[track_caller]
fn check_changes(before: &str, after: &str, expected: &str) {
    let [before, after] = [before, after].map(|text| {
        let head = "[template.a]\nsending = { service_type = \"best_effort\" }\n[template.b]\nsending = { service_type = \"best_effort\" }\n";
        parse(&format!("{HEAD}{head}{text}")).expect(text)
    });
    let changes = PolicyChanges::between(&before, &after);
    assert_eq!(changes.to_string(), expected);
    assert_eq!(changes.is_empty(), expected.is_empty());
}

#[test]
fn differences_are_listed_key_by_key() {
    let rule = |port: u16, template: &str| {
        format!("[[rule]]\nmatch = {{ local_port = {port} }}\ntemplate = \"{template}\"\n")
    };
    let [first, second, third] = [rule(1, "a"), rule(2, "a"), rule(3, "b")];
    check_changes(&first, &format!("# moved\n{first}"), "");
    check_changes(
        &format!("{first}{third}"),
        &format!("{first}{second}{third}"),
        "rule 2: added: match.local_port = [2], template = \"a\"\n",
    );
    check_changes(
        &format!("{first}{second}{third}"),
        &format!("{second}{third}"),
        "rule 1: removed: match.local_port = [1], template = \"a\"\n",
    );
    check_changes(&first, &rule(1, "b"), "rule 1.template: \"a\" → \"b\"\n");
    check_changes("[class.c]\n", "[class.c]\nshare = \"50%\"\n", "class.c.share: none → \"50%\"\n");
    check_changes(
        "[class.c]\ndead_after = \"40 s\"\n[client.\"x-*\"]\n[client.\"*\"]\n",
        "[class.c]\n[client.\"*\"]\n[client.\"x-*\"]\n",
        "class.c.dead_after: \"40 s\" → none\nthe order of the clients: [\"x-*\", \"*\"] → [\"*\", \"x-*\"]\n",
    );
}
