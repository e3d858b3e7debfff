//! The binary `pillion`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pillion::launch::main()
}
