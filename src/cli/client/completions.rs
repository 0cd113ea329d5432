//! `zlh completions`: scripts for shells.
use crate::cli::args::{self, CompletionShell};

pub fn script(shell: CompletionShell) -> String {
    let mut out = Vec::new();
    clap_complete::generate(clap_complete::Shell::from(shell), &mut args::command(), "zlh", &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
