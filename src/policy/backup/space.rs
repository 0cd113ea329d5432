//! Is there room? Asked at the door, from what is known without reading anything; the work itself watches the disk, too.
use super::{Order, Shelves};
use crate::model::{container::Kind, refusal::Refusal, settings};

/// A copy is guessed to be as large as the last one; what unpacking takes is known.
pub fn room(order: &Order, kind: Kind, shelves: &Shelves, free: u64, rules: &settings::Backups) -> Result<(), Refusal> {
    let copy = shelves.of(kind).first().map_or(0, |newest| newest.archive_bytes);
    let work = match order {
        Order::Make { .. } => copy,
        Order::PutBack { of, .. } => copy + shelves.find(kind, of).map_or(0, |backup| backup.bytes),
        Order::Verify { .. } | Order::Delete { .. } => return Ok(()),
    };
    let needed = work.saturating_add(rules.min_free_bytes);
    if free < needed { Err(Refusal::DiskFull { needed, free }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::backup::Backup,
        policy::backup::tests::{backup, id},
    };
    use std::sync::Arc;

    #[test]
    fn what_is_needed_is_named() {
        let rules = settings::Backups { min_free_bytes: 100, ..settings::Backups::default() };
        let newest = Backup { archive_bytes: 10, bytes: 1_000, ..backup(2) };
        let older = Backup { archive_bytes: 7, bytes: 500, ..backup(1) };
        let shelves = Shelves { dev: Arc::new(vec![newest, older]), ..Shelves::default() };
        let put_back = Order::PutBack { of: id(1), checkpoint: id(9) };
        for (order, needed) in [(Order::Make { id: id(3) }, 110), (put_back, 610)] {
            let ask = |free| room(&order, Kind::Dev, &shelves, free, &rules);
            assert_eq!(ask(needed), Ok(()));
            assert_eq!(ask(needed - 1), Err(Refusal::DiskFull { needed, free: needed - 1 }));
        }
        assert_eq!(room(&Order::Make { id: id(3) }, Kind::Game, &shelves, 100, &rules), Ok(()));
        assert_eq!(room(&Order::Delete { of: id(1) }, Kind::Dev, &shelves, 0, &rules), Ok(()));
    }
}
