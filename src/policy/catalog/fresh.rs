//! A catalog never goes back: whoever can replay an old one could bring back a version with a known hole.
use crate::model::{
    catalog::{Digest, Stamp},
    time::WallTime,
};
use serde::{Deserialize, Serialize};

/// What is remembered of the last catalog that was believed, per address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Believed {
    pub serial: Option<u64>,
    pub generated_at: Option<WallTime>,
    /// Of the catalog's bytes.
    pub digest: Digest,
}

impl Believed {
    pub fn of(stamp: Stamp, digest: Digest) -> Believed {
        Believed { serial: stamp.serial, generated_at: stamp.generated_at, digest }
    }
}

/// Why a catalog is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    #[error("it has serial {found}, but {last} was seen before: this is an older catalog")]
    Serial { found: u64, last: u64 },
    #[error("it was generated at {found}, but one of {last} was seen before: this is an older catalog")]
    Generated { found: WallTime, last: WallTime },
    #[error("it has no serial, but the one before had ({last}): this may be an older catalog")]
    NoSerial { last: u64 },
    #[error("it has serial {0} like the one before, but other content")]
    Reused(u64),
}

/// May `found` replace `last`? The serial decides where there is one, else the time; the same bytes always may.
pub fn judge(last: Option<&Believed>, found: &Believed) -> Result<(), Stale> {
    let Some(last) = last.filter(|last| last.digest != found.digest) else { return Ok(()) };
    match (last.serial, found.serial) {
        (Some(last), Some(found)) if found < last => Err(Stale::Serial { found, last }),
        (Some(last), Some(found)) if found == last => Err(Stale::Reused(found)),
        (Some(last), None) => Err(Stale::NoSerial { last }),
        (None, Some(_)) | (Some(_), Some(_)) => Ok(()),
        (None, None) => match (last.generated_at, found.generated_at) {
            (Some(last), Some(found)) if found < last => Err(Stale::Generated { found, last }),
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn believed(serial: Option<u64>, at: Option<i64>, content: u8) -> Believed {
        Believed { serial, generated_at: at.map(WallTime), digest: Digest([content; 32]) }
    }

    #[test]
    fn a_catalog_never_goes_back() {
        let table = [
            (believed(Some(5), None, 1), believed(Some(6), None, 2), Ok(())),
            (believed(Some(5), None, 1), believed(Some(5), None, 1), Ok(())),
            (believed(Some(5), Some(9), 1), believed(Some(6), Some(2), 2), Ok(())), // clocks may be wrong
            (believed(Some(5), None, 1), believed(Some(5), None, 2), Err(Stale::Reused(5))),
            (believed(Some(5), None, 1), believed(Some(4), None, 2), Err(Stale::Serial { found: 4, last: 5 })),
            (believed(Some(5), None, 1), believed(None, Some(99), 2), Err(Stale::NoSerial { last: 5 })),
            (believed(None, Some(9), 1), believed(Some(1), None, 2), Ok(())),
            (believed(None, Some(9), 1), believed(None, Some(9), 2), Ok(())),
            (believed(None, None, 1), believed(None, None, 2), Ok(())),
            (
                believed(None, Some(9), 1),
                believed(None, Some(8), 2),
                Err(Stale::Generated { found: WallTime(8), last: WallTime(9) }),
            ),
        ];
        for (last, found, expected) in table {
            assert_eq!(judge(Some(&last), &found), expected, "{last:?} {found:?}");
            assert_eq!(judge(None, &found), Ok(()));
        }
    }
}
