//! The headers: names, numbers and layouts as Windows has them, and programs that are written against these, compiled by
//! gcc and clang as C and C++ and linked with both forms of the library.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::compiles;

/// Builds the library in the profile of the tests and returns the directory with both its forms.
fn library() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--locked", "-p", "libgqos"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Test programs are in target/PROFILE/deps.
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("debug")
}

/// The compilers that this machine has, each with the language that it compiles.
fn compilers() -> Vec<(&'static str, &'static [&'static str])> {
    let all: [(&str, &[&str]); 8] = [
        ("gcc", &["-std=c11"]),
        ("gcc", &["-std=gnu89"]),
        ("g++", &["-std=c++98", "-x", "c++"]),
        ("g++", &["-std=c++17", "-x", "c++"]),
        ("clang", &["-std=c11"]),
        ("clang", &["-std=gnu17", "-O2"]),
        ("clang++", &["-std=c++98", "-x", "c++"]),
        ("clang++", &["-std=c++17", "-x", "c++"]),
    ];
    all.into_iter().filter(|(name, flags)| compiles(name, flags)).collect()
}

/// Compiles a program of `tests/c` with `-Wall -Wextra -Werror`.
#[track_caller]
fn compile((compiler, flags): (&str, &[&str]), source: &str, options: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(compiler);
    command
        .args(["-Wall", "-Wextra", "-Werror", "-Wno-unused-function"])
        .args(flags)
        .arg("-I")
        .arg(root.join("include"));
    command.arg(root.join("tests/c").join(source)).args(["-x", "none"]).args(options);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{source}, {compiler} {flags:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// How a program is linked.
#[derive(Clone, Copy)]
enum Form {
    Shared,
    Archive,
}

/// Compiles a program by each compiler, links it, and runs it under a policy with 8 Mbit/s of loopback to reserve.
#[track_caller]
fn check(source: &str, form: Form) {
    let library = library();
    let directory = tempfile::tempdir().unwrap();
    let [policy, program] = ["policy.toml", "program"].map(|name| directory.path().join(name));
    std::fs::write(
        &policy,
        "version = 1\n[interface.lo]\negress = { capacity = \"10 Mbit/s\", reservable = \"80%\" }\nenforcement = \"user-space\"\n",
    )
    .unwrap();
    let to = program.display().to_string();
    let at = library.display();
    let (archive, search, rpath) = (format!("{at}/libgqos.a"), format!("-L{at}"), format!("-Wl,-rpath,{at}"));
    let options: Vec<&str> = match form {
        Form::Shared => vec!["-o", &to, &search, "-lgqos", &rpath, "-lpthread"],
        Form::Archive => vec!["-o", &to, &archive, "-lpthread", "-ldl", "-lm"],
    };
    for compiler in compilers() {
        compile(compiler, source, &options);
        let ran = Command::new(&program).env("GQOS_POLICY", &policy).output().unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        assert!(
            ran.status.success() && text.ends_with("RIGHT\n"),
            "{source}, {compiler:?}: {:?}\n{text}",
            ran.status
        );
    }
}

/// A header that a program includes alone. Those that change the packing of structures come in pairs.
#[test]
fn each_header_compiles_alone() {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let directory = tempfile::tempdir().unwrap();
    let [source, object] = ["alone.c", "alone.o"].map(|name| directory.path().join(name));
    let mut checked = 0;
    for file in std::fs::read_dir(include).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let is_header = Path::new(&name).extension().is_some_and(|extension| extension == "h");
        // The other spellings include these.
        if !is_header || name != name.to_lowercase() || name.starts_with("pshpack") || name == "poppack.h" {
            continue;
        }
        std::fs::write(&source, format!("#include <{name}>\nint used;\n")).unwrap();
        for compiler in compilers() {
            compile(compiler, source.to_str().unwrap(), &["-c", "-o", object.to_str().unwrap()]);
        }
        checked += 1;
    }
    assert!(checked >= 20, "{checked} headers");
}

/// What a source of Winsock 1.1 uses for multicast, in each spelling of its header.
#[test]
fn winsock_1_has_multicast() {
    let directory = tempfile::tempdir().unwrap();
    let [source, object] = ["old.c", "old.o"].map(|name| directory.path().join(name));
    for header in ["winsock.h", "Winsock.h", "WinSock.h", "WINSOCK.H"] {
        let program = format!(
            "#include <{header}>\nint join(SOCKET s) {{\n    struct ip_mreq group;\n    memset(&group, 0, sizeof group);\n    \
             return setsockopt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, (char *)&group, sizeof group);\n}}\n\
             #include <ws2tcpip.h>\n"
        );
        std::fs::write(&source, program).unwrap();
        for compiler in compilers() {
            compile(compiler, source.to_str().unwrap(), &["-c", "-o", object.to_str().unwrap()]);
        }
    }
}

#[test]
fn a_layered_provider_reaches_the_base_provider_through_the_table() {
    check("layered.c", Form::Shared);
}

#[test]
fn a_layered_provider_may_be_linked_with_the_archive() {
    check("layered.c", Form::Archive);
}

#[test]
fn a_name_of_the_spi_is_the_base_provider_unless_the_program_defines_it() {
    check("base_provider.c", Form::Shared);
    check("base_provider.c", Form::Archive);
}

#[test]
fn names_have_the_numbers_and_sizes_of_windows_and_are_linked() {
    check("names.c", Form::Shared);
    check("names.c", Form::Archive);
}

#[test]
fn extension_functions_and_options_work() {
    check("extensions.c", Form::Shared);
}

#[test]
fn a_console_program_waits_for_events_and_threads() {
    check("console.c", Form::Shared);
}

#[test]
fn a_qwave_flow_is_reserved_and_shaped() {
    check("qwave.c", Form::Shared);
}
