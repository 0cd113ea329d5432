//! `zlh runtimes`.
use super::WaitArgs;
use clap::Subcommand;

#[derive(Clone, Debug, Subcommand)]
pub enum RuntimesVerb {
    /// What is installed, by whom it is used, and what the artifact server has
    List,
    /// Install a version and make it the active one; what is there already is verified
    Install {
        /// node, python, go, java, dotnet
        runtime: String,
        /// As the catalog names it, or its beginning (22)
        version: String,
        /// Leave the active version as it is
        #[arg(long)]
        keep_active: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Make an installed version the active one
    Use {
        runtime: String,
        version: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Go back to the version that was active before
    Rollback {
        runtime: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove a version that nobody uses
    Remove {
        runtime: String,
        version: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Compare every file with the manifest
    Verify {
        runtime: String,
        /// [default: the active one]
        version: Option<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Make damaged files as they were installed
    Repair {
        runtime: String,
        /// [default: the active one]
        version: Option<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Delete superseded versions and what no install needs
    Gc(WaitArgs),
}
