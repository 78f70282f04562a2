//! The C interface: C programs, compiled by gcc and clang as C and C++, linked with the library as it is shipped.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{compiles, installed, skip};

/// The form of the library that a program is linked with.
#[derive(Clone, Copy)]
enum Form {
    Shared,
    Static,
}

/// Builds both forms of the library as docs/WINSOCK.md says, in the profile of the tests, and gives the path of one.
fn library(form: Form) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--locked", "-p", "libgqos"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Test programs are in target/PROFILE/deps.
    let test = std::env::current_exe().unwrap();
    let library = test.ancestors().nth(3).unwrap().join("debug").join(match form {
        Form::Shared => "libgqos.so",
        Form::Static => "libgqos.a",
    });
    assert!(library.exists(), "{}", library.display());
    library
}

/// The compilers that this machine has.
fn compilers() -> Vec<(&'static str, &'static [&'static str])> {
    let all: [(&str, &[&str]); 4] = [
        ("cc", &["-std=c11"]),
        ("cc", &["-std=gnu89"]),
        ("g++", &["-std=c++17", "-x", "c++"]),
        ("clang", &["-std=c11"]),
    ];
    all.into_iter().filter(|(name, flags)| compiles(name, flags)).collect()
}

fn compile(compiler: &str, flags: &[&str], source: &str, to: &Path, library: Option<&Path>) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(compiler);
    command.args(["-Wall", "-Werror", "-O1"]).args(flags).arg("-I").arg(root.join("include"));
    command.arg(root.join(source)).args(["-x", "none", "-o"]).arg(to);
    match library {
        Some(library) if library.extension().is_some_and(|extension| extension == "a") => {
            command.arg(library).args(["-lpthread", "-ldl", "-lm"]);
        }
        Some(library) => {
            let directory = library.parent().unwrap();
            command.arg("-L").arg(directory).arg("-lgqos").arg(format!("-Wl,-rpath,{}", directory.display()));
        }
        None => {
            command.arg("-c");
        }
    }
    command.output().unwrap()
}

const LOOPBACK: &str = "version = 1\n[interface.lo]\negress = { capacity = \"10 Mbit/s\", reservable = \"80%\" }\nenforcement = \"user-space\"\n";

/// Builds a program of `tests/c`, and runs it under a policy.
fn run(name: &str, compiler: &str, flags: &[&str], library: &Path, policy: &str) {
    run_as(&[name], compiler, flags, library, policy);
}

/// The same with arguments, after the program's name.
fn run_as(words: &[&str], compiler: &str, flags: &[&str], library: &Path, policy: &str) {
    let (name, arguments) = (words[0], &words[1..]);
    let directory = tempfile::tempdir().unwrap();
    let (file, program) = (directory.path().join("policy.toml"), directory.path().join(name));
    std::fs::write(&file, policy).unwrap();
    let built = compile(compiler, flags, &format!("tests/c/{name}.c"), &program, Some(library));
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{name}, {compiler} {flags:?}: {errors}");
    let ran = Command::new(&program).args(arguments).env("GQOS_POLICY", &file).output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    if ran.status.code() == Some(77) {
        return skip(&text);
    }
    assert!(
        ran.status.success() && text.ends_with("RIGHT\n"),
        "{words:?}, {compiler} {flags:?}: {:?}\n{text}",
        ran.status
    );
}

fn run_with_each_compiler(name: &str, policy: &str) {
    let library = library(Form::Shared);
    for (compiler, flags) in compilers() {
        run(name, compiler, flags, &library, policy);
    }
}

#[test]
fn closesocket_frees_the_port_and_touches_no_other_file() {
    run_with_each_compiler("closing", LOOPBACK);
}

#[test]
fn polling_and_events_are_as_on_windows() {
    run_with_each_compiler("polling", LOOPBACK);
}

#[test]
fn failures_are_reported() {
    run_with_each_compiler("failures", LOOPBACK);
}

/// An interface that the programs make in a namespace of their own.
fn own_link(keys: &str) -> String {
    format!(
        "version = 1\n{keys}\n[interface.gq0]\negress = {{ capacity = \"10 Mbit/s\", reservable = \"80%\" }}\n"
    )
}

#[test]
fn a_server_may_give_up_the_user_root() {
    if installed(&["ip", "tc", "grep"]) {
        run("privileges", "cc", &["-std=c11"], &library(Form::Shared), &own_link(""));
    }
}

#[test]
fn a_server_that_loses_all_capabilities_is_enforced_in_user_space_or_refused() {
    if installed(&["ip", "tc", "grep"]) {
        let library = library(Form::Shared);
        for enforcement in ["auto", "kernel"] {
            let policy = format!("{}enforcement = \"{enforcement}\"\n", own_link(""));
            run_as(&["privileges", enforcement], "cc", &["-std=c11"], &library, &policy);
        }
    }
}

#[test]
fn a_program_sees_that_its_peer_is_stalled_or_dead() {
    if installed(&["ip", "nsenter"]) {
        // A dead peer accepts nothing either. Were both times equal, either could be first.
        let policy = own_link("dead_after = \"2 s\"\nstalled_after = \"5 s\"");
        run("peers", "cc", &["-std=c11"], &library(Form::Shared), &policy);
    }
}

#[test]
fn a_c_program_gets_the_documented_codes() {
    let library = library(Form::Shared);
    for (compiler, flags) in compilers() {
        run("codes", compiler, flags, &library, LOOPBACK);
    }
}

#[test]
fn a_c_program_may_be_linked_with_the_archive() {
    run("codes", "cc", &["-std=c11"], &library(Form::Static), LOOPBACK);
}

/// The commands of docs/WINSOCK.md, on a program in an otherwise empty directory.
#[test]
fn the_documented_commands_link_and_run_a_program() {
    if !installed(&["sh"]) {
        return;
    }
    let (library, directory) = (library(Form::Shared), tempfile::tempdir().unwrap());
    let (root, inside) = (Path::new(env!("CARGO_MANIFEST_DIR")), |name: &str| directory.path().join(name));
    for folder in ["winsock", "target"] {
        std::fs::create_dir(inside(folder)).unwrap();
    }
    std::os::unix::fs::symlink(root.join("include"), inside("winsock/include")).unwrap();
    std::os::unix::fs::symlink(library.parent().unwrap(), inside("target/release")).unwrap();
    std::fs::copy(root.join("tests/c/codes.c"), inside("program.c")).unwrap();
    std::fs::copy(root.join("tests/c/check.h"), inside("check.h")).unwrap();
    std::fs::write(inside("policy.toml"), LOOPBACK).unwrap();
    let page = std::fs::read_to_string(root.join("../docs/WINSOCK.md")).unwrap();
    let blocks = page.split("```").skip(1).step_by(2);
    let scripts: Vec<_> =
        blocks.flat_map(|block| block.split("\n\n")).filter(|script| script.contains("./a.out")).collect();
    assert_eq!(scripts.len(), 3, "{scripts:?}");
    for script in scripts {
        let ran = Command::new("sh").args(["-ec", script]).current_dir(&directory).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && text.ends_with("RIGHT\n"), "{script}\n{text}{errors}");
    }
}

#[test]
fn the_usual_sample_programs_run() {
    if installed(&["ip"]) {
        run_with_each_compiler("patterns", LOOPBACK);
    }
}

#[test]
fn a_multicast_flow_is_reserved_on_the_interface_that_the_socket_selects() {
    if installed(&["ip"]) {
        let link = |name, capacity| {
            format!(
                "[interface.{name}]\negress = {{ capacity = \"{capacity}\", reservable = \"80%\" }}\nenforcement = \"user-space\"\n"
            )
        };
        let links = link("gq0", "10 Mbit/s") + &link("gq1", "1 Mbit/s");
        let policy = format!("version = 1\n{links}");
        run("multicast", "cc", &["-std=c11"], &library(Form::Shared), &policy);
    }
}

/// Groups, events, overlapped operations, and the codes that need a network namespace.
#[test]
fn a_c_program_uses_groups_events_and_overlapped_operations() {
    // The program runs these tools in its namespace.
    if !installed(&["ip", "tc", "grep"]) {
        return;
    }
    let library = library(Form::Shared);
    let directory = tempfile::tempdir().unwrap();
    let [policy, other] = ["policy.toml", "other.toml"].map(|name| directory.path().join(name));
    let link = |name: &str, more: &str| {
        format!(
            "version = 1\n[interface.{name}]\negress = {{ capacity = \"10 Mbit/s\", reservable = \"80%\" }}\n{more}\n"
        )
    };
    std::fs::write(&policy, link("lo", "enforcement = \"user-space\"")).unwrap();
    std::fs::write(&other, link("gq0", "")).unwrap();
    for (compiler, flags) in compilers() {
        let program = directory.path().join("quality");
        // The program itself defines what makes the headers declare more than C89.
        let built = compile(compiler, flags, "tests/c/quality.c", &program, Some(&library));
        let errors = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{compiler} {flags:?}: {errors}");
        let mut command = Command::new(&program);
        let ran = command.env("GQOS_POLICY", &policy).env("GQOS_OTHER_POLICY", &other).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        if ran.status.code() == Some(77) {
            return skip(&text);
        }
        assert!(
            ran.status.success() && text.ends_with("RIGHT\n"),
            "{compiler} {flags:?}: {:?}\n{text}",
            ran.status
        );
    }
}

/// Runs a program that releases its reservation and requests it again, in one of its ways.
#[track_caller]
fn credit(enforcement: &str, ways: &[&str]) {
    // The program runs this tool in its namespace.
    if !installed(&["ip"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (policy, program) = (directory.path().join("policy.toml"), directory.path().join("credit"));
    let text = format!(
        "version = 1\n[interface.lo]\negress = {{ capacity = \"100 Mbit/s\", reservable = \"80%\" }}\nenforcement = \"{enforcement}\"\n"
    );
    std::fs::write(&policy, text).unwrap();
    let built = compile("cc", &["-std=c11"], "tests/c/credit.c", &program, Some(&library(Form::Shared)));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    for way in ways {
        let ran = Command::new(&program).arg(way).env("GQOS_POLICY", &policy).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        if ran.status.code() == Some(77) {
            return skip(&text);
        }
        println!("{enforcement}: {text}");
        assert!(ran.status.success() && text.ends_with("RIGHT\n"), "{enforcement}: {:?}\n{text}", ran.status);
    }
}

#[test]
fn a_c_program_gets_no_second_bucket_in_user_space() {
    credit("user-space", &["toggle", "connections", "restarts"]);
}

#[test]
fn a_c_program_gets_no_second_bucket_in_the_kernel() {
    credit("kernel", &["toggle", "connections", "restarts", "write"]);
}

#[test]
fn what_write_sends_exceeds_the_rate_by_no_more_than_link_headers() {
    credit("kernel", &["steady"]);
}

/// The program asserts the sizes of 32-bit structures and the offsets of their fields when it is compiled.
#[test]
fn layouts_hold_for_32_bits() {
    const FLAGS: &[&str] = &["-m32", "-std=c11"];
    if !compiles("cc", FLAGS) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let object = directory.path().join("codes.o");
    let built = compile("cc", FLAGS, "tests/c/codes.c", &object, None);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
