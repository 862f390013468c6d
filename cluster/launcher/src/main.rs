//! The program `tideflow`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tideflow_launcher::main()
}
