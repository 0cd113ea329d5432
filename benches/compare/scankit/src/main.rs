//! How long the agent takes to find a running editor among all processes: what `benches/compare/scan.py` runs.
//!
//!     scankit SHELF N [procfs]     N passes; prints the median in microseconds, and how many were found
//!
//! The pass is the agent's own: scan.rs and process.rs are copied beside this file from src/host/process and
//! src/policy/code_server. `procfs` is the same question by way of the procfs crate, for comparison.
mod process;
mod scan;

use process::{Role, claims, is_its_program};
use procfs::process::all_processes;
use std::{path::Path, process::ExitCode, time::Instant};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [shelf, passes, how @ ..] = words.as_slice() else { return usage() };
    let (Ok(passes @ 1..), shelf) = (passes.parse::<usize>(), Path::new(shelf)) else { return usage() };
    let pass: fn(&Path) -> usize = if how.is_empty() { ours } else { by_procfs };
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..passes {
        let begun = Instant::now();
        found = pass(shelf);
        times.push(begun.elapsed());
    }
    times.sort();
    println!("{{\"us\": {:.1}, \"found\": {found}}}", times[passes / 2].as_secs_f64() * 1e6);
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: scankit SHELF N [procfs]");
    ExitCode::from(2)
}

fn ours(shelf: &Path) -> usize {
    let mut found = Vec::new();
    let passed = scan::command_lines(|pid, line| {
        if claims(line, shelf) == Some(Role::Parent) {
            found.push(pid);
        }
    });
    if let Err(e) = passed {
        eprintln!("scankit: {e}");
    }
    found.into_iter().filter(|pid| is_its_program(scan::program(*pid).as_deref(), shelf)).count()
}

fn by_procfs(shelf: &Path) -> usize {
    let line = |words: Vec<String>| words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect::<Vec<u8>>();
    let mut found = 0;
    for process in all_processes().into_iter().flatten().flatten() {
        let claim = process.cmdline().ok().and_then(|words| claims(&line(words), shelf));
        let is_ours = claim == Some(Role::Parent) && is_its_program(process.exe().ok().as_deref(), shelf);
        found += usize::from(is_ours);
    }
    found
}
