//! A game server that is none: it prints, listens, crashes and misbehaves exactly as its flags and console lines say.
//!
//! Tests, benches and people use it as the workload under a supervisor (`fake_game --help`). It is deterministic: the
//! same flags give the same output and the same end, and nothing depends on the clock but the delays asked for.
mod console;
mod flags;
mod game;
mod ping;
mod tricks;

use std::process::ExitCode;

fn main() -> ExitCode {
    match flags::parse(std::env::args().skip(1)) {
        Ok(flags::Parsed::Help) => {
            print!("{}", flags::HELP);
            ExitCode::SUCCESS
        }
        Ok(flags::Parsed::Run(flags)) => game::run(*flags),
        Err(fault) => {
            eprintln!("fake_game: {fault}\nTry 'fake_game --help'.");
            ExitCode::from(2)
        }
    }
}
