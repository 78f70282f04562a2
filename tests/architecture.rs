//! The rules of docs/ARCHITECTURE.md, as tests: which module may name what, and how large things may be.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "architecture/graph.rs"]
mod graph;
#[path = "architecture/prose.rs"]
mod prose;
#[path = "architecture/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};

use graph::Graph;
use source::{ALL, Source, sources};

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
    "src/control",
    "src/failure.rs",
    "src/kernel",
    "src/ordered",
    "src/chart",
];

/// What each module of the root package may name of the others. `cli` and `main.rs` may name everything.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("failure", &[]),
    ("kernel", &[]),
    ("ordered", &[]),
    ("chart", &[]),
    ("policy", &["ordered"]),
    ("files", &["policy", "failure"]),
    ("admission", &["policy", "failure", "kernel", "ordered"]),
    ("tc", &["failure", "kernel", "ordered"]),
    ("telemetry", &["policy", "admission", "tc", "failure", "kernel", "ordered"]),
    ("manager", &["policy", "admission", "tc", "telemetry", "failure", "kernel", "ordered"]),
    ("scenario", &["policy", "admission", "manager", "telemetry", "failure", "kernel", "ordered"]),
    ("control", &["policy", "admission", "tc", "manager", "failure", "kernel", "ordered"]),
    ("linux", &["tc", "failure", "kernel", "ordered"]),
    ("doctor", &["tc", "linux", "lab", "failure", "kernel", "ordered"]),
    (
        "engine",
        &[
            "policy",
            "admission",
            "tc",
            "control",
            "manager",
            "telemetry",
            "linux",
            "failure",
            "kernel",
            "ordered",
        ],
    ),
    (
        "connect",
        &["policy", "admission", "manager", "telemetry", "engine", "linux", "failure", "kernel", "ordered"],
    ),
    ("proxy", &["policy", "engine", "connect", "failure"]),
    (
        "daemon",
        &[
            "policy",
            "files",
            "admission",
            "manager",
            "telemetry",
            "control",
            "engine",
            "linux",
            "tc",
            "chart",
            "failure",
            "kernel",
            "ordered",
        ],
    ),
    ("tower", &["connect", "engine"]),
    (
        "lab",
        &[
            "policy",
            "admission",
            "tc",
            "telemetry",
            "engine",
            "connect",
            "linux",
            "chart",
            "failure",
            "kernel",
            "ordered",
        ],
    ),
];

/// No file below `places`, but for those in `except`, names any of the paths.
#[track_caller]
fn check(rule: &str, places: &[&str], paths: &[&str], except: &[&str]) {
    for source in sources(places) {
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

/// The packages that a manifest names below `[dependencies]`, and whether they are optional.
fn dependencies(manifest: &str) -> BTreeSet<(String, bool)> {
    let text = std::fs::read_to_string(source::root().join(manifest)).unwrap();
    let section = text.split("\n[").find_map(|section| section.strip_prefix("dependencies]\n")).unwrap();
    let named = section.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_alphabetic()));
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap().to_owned();
    named.map(|line| (name(line), line.contains("optional = true"))).collect()
}

#[test]
fn the_vocabulary_and_the_shaper_depend_on_little() {
    let check = |manifest: &str, expected: &[(&str, bool)]| {
        let expected: BTreeSet<_> =
            expected.iter().map(|(name, is_optional)| ((*name).to_owned(), *is_optional)).collect();
        assert_eq!(dependencies(manifest), expected, "rule 1: {manifest}");
    };
    check("flowspec/Cargo.toml", &[("serde", false), ("thiserror", false)]);
    let needed = [("flowspec", false), ("governor", false), ("thiserror", false)];
    let of_tokio = [("nix", true), ("tokio", true)];
    check("shaper/Cargo.toml", &[&needed[..], &of_tokio].concat());
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
            assert!(allowed.contains(&other.as_str()), "rule 4: {module} names {other}: {names:?}");
        }
    }
    check("winsock", &["winsock/src"], &["gqos::lab", "gqos::tc"], &[]);
    check(
        "connect does not know where its engine is",
        &["src/connect"],
        &["LocalEngine"],
        &["src/connect/host.rs"],
    );
    check("nothing but the command line knows the command line", &["src"], &["crate::cli"], &["src/cli"]);
}

/// The table of docs/ARCHITECTURE.md is what the modules are held to.
#[test]
fn the_table_of_dependencies_says_what_modules_may_name() {
    // The table states these once for all.
    let is_listed = |name: &&str| !matches!(*name, "failure" | "kernel" | "ordered");
    let set = |names: &[&str]| names.iter().copied().filter(is_listed).map(str::to_owned).collect();
    let allowed: BTreeMap<String, BTreeSet<String>> = MAY_NAME
        .iter()
        .filter(|(module, _)| is_listed(module))
        .map(|(module, names)| ((*module).to_owned(), set(names)))
        .collect();
    let page = std::fs::read_to_string(source::root().join("docs/ARCHITECTURE.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("Dependencies\n")).unwrap();
    let quoted =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut stated: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').collect();
        for module in quoted(cells[1]) {
            // The command line names everything, and the provider is another package.
            if module != "cli" && module != "winsock/" {
                stated.insert(module, quoted(cells[2]).into_iter().collect());
            }
        }
    }
    assert_eq!(stated, allowed, "left: docs/ARCHITECTURE.md, right: MAY_NAME");
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
    let read = [
        "Instant::now",
        "SystemTime::now",
        "std::time::Instant::now",
        "time::Instant::now",
        "clock_gettime",
        "time::clock_gettime",
        "libc::clock_gettime",
    ];
    let check = |place: &str, except: &[&str]| {
        check("rule 6", &[place], &read, except);
        for source in sources(&[place]) {
            let is_clock = except.iter().any(|allowed| source.path.starts_with(allowed));
            assert!(is_clock || !source.calls("elapsed"), "rule 6: {} calls elapsed", source.path);
        }
    };
    check("flowspec/src", &[]);
    check("shaper/src", &["shaper/src/clock.rs"]);
    check("winsock/src", &["winsock/src/blocking.rs"]);
    // The lab and the report of a test run measure; they decide nothing.
    let clocks = [
        "src/engine/clock.rs",
        "src/linux/clock.rs",
        "src/proxy/clock.rs",
        "src/lab",
        "src/cli/stopwatch.rs",
    ];
    check("src", &clocks);
}

#[test]
fn no_files_depend_on_each_other_in_a_circle() {
    let mut found = String::new();
    for package in PACKAGES.iter().filter(|package| source::root().join(package).exists()) {
        let graph = Graph::of(package);
        for circle in &graph.circles() {
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

/// Files as `name: text`, and the circles among them.
#[track_caller]
fn check_circles(what: &str, files: &[(&str, &str)], expected: &[&[&str]]) {
    let parsed: Vec<_> =
        files.iter().map(|(name, text)| Source::parse(format!("src/{name}.rs"), text)).collect();
    let circles = Graph::between("src", &parsed).circles();
    let expected: Vec<Vec<String>> =
        expected.iter().map(|circle| circle.iter().map(|name| format!("src/{name}.rs")).collect()).collect();
    assert_eq!(circles, expected, "{what}");
}

#[test]
fn circles_are_found_through_every_kind_of_path() {
    const NONE: &[&[&str]] = &[];
    const A_B: &[&[&str]] = &[&["m/a", "m/b"]];
    let check = |what: &str, page: &str, a: &str, b: &str, expected: &[&[&str]]| {
        check_circles(what, &[("lib", "pub mod m;"), ("m/mod", page), ("m/a", a), ("m/b", b)], expected);
    };
    let page = "mod a; mod b; pub use a::A; pub use b::B;";
    check("imports", page, "use crate::m::b::B; pub struct A(B);", "use super::a::A; pub struct B(A);", A_B);
    check("re-exports", page, "use super::B; pub struct A(B);", "use super::{A}; pub struct B(A);", A_B);
    check("paths", page, "pub struct A(super::B);", "use super::a; pub struct B(Vec<a::A>);", A_B);
    check("one way", page, "use super::B; pub struct A(B);", "pub struct B;", NONE);
    check("globs", page, "use super::*; pub struct A(B);", "use super::*; pub struct B(A);", A_B);
    check("other names", page, "use super::B as C; pub struct A(C);", "pub struct B(crate::m::A);", A_B);
    let tests = "pub struct B; #[cfg(test)] mod tests { use crate::m::A; }";
    check("tests do not count", page, "use super::B; pub struct A(B);", tests, NONE);
    let shared = "mod a; mod b; pub use a::A; pub struct S; fn f(_: A) {}";
    check("a page with code", shared, "use super::S; pub struct A(S);", "", &[&["m/a", "m/mod"]]);
    let inline = "mod a; mod b; pub use inner::A; mod inner { pub use super::a::A; }";
    check("modules in modules", inline, "pub struct A(super::b::B);", "pub struct B(super::A);", A_B);
}

#[test]
fn files_hold_one_concept() {
    const MOST: usize = 600;
    let lines = |source: &'static Source| (source.lines, &source.path);
    let large: Vec<_> = sources(ALL).into_iter().map(lines).filter(|(lines, _)| *lines > MOST).collect();
    assert!(large.is_empty(), "files with more than {MOST} lines, split them by concept: {large:#?}");
}

#[test]
fn functions_fit_a_screen() {
    const MOST: usize = 70;
    let mut large = BTreeSet::new();
    for source in sources(ALL) {
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
fn arguments_of_public_functions_cannot_be_confused() {
    let mut found = BTreeSet::new();
    for source in sources(PACKAGES) {
        for (function, types) in source.public_signatures() {
            let same = types.iter().enumerate().find(|(at, name)| types[..*at].contains(name));
            if let Some((_, primitive)) = same {
                found.insert(format!("{}:{} {}: {primitive}", source.path, function.line, function.name));
            }
        }
    }
    assert!(found.is_empty(), "public functions with two arguments of a primitive type: {found:#?}");
}

#[test]
fn primitive_arguments_are_found_in_every_form() {
    let check = |text: &str, expected: &[&str]| {
        let source = Source::parse("src/lib.rs".into(), text);
        let signatures = source.public_signatures();
        let found: Vec<_> = signatures.iter().flat_map(|(_, types)| types).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("pub fn f(a: u64, b: u64) {}", &["u64", "u64"]);
    check("pub const fn f<'a, T: Fn(u8) -> u8>(&self, a: &'a str, b: T) {}", &["str"]);
    check("pub async fn f(a: Option<&str>, b: &[u8], c: String) {}", &["Option<str>", "u8", "str"]);
    check("pub fn f((a, b): (u64, u64), c: Map<u64, u64>, d: std::net::IpAddr) {}", &["u64", "u64"]);
    check("pub fn f(a: impl Fn(u64, u64) -> u64, b: bool) {}", &["bool"]);
    check("pub fn f(a: impl Into<String>, b: &impl AsRef<str>, c: &str) {}", &["str", "str", "str"]);
    check(
        "pub fn f(a: Option<impl Into<String>>, b: impl Into<Option<u64>>) {}",
        &["Option<str>", "Option<u64>"],
    );
    check("pub fn f<S: Clone + Into<String>, T>(a: S, b: &S, c: T, d: Vec<S>) {}", &["str", "str"]);
    check("pub fn f<'a, S, N>(a: S, b: N) -> N where S: AsRef<str> + 'a, N: Into<u64> {}", &["str", "u64"]);
    check("pub fn f(a: impl Into<Arc<str>>, b: impl AsRef<Path>, c: impl IntoIterator<Item = u64>) {}", &[]);
    check("fn f(a: u64) {} pub(crate) fn g(a: u64) {}", &[]);
    check("pub unsafe extern \"C\" fn f(a: i32, b: i32) {}", &[]);
}

/// A fact that a text carries is lost for the code that receives it.
#[test]
fn errors_are_types() {
    let mut found = BTreeSet::new();
    for source in sources(PACKAGES) {
        found.extend(source.textual_results().iter().map(|line| format!("{}:{line}", source.path)));
    }
    assert!(found.is_empty(), "errors that are texts: {found:#?}");
}

#[test]
fn textual_errors_are_found_in_every_form() {
    let check = |text: &str, expected: usize| {
        let found = Source::parse("a.rs".to_owned(), text).textual_results();
        assert_eq!(found.len(), expected, "{text}");
    };
    check("fn a() -> Result<(), String> {}", 1);
    check("fn a() -> Result<Option<Vec<u8>>, &'static str> {}", 1);
    check("fn a() -> Option<Result<(u8, String), String>> {}", 1);
    check("fn a() -> Result<(u8, String), Error> {}", 0);
    check("fn a() -> Result<Vec<String>, Error<String>> {}", 0);
    check("fn a(f: Result<fn(u8, String) -> String, Error>) -> io::Result<String> {}", 0);
}

/// Reasons, events, kinds and errors get more variants: their enums are `#[non_exhaustive]`. The others are closed by their
/// nature, and listed.
#[test]
fn public_enums_are_closed_by_decision() {
    let mut found: Vec<_> = sources(PACKAGES)
        .into_iter()
        .filter(|source| !source.path.starts_with("src/cli/"))
        .flat_map(|source| {
            source.exhaustive_enums().into_iter().map(|name| format!("{} {name}", source.path))
        })
        .collect();
    found.sort();
    let listed = include_str!("architecture/closed_enums.txt").lines().filter(|line| !line.starts_with('#'));
    let listed: Vec<_> = listed.collect();
    assert_eq!(
        found, listed,
        "add #[non_exhaustive], or list the enum in tests/architecture/closed_enums.txt"
    );
}

#[test]
fn attributes_of_public_enums_are_found() {
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(Source::parse("src/lib.rs".into(), text).exhaustive_enums(), expected, "{text}");
    };
    check("pub enum A { B } pub(crate) enum C { D } enum E { F }", &["A"]);
    check("#[derive(Debug)] #[non_exhaustive] /// Text.\npub enum A { B }", &[]);
    check("#[non_exhaustive] pub struct S; #[serde(rename_all = \"snake_case\")] pub enum A { B }", &["A"]);
    check("#[non_exhaustive] pub enum A { B } pub enum C { D(u8), E { f: u8 } }", &["C"]);
}

#[test]
fn prose_names_things_as_things() {
    let found = prose::refused();
    assert!(found.is_empty(), "write plain technical English, see docs/ARCHITECTURE.md: {found:#?}");
}

/// The steps of a request in docs/ARCHITECTURE.md name functions that exist, in at most fifteen files.
#[test]
fn the_page_on_one_request_names_functions_that_exist() {
    const MOST_FILES: usize = 15;
    let page = std::fs::read_to_string(source::root().join("docs/ARCHITECTURE.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("One request, ")).unwrap();
    let mut files = BTreeSet::new();
    for row in section.lines().filter(|line| line.contains("| `")) {
        let quoted: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        let [function, file, ..] = quoted[..] else { panic!("no function and file in {row}") };
        let name = function.rsplit("::").next().unwrap();
        let sources = sources(&[file]);
        let [source] = sources[..] else { panic!("no file {file}") };
        let exists = source.functions().iter().any(|found| found.name == name);
        assert!(exists, "{file} has no function {name}");
        files.insert(file);
    }
    let quoted = section.split('`').skip(1).step_by(2);
    for file in quoted.filter(|quoted| quoted.ends_with(".rs")) {
        assert!(files.contains(file), "{file} is named in passing, and is no step's");
    }
    assert!((5..=MOST_FILES).contains(&files.len()), "{} files: {files:#?}", files.len());
}

/// Under `pipefail` a reader that ends early ends its writer, and so fails the pipe although it has found what it sought:
/// whether it does depends on which of the two is sooner.
#[test]
fn pipes_of_scripts_are_read_to_their_end() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut scripts = vec![root.join(".ci/run"), root.join(".ci/sanitizers")];
    let tests = std::fs::read_dir(root.join("tests")).unwrap().map(|entry| entry.unwrap().path());
    scripts.extend(tests.filter(|path| path.extension().is_some_and(|extension| extension == "sh")));
    assert!(scripts.len() >= 5, "{scripts:?}");
    for script in scripts {
        let text = std::fs::read_to_string(&script).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            assert!(!ends_early(line), "{}:{number}: {line}", script.display());
        }
    }
}

/// Whether a command that reads a pipe may end before the pipe does.
fn ends_early(line: &str) -> bool {
    line.replace("||", ";").split('|').skip(1).map(str::trim_start).any(|reader| {
        let words: Vec<_> = reader.split_whitespace().collect();
        let mut options = words.iter().skip(1).take_while(|word| word.starts_with('-'));
        match words.first() {
            Some(&"grep") => options.any(|word| !word.starts_with("--") && word.contains(['q', 'm'])),
            Some(&"awk") => reader.contains("exit"),
            Some(&"sed") => words.iter().any(|word| word.trim_matches('\'').ends_with('q')),
            first => first == Some(&"head"),
        }
    })
}

#[test]
fn readers_that_end_early_are_found() {
    for line in [
        "tc class show | grep -q htb",
        "find . | head -5",
        "a | awk '{ print; exit }'",
        "a | grep -m1 x | wc",
    ] {
        assert!(ends_early(line), "{line}");
    }
    for line in [
        "tc class show | grep htb >/dev/null",
        "grep -q a file || fail",
        "a || grep -q b file",
        "head -c 5 /dev/zero",
    ] {
        assert!(!ends_early(line), "{line}");
    }
}
