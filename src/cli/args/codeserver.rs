//! `zlh codeserver`: the editor in the browser.
use super::WaitArgs;
use clap::Subcommand;

#[derive(Clone, Debug, Subcommand)]
pub enum CodeserverVerb {
    /// Is it up, who uses it, what it takes, how it ended last; exit code 1 if it is not up
    Status,
    /// Start it and wait until it answers; installs nothing
    Start(WaitArgs),
    /// Stop it; what runs in its terminals ends too
    Stop(WaitArgs),
    /// Stop it and start it again
    Restart(WaitArgs),
    /// Print what it has said
    Logs {
        /// How many lines
        #[arg(long, short = 'n', default_value_t = 100, value_name = "N")]
        lines: usize,
    },
}
