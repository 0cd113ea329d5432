//! Who did what: a log whose entries each hold the hash of all before them, so that a changed, inserted or removed one
//! shows. What it cannot show is that the newest entries were cut off: note the head now and then, and compare.
use super::{Database, Error, Part, Row};
use crate::model::time::WallTime;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Entries read at a time while verifying.
const PAGE: i64 = 1000;
/// Old entries are removed each time so many have come.
const SWEEP: i64 = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    pub at: WallTime,
    /// A user's name, or `-`.
    pub actor: String,
    pub peer: String,
    pub action: String,
    pub object: String,
    pub outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub seq: i64,
    pub entry: NewEntry,
    /// Lower-case hex.
    pub hash: String,
}

/// What verifying found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub entries: u64,
    /// Number and hash of the newest entry.
    pub head: Option<(i64, String)>,
    /// First entry that does not follow from the one before it.
    pub broken_at: Option<i64>,
}

/// Lengths before each field: no two different entries have the same bytes.
fn hash(previous: &str, seq: i64, entry: &NewEntry) -> String {
    let mut sum = Sha256::new();
    let (number, at) = (seq.to_string(), entry.at.0.to_string());
    let fields = [previous, &number, &at, &entry.actor, &entry.peer, &entry.action, &entry.object, &entry.outcome];
    for field in fields {
        sum.update((field.len() as u64).to_be_bytes());
        sum.update(field.as_bytes());
    }
    HEXLOWER.encode(&sum.finalize())
}

const COLUMNS: &str = "SELECT seq, at, actor, peer, action, object, outcome, hash FROM audit \
                       WHERE seq > $1 ORDER BY seq LIMIT $2";

impl Database {
    /// Appends; `keep`: older entries than so many go.
    pub async fn append_audit(&self, entry: &NewEntry, keep: u64) -> Result<(), Error> {
        let mut change = self.change(Part::Audit).await?;
        let rows = change.rows("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", &[]).await?;
        let (last, previous) = match rows.first() {
            Some(row) => (row.number(0)?, row.text(1)?),
            None => (0, String::new()),
        };
        let seq = last + 1;
        let sql = "INSERT INTO audit (seq, at, actor, peer, action, object, outcome, hash) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let values = [
            seq.into(),
            entry.at.0.into(),
            entry.actor.as_str().into(),
            entry.peer.as_str().into(),
            entry.action.as_str().into(),
            entry.object.as_str().into(),
            entry.outcome.as_str().into(),
            hash(&previous, seq, entry).into(),
        ];
        change.execute(sql, &values).await?;
        if seq % SWEEP == 0 {
            let oldest = seq.saturating_sub(i64::try_from(keep).unwrap_or(i64::MAX));
            change.execute("DELETE FROM audit WHERE seq <= $1", &[oldest.into()]).await?;
        }
        change.commit().await
    }

    /// Entries after `seq`, oldest first.
    pub async fn audit_after(&self, seq: i64, most: i64) -> Result<Vec<Entry>, Error> {
        self.rows(COLUMNS, &[seq.into(), most.into()]).await?.iter().map(entry).collect()
    }

    /// The newest entries, oldest first.
    pub async fn audit_newest(&self, most: i64) -> Result<Vec<Entry>, Error> {
        let rows = self.rows("SELECT COALESCE(MAX(seq), 0) FROM audit", &[]).await?;
        let last = rows.first().map_or(Ok(0), |row| row.number(0))?;
        self.audit_after(last.saturating_sub(most), most).await
    }

    /// Is there an entry with this hash?
    pub async fn has_audit(&self, hash: &str) -> Result<bool, Error> {
        Ok(!self.rows("SELECT seq FROM audit WHERE hash = $1", &[hash.into()]).await?.is_empty())
    }

    /// Walks the whole chain. The first entry kept is believed: what came before it is gone by `audit.keep`.
    pub async fn verify_audit(&self) -> Result<Chain, Error> {
        let mut chain = Chain { entries: 0, head: None, broken_at: None };
        loop {
            let from = chain.head.as_ref().map_or(0, |(seq, _)| *seq);
            let page = self.audit_after(from, PAGE).await?;
            if page.is_empty() {
                return Ok(chain);
            }
            for one in page {
                if !follows(&chain, &one) {
                    return Ok(Chain { broken_at: Some(one.seq), ..chain });
                }
                chain = Chain { entries: chain.entries + 1, head: Some((one.seq, one.hash)), broken_at: None };
            }
        }
    }
}

fn follows(chain: &Chain, one: &Entry) -> bool {
    match &chain.head {
        Some((seq, before)) => one.seq == seq + 1 && one.hash == hash(before, one.seq, &one.entry),
        None => one.seq > 1 || one.hash == hash("", one.seq, &one.entry),
    }
}

fn entry(row: &Row) -> Result<Entry, Error> {
    Ok(Entry {
        seq: row.number(0)?,
        entry: NewEntry {
            at: WallTime(row.number(1)?),
            actor: row.text(2)?,
            peer: row.text(3)?,
            action: row.text(4)?,
            object: row.text(5)?,
            outcome: row.text(6)?,
        },
        hash: row.text(7)?,
    })
}
