//! The rules of docs/ARCHITECTURE.md, as tests: which module may name what, and how large things may be.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "architecture/graph.rs"]
mod graph;
#[path = "architecture/prose.rs"]
mod prose;
#[path = "architecture/source.rs"]
mod source;

use std::collections::BTreeSet;

use graph::Graph;
use source::{Source, sources};

/// The packages' sources.
const PACKAGES: &[&str] = &["src", "flowspec/src", "shaper/src", "winsock/src"];

/// Modules without input, output, clock or waiting.
const PURE: &[&str] = &[
    "src/policy",
    "src/admission",
    "src/tc",
    "src/manager",
    "src/telemetry",
    "src/scenario",
    "src/failure.rs",
];

/// What each module of the root package may name of the others. `cli` and `main.rs` may name everything.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("failure", &[]),
    ("policy", &[]),
    ("admission", &["policy", "failure"]),
    ("tc", &["failure"]),
    ("telemetry", &["policy", "admission", "tc", "failure"]),
    ("manager", &["policy", "admission", "tc", "telemetry", "failure"]),
    ("scenario", &["policy", "admission", "manager", "telemetry", "failure"]),
    ("linux", &["tc", "failure"]),
    ("engine", &["policy", "admission", "tc", "manager", "telemetry", "linux", "failure"]),
    ("connect", &["policy", "admission", "telemetry", "engine", "linux", "failure"]),
    ("lab", &["policy", "admission", "tc", "telemetry", "engine", "connect", "linux", "failure"]),
];

/// Exceptions until the tree has its new shape.
const PENDING_CIRCLES: &[&str] =
    &["src/connect", "src/engine", "src/tc", "src/cli", "winsock", "flowspec/src", "shaper/src"];
const PENDING_FILES: &[&str] = &["tests/model.rs", "winsock/tests/socket.rs"];
/// Files with functions that are still too long.
const PENDING_FUNCTIONS: &[&str] = &[
    "flowspec/tests/objects.rs",
    "src/admission/group.rs",
    "src/admission/operation.rs",
    "src/admission/prepare.rs",
    "src/cli/flowspec/explain.rs",
    "src/policy/effective.rs",
    "src/scenario/trace.rs",
    "tests/bad_policies.rs",
    "tests/extremes.rs",
    "tests/model.rs",
    "winsock/src/abi/ioctl.rs",
    "winsock/src/abi/names.rs",
    "winsock/src/options.rs",
    "winsock/tests/faults.rs",
];
const PENDING_PROSE: &[&str] = &[
    ".ci",
    "CHANGELOG.md",
    "README.md",
    "benches",
    "docs",
    "examples",
    "flowspec",
    "fuzz",
    "include",
    "shaper",
    "src",
    "tests",
    "winsock",
];

fn pending(list: &[&str], text: &str) -> bool {
    list.iter().any(|prefix| text.starts_with(prefix))
}

/// No file below `places`, but for those in `except`, names any of the paths.
#[track_caller]
fn check(rule: &str, places: &[&str], paths: &[&str], except: &[&str]) {
    for source in sources(places).into_iter().map(Source::without_tests) {
        if except.iter().any(|allowed| source.path.starts_with(allowed)) {
            continue;
        }
        for path in paths {
            assert!(!source.names(path), "{rule}: {} names {path}", source.path);
        }
    }
}

#[test]
fn the_vocabulary_has_no_io_no_clock_and_no_async() {
    let refused =
        ["tokio", "std::net", "std::fs", "std::env", "std::io", "Instant", "async", "f32", "f64", "unsafe"];
    check("rule 1", &["flowspec/src"], &refused, &[]);
}

#[test]
fn pure_modules_have_no_io_no_clock_and_no_async() {
    let refused = [
        "tokio",
        "nix",
        "rtnetlink",
        "std::net",
        "std::fs",
        "std::env",
        "Instant",
        "SystemTime",
        "async",
        "unsafe",
    ];
    check("rule 2", PURE, &refused, &[]);
}

#[test]
fn the_kernel_is_named_in_one_module() {
    check("rule 3", &["src"], &["nix", "rtnetlink", "libc"], &["src/linux"]);
    check("rule 3", &["winsock"], &["nix", "libc"], &["winsock/src/sys", "winsock/tests"]);
    check("rule 3", &["shaper/src"], &["nix", "libc"], &["shaper/src/sys.rs"]);
}

#[test]
fn modules_name_only_what_is_below_them() {
    let graph = Graph::of("src").grouped(top_module);
    for (module, to) in &graph.edges {
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| name == module) else { continue };
        for (other, names) in to {
            let pending = module == "connect" && other == "manager";
            assert!(
                pending || allowed.contains(&other.as_str()),
                "rule 4: {module} names {other}: {names:?}"
            );
        }
    }
    check("winsock", &["winsock/src"], &["gqos::lab", "gqos::tc"], &[]);
    check("nothing but the command line knows the command line", &["src"], &["crate::cli"], &["src/cli"]);
}

/// The module of a file below `src`, without what is inside it.
fn top_module(file: &str) -> String {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    inside.split('/').next().unwrap().to_owned()
}

#[test]
fn anyhow_is_for_the_binary_and_the_examples() {
    check("rule 5", PACKAGES, &["anyhow"], &["src/cli", "src/main.rs"]);
}

#[test]
fn clocks_are_read_in_one_file_each() {
    let now = ["Instant::now", "SystemTime::now", "std::time::Instant::now", "time::Instant::now"];
    check("rule 6", &["shaper/src"], &now, &["shaper/src/clock.rs"]);
    check("rule 6", &["src/engine", "src/connect"], &now, &["src/engine/clock.rs"]);
}

#[test]
fn no_files_depend_on_each_other_in_a_circle() {
    let mut found = String::new();
    for package in PACKAGES.iter().filter(|package| source::root().join(package).exists()) {
        let graph = Graph::of(package);
        for circle in graph.circles().iter().filter(|circle| !pending(PENDING_CIRCLES, &circle[0])) {
            found.push_str(&format!("{}\n{}", circle.join(", "), graph.describe(circle)));
        }
        let modules = graph.grouped(top_module);
        for circle in if *package == "src" { modules.circles() } else { Vec::new() } {
            found.push_str(&format!("modules {}\n{}", circle.join(", "), modules.describe(&circle)));
        }
    }
    assert!(
        found.is_empty(),
        "rule 7: circles of files: move what they share down into a file of its own\n{found}"
    );
}

/// Everything that is compiled.
const ALL: &[&str] = &["src", "flowspec", "shaper", "winsock", "tests", "benches", "examples", "fuzz"];

#[test]
fn files_hold_one_concept() {
    const MOST: usize = 600;
    let lines = |source: Source| {
        let source = if source.path.contains("/src/") || source.path.starts_with("src/") {
            source.without_tests()
        } else {
            source
        };
        (source.code_lines(), source.path)
    };
    let large: Vec<_> = sources(ALL)
        .into_iter()
        .map(lines)
        .filter(|(lines, path)| *lines > MOST && !pending(PENDING_FILES, path))
        .collect();
    assert!(large.is_empty(), "files with more than {MOST} lines of code, split them by concept: {large:#?}");
}

#[test]
fn functions_fit_a_screen() {
    const MOST: usize = 70;
    let mut large = BTreeSet::new();
    for source in sources(ALL).iter().filter(|source| !pending(PENDING_FUNCTIONS, &source.path)) {
        for function in source.functions().iter().filter(|function| function.length > MOST) {
            large.insert(format!(
                "{}:{} {}: {} lines",
                source.path, function.line, function.name, function.length
            ));
        }
    }
    assert!(large.is_empty(), "functions with more than {MOST} lines of code: {large:#?}");
}

#[test]
fn prose_names_things_as_things() {
    let found = prose::refused();
    let found: Vec<_> = found.iter().filter(|place| !pending(PENDING_PROSE, place)).collect();
    assert!(found.is_empty(), "write plain technical English, see docs/ARCHITECTURE.md: {found:#?}");
}
