//! The public API of the library as a text, compared with `tests/public_api.txt`: a change of it is seen in review.
//!
//! ```text
//! cargo test --features tower --test public_api -- --ignored
//! GQOS_BLESS=1 cargo test --features tower --test public_api -- --ignored    # writes the file anew
//! ```
//!
//! The text is made from rustdoc's JSON: each item that a user can name, with its signature, its public fields and its trait
//! implementations. The JSON is an unstable option, which RUSTC_BOOTSTRAP lets the stable compiler take.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
#[ignore = "documents the library, which takes a minute"]
fn the_public_api_is_the_recorded_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let api = Api { index: document(root)["index"].clone() };
    let mut lines = BTreeSet::new();
    let krate =
        api.index.as_object().unwrap().values().find(|item| item["inner"]["module"]["is_crate"] == true);
    api.module(krate.unwrap(), "gqos", &mut lines);
    let text = lines.into_iter().collect::<Vec<_>>().join("\n") + "\n";
    let recorded = root.join("tests/public_api.txt");
    if std::env::var_os("GQOS_BLESS").is_some() {
        std::fs::write(&recorded, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&recorded).unwrap_or_default();
    let (now, before): (BTreeSet<_>, BTreeSet<_>) = (text.lines().collect(), expected.lines().collect());
    let added = now.difference(&before).map(|line| format!("+ {line}"));
    let removed = before.difference(&now).map(|line| format!("- {line}"));
    let differences: Vec<_> = removed.chain(added).collect();
    assert!(differences.is_empty(), "GQOS_BLESS=1 records these changes:\n{}", differences.join("\n"));
}

/// Rustdoc's JSON of the library with every feature.
///
/// RUSTC_BOOTSTRAP is set for rustdoc alone: for the compiler as well, everything would be built again.
fn document(root: &Path) -> Value {
    let scratch = tempfile::tempdir().unwrap();
    let wrapper = scratch.path().join("rustdoc");
    let rustdoc = Path::new(env!("CARGO")).with_file_name("rustdoc");
    let script = format!("#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec '{}' \"$@\"\n", rustdoc.display());
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, Permissions::from_mode(0o755)).unwrap();
    let target = root.join("target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).env("RUSTDOC", &wrapper).args(["rustdoc", "--locked", "--lib", "-p", "gqos"]);
    cargo.args(["--features", "cli,tower", "--target-dir"]).arg(&target);
    cargo.args(["--", "-Z", "unstable-options", "--output-format", "json"]);
    assert!(cargo.status().unwrap().success(), "cargo rustdoc");
    serde_json::from_slice(&std::fs::read(target.join("doc/gqos.json")).unwrap()).unwrap()
}

struct Api {
    index: Value,
}

impl Api {
    /// An item of this crate by its number.
    fn get(&self, id: &Value) -> Option<&Value> {
        self.index.get(id.to_string())
    }

    fn items<'a>(&'a self, ids: &'a Value) -> impl Iterator<Item = &'a Value> {
        ids.as_array().into_iter().flatten().filter_map(|id| self.get(id))
    }

    fn module(&self, module: &Value, path: &str, lines: &mut BTreeSet<String>) {
        lines.insert(format!("mod {path}"));
        for item in self.items(&module["inner"]["module"]["items"]) {
            if item["visibility"] != "public" {
                continue;
            }
            let name = item["name"].as_str().unwrap_or_default();
            self.item(item, &format!("{path}::{name}"), path, lines);
        }
    }

    fn item(&self, item: &Value, path: &str, parent: &str, lines: &mut BTreeSet<String>) {
        let (kind, inner) = only(&item["inner"]);
        let line = match kind {
            "module" => return self.module(item, path, lines),
            "use" => {
                let name = inner["name"].as_str().unwrap();
                match self.get(&inner["id"]) {
                    Some(module) if inner["is_glob"] == true => return self.module(module, parent, lines),
                    Some(target) => return self.item(target, &format!("{parent}::{name}"), parent, lines),
                    // Another crate's.
                    None => format!("use {parent}::{name} = {}", inner["source"].as_str().unwrap()),
                }
            }
            "function" => format!("fn {path}{}", signature(inner)),
            "constant" | "static" => format!("{kind} {path}: {}", ty(&inner["type"])),
            "type_alias" => format!("type {path} = {}", ty(&inner["type"])),
            "trait" => {
                self.members(&inner["items"], path, lines);
                format!("trait {path}{}{}", generics(inner), bounds(": ", &inner["bounds"]))
            }
            "struct" | "union" => {
                let plain = &inner["kind"]["plain"]["fields"];
                let fields = if plain.is_null() { &inner["kind"]["tuple"] } else { plain };
                self.fields(fields, path, lines);
                self.impls(&inner["impls"], path, lines);
                format!("{kind} {path}{}{}", generics(inner), marks(item))
            }
            "enum" => {
                self.items(&inner["variants"]).for_each(|variant| self.variant(variant, path, lines));
                self.impls(&inner["impls"], path, lines);
                format!("enum {path}{}{}", generics(inner), marks(item))
            }
            other => format!("{other} {path}"),
        };
        lines.insert(line);
    }

    fn variant(&self, variant: &Value, path: &str, lines: &mut BTreeSet<String>) {
        let at = format!("{path}::{}", variant["name"].as_str().unwrap());
        let kind = &variant["inner"]["variant"]["kind"];
        let named = &kind["struct"]["fields"];
        let fields = if named.is_null() { &kind["tuple"] } else { named };
        for field in self.items(fields) {
            let name = field["name"].as_str().unwrap();
            lines.insert(format!("field {at}.{name}: {}", ty(&field["inner"]["struct_field"])));
        }
        lines.insert(format!("variant {at}"));
    }

    fn fields(&self, ids: &Value, path: &str, lines: &mut BTreeSet<String>) {
        for field in self.items(ids).filter(|field| field["visibility"] == "public") {
            let name = field["name"].as_str().unwrap();
            lines.insert(format!("field {path}.{name}: {}", ty(&field["inner"]["struct_field"])));
        }
    }

    /// What a type implements: its own functions, and the names of traits.
    fn impls(&self, ids: &Value, path: &str, lines: &mut BTreeSet<String>) {
        for block in self.items(ids).map(|item| &item["inner"]["impl"]) {
            if block["is_synthetic"] == true || !block["blanket_impl"].is_null() {
                continue;
            }
            if block["trait"].is_null() {
                self.members(&block["items"], path, lines);
            } else {
                lines.insert(format!("impl {} for {path}", path_of(&block["trait"])));
            }
        }
    }

    fn members(&self, ids: &Value, path: &str, lines: &mut BTreeSet<String>) {
        for member in self.items(ids) {
            // The members of a trait have the visibility of the trait.
            if member["visibility"] != "public" && member["visibility"] != "default" {
                continue;
            }
            let at = format!("{path}::{}", member["name"].as_str().unwrap());
            let (kind, inner) = only(&member["inner"]);
            lines.insert(match kind {
                "function" => format!("fn {at}{}", signature(inner)),
                "assoc_const" => format!("const {at}: {}", ty(&inner["type"])),
                "assoc_type" => format!("type {at}{}", bounds(": ", &inner["bounds"])),
                other => format!("{other} {at}"),
            });
        }
    }
}

/// The key and the value of an object with one of them.
fn only(object: &Value) -> (&str, &Value) {
    object
        .as_object()
        .and_then(|object| object.iter().next())
        .map(|(key, value)| (key.as_str(), value))
        .unwrap()
}

fn marks(item: &Value) -> &'static str {
    if item["attrs"].to_string().contains("non_exhaustive") { " (non-exhaustive)" } else { "" }
}

fn signature(function: &Value) -> String {
    let (sig, header) = (&function["sig"], &function["header"]);
    let words = ["is_const", "is_async", "is_unsafe"].into_iter().filter(|word| header[word] == true);
    let words: String = words.map(|word| format!(" {}", word.trim_start_matches("is_"))).collect();
    let inputs = sig["inputs"].as_array().unwrap().iter();
    let inputs: Vec<_> =
        inputs.map(|input| format!("{}: {}", input[0].as_str().unwrap(), ty(&input[1]))).collect();
    let output = if sig["output"].is_null() { String::new() } else { format!(" -> {}", ty(&sig["output"])) };
    format!("{}({}){output}{words}", generics(function), inputs.join(", "))
}

/// Type parameters and where clauses.
fn generics(item: &Value) -> String {
    let parameters = item["generics"]["params"].as_array().into_iter().flatten();
    let parameters: Vec<_> = parameters
        .filter(|parameter| parameter["kind"]["type"]["is_synthetic"] != true)
        .map(|parameter| {
            let limits = bounds(": ", &parameter["kind"]["type"]["bounds"]);
            format!("{}{limits}", parameter["name"].as_str().unwrap())
        })
        .collect();
    let mut text = if parameters.is_empty() { String::new() } else { format!("<{}>", parameters.join(", ")) };
    for predicate in item["generics"]["where_predicates"].as_array().into_iter().flatten() {
        let bound = &predicate["bound_predicate"];
        if !bound.is_null() {
            text += &format!(" where {}{}", ty(&bound["type"]), bounds(": ", &bound["bounds"]));
        }
    }
    text
}

fn bounds(before: &str, bounds: &Value) -> String {
    let bounds: Vec<_> = bounds.as_array().into_iter().flatten().map(bound).collect();
    if bounds.is_empty() { String::new() } else { format!("{before}{}", bounds.join(" + ")) }
}

fn bound(bound: &Value) -> String {
    match only(bound) {
        ("trait_bound", inner) => {
            let maybe = if inner["modifier"] == "maybe" { "?" } else { "" };
            format!("{maybe}{}", path_of(&inner["trait"]))
        }
        ("outlives", lifetime) => lifetime.as_str().unwrap().to_owned(),
        (other, _) => other.to_owned(),
    }
}

fn path_of(path: &Value) -> String {
    format!("{}{}", path["path"].as_str().unwrap_or_default(), arguments(&path["args"]))
}

fn arguments(arguments: &Value) -> String {
    if let Some(inner) = arguments.get("parenthesized") {
        let inputs: Vec<_> = inner["inputs"].as_array().unwrap().iter().map(ty).collect();
        let output =
            if inner["output"].is_null() { String::new() } else { format!(" -> {}", ty(&inner["output"])) };
        return format!("({}){output}", inputs.join(", "));
    }
    let inner = &arguments["angle_bracketed"];
    let mut all: Vec<_> = inner["args"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|argument| match only_or_text(argument) {
            ("type", inner) => ty(inner),
            ("lifetime", inner) => inner.as_str().unwrap().to_owned(),
            ("const", inner) => inner["expr"].as_str().unwrap_or_default().to_owned(),
            (other, _) => other.to_owned(),
        })
        .collect();
    for constraint in inner["constraints"].as_array().into_iter().flatten() {
        let name = constraint["name"].as_str().unwrap();
        match only(&constraint["binding"]) {
            ("equality", equal) => all.push(format!("{name} = {}", ty(&equal["type"]))),
            (_, limits) => all.push(format!("{name}{}", bounds(": ", limits))),
        }
    }
    if all.is_empty() { String::new() } else { format!("<{}>", all.join(", ")) }
}

/// A word, or the key and the value of an object.
fn only_or_text(value: &Value) -> (&str, &Value) {
    value.as_str().map_or_else(|| only(value), |word| (word, &Value::Null))
}

fn ty(of: &Value) -> String {
    let lifetime =
        |inner: &Value| inner["lifetime"].as_str().map_or(String::new(), |name| format!("{name} "));
    let mutable = |inner: &Value| if inner["is_mutable"] == true { "mut " } else { "" };
    match only_or_text(of) {
        ("primitive" | "generic", name) => name.as_str().unwrap().to_owned(),
        ("resolved_path", path) => path_of(path),
        ("borrowed_ref", inner) => format!("&{}{}{}", lifetime(inner), mutable(inner), ty(&inner["type"])),
        ("raw_pointer", inner) => format!("*{}{}", mutable(inner), ty(&inner["type"])),
        ("tuple", inner) => {
            format!("({})", inner.as_array().unwrap().iter().map(ty).collect::<Vec<_>>().join(", "))
        }
        ("slice", inner) => format!("[{}]", ty(inner)),
        ("array", inner) => format!("[{}; {}]", ty(&inner["type"]), inner["len"].as_str().unwrap()),
        ("impl_trait", limits) => format!("impl {}", bounds("", limits)),
        ("dyn_trait", inner) => {
            let traits = inner["traits"].as_array().unwrap().iter().map(|one| path_of(&one["trait"]));
            format!("dyn {}", traits.collect::<Vec<_>>().join(" + "))
        }
        ("qualified_path", inner) => {
            format!(
                "<{} as {}>::{}",
                ty(&inner["self_type"]),
                path_of(&inner["trait"]),
                inner["name"].as_str().unwrap()
            )
        }
        ("function_pointer", inner) => format!("fn{}", signature(inner)),
        (other, _) => other.to_owned(),
    }
}
