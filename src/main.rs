//! Sorts out who is being started: a keeper, the init of a container, or the command line.
use std::{ffi::OsString, process::ExitCode};
use zlh::keeper;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    // A keeper lives for months beside each workload: it must not pay for anything the rest of the program sets up.
    match keeper::invoked(&args) {
        Some(Ok(dir)) => return keeper::run(&dir).into(),
        Some(Err(usage)) => {
            eprintln!("{usage}");
            return keeper::EXIT_USAGE.into();
        }
        None => {}
    }
    if keeper::init::wanted(&args) {
        return keeper::init::run(&args).into();
    }
    zlh::cli::run()
}
