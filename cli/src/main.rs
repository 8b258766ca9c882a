//! The binary `stratavec`.

use std::process::ExitCode;

fn main() -> ExitCode {
    stratavec_cli::run(std::env::args_os())
}
