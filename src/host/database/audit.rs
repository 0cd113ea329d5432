//! Who did what: a log whose entries each hold the hash of all before them, so that a changed, inserted or removed one
//! shows. Its end is sealed with a key that is not in the database, so that newest entries that were cut off show as
//! well. What that cannot show is a whole database put back to what it once was: note the head now and then, and compare.
use super::{Change, Database, Error, Part, Row};
use crate::{host::keyring::Keyring, model::time::WallTime};
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
    pub end: End,
}

/// What the seal on the log's end says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Sound,
    /// This entry was the newest, and is not there as it was.
    CutOff(i64),
    /// There are entries and no seal.
    Unsealed,
    /// The seal was not made with a key of this gateway.
    Forged,
    /// The key that made the seal is gone.
    KeyGone,
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
    /// Appends, and seals the new end; `keep`: older entries than so many go.
    pub async fn append_audit(&self, entry: &NewEntry, keep: u64, keyring: &Keyring) -> Result<(), Error> {
        let mut change = self.change(Part::Audit).await?;
        let rows = change.rows("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1", &[]).await?;
        let (last, previous) = match rows.first() {
            Some(row) => (row.number(0)?, row.text(1)?),
            None => (0, String::new()),
        };
        let seq = last + 1;
        let hash = hash(&previous, seq, entry);
        seal_end(&mut change, keyring, seq, &hash).await?;
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
            hash.into(),
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
    pub async fn verify_audit(&self, keyring: &Keyring) -> Result<Chain, Error> {
        // Read first: what is appended during the walk comes after it.
        let sealed = self.rows("SELECT seq, hash, seal FROM audit_end WHERE id = 1", &[]).await?;
        let sealed = sealed.first().map(sealed_end).transpose()?;
        let chain = self.walk_audit().await?;
        let end = self.judged(&chain, sealed, keyring).await?;
        Ok(Chain { end, ..chain })
    }

    async fn judged(&self, chain: &Chain, sealed: Option<SealedEnd>, keyring: &Keyring) -> Result<End, Error> {
        let Some(sealed) = sealed else {
            return Ok(if chain.entries == 0 { End::Sound } else { End::Unsealed });
        };
        match keyring.is_sealed(&text_of(sealed.seq, &sealed.hash), &sealed.seal) {
            None => return Ok(End::KeyGone),
            Some(false) => return Ok(End::Forged),
            Some(true) => {}
        }
        let there = self.audit_after(sealed.seq - 1, 1).await?;
        let is_there = there.first().is_some_and(|one| one.seq == sealed.seq && one.hash == sealed.hash);
        Ok(if is_there { End::Sound } else { End::CutOff(sealed.seq) })
    }

    async fn walk_audit(&self) -> Result<Chain, Error> {
        let mut chain = Chain { entries: 0, head: None, broken_at: None, end: End::Sound };
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
                chain = Chain { entries: chain.entries + 1, head: Some((one.seq, one.hash)), ..chain };
            }
        }
    }
}

/// The newest entry as it was when it was written.
struct SealedEnd {
    seq: i64,
    hash: String,
    seal: String,
}

fn sealed_end(row: &Row) -> Result<SealedEnd, Error> {
    Ok(SealedEnd { seq: row.number(0)?, hash: row.text(1)?, seal: row.text(2)? })
}

fn text_of(seq: i64, hash: &str) -> String {
    format!("audit log ends with {seq} {hash}")
}

async fn seal_end(change: &mut Change, keyring: &Keyring, seq: i64, hash: &str) -> Result<(), Error> {
    let sql = "INSERT INTO audit_end (id, seq, hash, seal) VALUES (1, $1, $2, $3) \
               ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, seal = excluded.seal";
    let seal = keyring.seal(&text_of(seq, hash));
    change.execute(sql, &[seq.into(), hash.into(), seal.into()]).await?;
    Ok(())
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
