//! Who starts it all: command line, composition roots, client commands.
pub mod agent;
pub mod args;
pub mod artifacts;
pub mod client;
pub mod failure;
pub mod gateway;
pub mod install;
pub mod show;
pub mod target;
pub mod terminal;
pub mod up;

use args::{Arguments, Verb};
use clap::Parser;
use nix::sys::signal::SigSet;
use std::process::ExitCode;

/// Reads the command line, does what it says, and says how that went (`--help` lists the exit codes).
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    // A parent may have blocked signals for itself (`perf record` blocks SIGWINCH), and a new program inherits that:
    // it would never hear what resizes or ends it. Threads inherit this mask, and what we start does too.
    if let Err(e) = SigSet::empty().thread_set_mask() {
        eprintln!("zlh: some signals may not be heard, they stay blocked: {e}");
    }
    match arguments.verb {
        Verb::Agent(args) => agent::run(args::AgentArgs { token_file: arguments.client.token_file, ..args }),
        Verb::Gateway(args) => gateway::run(args),
        Verb::Up(args) => up::run(args),
        Verb::Install(args) => install::run(args),
        Verb::WatchUpdate(args) => agent::updating::watch(&args),
        Verb::Artifacts(args) => artifacts::run(&arguments.client, args),
        Verb::Client(verb) => client::run(arguments.client, verb),
    }
}
