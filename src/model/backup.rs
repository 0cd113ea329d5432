//! Backups: copies of a workspace or of a server root that can be put back.
use super::{catalog::Digest, container::Kind, time::WallTime};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use utoipa::ToSchema;

/// A UUIDv7 in its usual form: sorts by time of creation, and is a plain folder name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BackupId(String);

impl BackupId {
    /// Lower-case hexadecimal digits in groups of 8-4-4-4-12; nothing else is a backup's name.
    pub fn parse(text: &str) -> Option<BackupId> {
        let groups: Vec<&str> = text.split('-').collect();
        let sound = |(group, length): (&&str, usize)| {
            group.len() == length && group.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let fits = groups.len() == 5 && groups.iter().zip([8, 4, 4, 4, 12]).all(sound);
        fits.then(|| BackupId(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// Somebody asked for it.
    Manual,
    /// What there was before another backup was put back.
    Checkpoint,
}

/// A backup that is whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Backup {
    #[schema(value_type = String)]
    pub id: BackupId,
    #[schema(value_type = String)]
    pub kind: Kind,
    pub reason: Reason,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: WallTime,
    /// What it is a copy of, beneath the agent's root: `home/dev/workspace`.
    pub source: String,
    /// Names of all kinds in it.
    pub entries: u64,
    /// Bytes of its files once they are unpacked.
    pub bytes: u64,
    pub archive_bytes: u64,
    /// Of the archive.
    #[schema(value_type = String)]
    pub sha256: Digest,
    /// What was left out, and is left alone when it is put back.
    pub exclude: Vec<String>,
    /// What a person should know of it: files that changed while they were read, names that could not be. The first 100.
    pub warnings: Vec<String>,
    /// How many there were.
    pub warning_count: u64,
    /// The last comparison of archive and manifest.
    #[serde(default)]
    pub verified: Option<Verified>,
}

impl Backup {
    /// Warnings that are kept of each.
    pub const WARNINGS: usize = 100;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    #[schema(value_type = String, format = DateTime)]
    pub at: WallTime,
    pub sound: bool,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// All backups of one kind, newest first.
pub type Backups = Arc<Vec<Backup>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_uuid_is_the_name_of_a_backup() {
        let good = "0198c0de-7a11-7abc-8def-0123456789ab";
        assert_eq!(BackupId::parse(good).unwrap().as_str(), good);
        for bad in [
            "",
            "..",
            "../0198c0de-7a11-7abc-8def-0123456789ab",
            "0198C0DE-7a11-7abc-8def-0123456789ab",
            "0198c0de7a117abc8def0123456789ab",
            "0198c0de-7a11-7abc-8def-0123456789a",
            "0198c0de-7a11-7abc-8def-0123456789ab.partial",
            "0198c0de-7a11-7abc-8def-0123456789a/",
        ] {
            assert_eq!(BackupId::parse(bad), None, "{bad}");
        }
    }
}
