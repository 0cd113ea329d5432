//! `zlh backup`.
use super::WaitArgs;
use clap::Subcommand;

#[derive(Clone, Debug, Subcommand)]
pub enum BackupVerb {
    /// Make one; people go on working, a game holds its writes meanwhile
    Create(WaitArgs),
    /// What there is, newest first
    List,
    /// Put one back; what is there now is saved first, and a game must be stopped
    Restore {
        /// Id of a backup (the part that the table shows is enough), or `last`
        id: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Read all of one again and compare every file with its hash
    Verify {
        /// Id of a backup (the part that the table shows is enough), or `last`
        id: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Delete one
    Delete {
        /// Id of a backup (the part that the table shows is enough)
        id: String,
    },
}
