//! The command `gqos`.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
