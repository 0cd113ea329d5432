//! Which backups are too many.
use crate::model::{
    backup::{Backup, BackupId, Reason},
    settings,
};

/// Of each reason the newest are kept; checkpoints never push out what somebody asked for. `spared` are kept whatever
/// their age.
pub fn surplus(newest_first: &[Backup], rules: &settings::Backups, spared: &[&BackupId]) -> Vec<BackupId> {
    let too_many = |reason: Reason, keep: usize| {
        let of_reason = newest_first.iter().filter(move |backup| backup.reason == reason);
        of_reason.skip(keep).map(|backup| &backup.id)
    };
    let all = too_many(Reason::Manual, rules.keep).chain(too_many(Reason::Checkpoint, rules.keep_checkpoints));
    all.filter(|id| !spared.contains(id)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::backup::tests::{backup, id};
    use proptest::prelude::*;

    #[test]
    fn the_newest_of_each_reason_stay() {
        let rules = settings::Backups { keep: 2, keep_checkpoints: 1, ..settings::Backups::default() };
        let (m, c) = (Reason::Manual, Reason::Checkpoint);
        let list: Vec<Backup> = [(7, c), (6, m), (5, c), (4, c), (3, m), (2, m), (1, m)]
            .map(|(n, reason)| Backup { reason, ..backup(n) })
            .to_vec();
        assert_eq!(surplus(&list, &rules, &[]), [id(2), id(1), id(5), id(4)]);
        assert_eq!(surplus(&list, &rules, &[&id(1), &id(5)]), [id(2), id(4)]);
        assert_eq!(surplus(&[], &rules, &[]), []);
    }

    proptest! {
        /// Never fewer than asked for, never the newest, never what is spared; applied twice it finds nothing more.
        #[test]
        fn what_stays_is_enough_and_stays(reasons in prop::collection::vec(any::<bool>(), 0..30), keep in 1..9usize, kept in 1..5usize, spare in 0..30u64) {
            let rules = settings::Backups { keep, keep_checkpoints: kept, ..settings::Backups::default() };
            let list: Vec<Backup> = reasons.iter().enumerate().map(|(n, manual)| {
                let reason = if *manual { Reason::Manual } else { Reason::Checkpoint };
                Backup { reason, ..backup(100 - n as u64) }
            }).collect();
            let spared = id(spare + 70);
            let gone = surplus(&list, &rules, &[&spared]);
            prop_assert!(!gone.contains(&spared));
            let left: Vec<Backup> = list.iter().filter(|b| !gone.contains(&b.id)).cloned().collect();
            for (reason, least) in [(Reason::Manual, keep), (Reason::Checkpoint, kept)] {
                let count = |of: &[Backup]| of.iter().filter(|b| b.reason == reason).count();
                prop_assert!(count(&left) >= least.min(count(&list)) && count(&left) <= least + 1);
            }
            prop_assert_eq!(list.first().map(|b| &b.id), left.first().map(|b| &b.id));
            prop_assert_eq!(surplus(&left, &rules, &[&spared]), Vec::<BackupId>::new());
        }
    }
}
