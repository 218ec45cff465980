//! The `curtail` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    curtail::cli::run()
}
