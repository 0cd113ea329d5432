//! How several gateways share the agents: a fixed number of shards, each leased by one gateway at a time.
use crate::model::ids::Vmid;
use std::{collections::BTreeSet, time::Duration};

/// Small enough to be renewed in one go, large enough to be shared evenly.
pub const SHARDS: u16 = 64;
/// A lease ends this long after its last renewal; with [`RENEW`] another gateway has it well within 15 s.
pub const LEASE: Duration = Duration::from_secs(6);
pub const RENEW: Duration = Duration::from_secs(2);

pub fn shard(vmid: Vmid) -> u16 {
    (vmid.0 % u32::from(SHARDS)) as u16
}

/// What to do about leases now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// To try for, in this order.
    pub take: Vec<u16>,
    pub release: Vec<u16>,
}

/// `mine`: shards that this gateway holds; `gateways`: how many are alive, this one included; `place`: this one's among
/// them in the order of their names, so that two that start together try for different ones.
pub fn plan(mine: &BTreeSet<u16>, held_by_others: &BTreeSet<u16>, gateways: usize, place: usize) -> Plan {
    let gateways = gateways.max(1);
    let fair = usize::from(SHARDS).div_ceil(gateways);
    let start = (place % gateways) * usize::from(SHARDS) / gateways;
    let free = (0..SHARDS)
        .map(|i| (i + start as u16) % SHARDS)
        .filter(|shard| !mine.contains(shard) && !held_by_others.contains(shard));
    Plan {
        take: free.take(fair.saturating_sub(mine.len())).collect(),
        release: mine.iter().rev().copied().take(mine.len().saturating_sub(fair)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gateways that plan in turn until nobody wants anything; panics if that never is.
    fn settled(mut held: Vec<BTreeSet<u16>>) -> Vec<BTreeSet<u16>> {
        for _ in 0..100 {
            let mut quiet = true;
            for i in 0..held.len() {
                let others: BTreeSet<u16> =
                    held.iter().enumerate().filter(|(j, _)| *j != i).flat_map(|(_, s)| s.clone()).collect();
                let plan = plan(&held[i], &others, held.len(), i);
                quiet &= plan == Plan::default();
                plan.release.iter().for_each(|s| _ = held[i].remove(s));
                plan.take.iter().for_each(|s| assert!(!others.contains(s) && held[i].insert(*s)));
            }
            if quiet {
                return held;
            }
        }
        panic!("never settled: {held:?}");
    }

    #[test]
    fn every_shard_is_held_once_and_fairly() {
        for n in 1..=9 {
            let held = settled(vec![BTreeSet::new(); n]);
            let all: BTreeSet<u16> = held.iter().flatten().copied().collect();
            assert_eq!(all.len(), usize::from(SHARDS), "{n}");
            assert!(held.iter().all(|s| s.len() <= usize::from(SHARDS).div_ceil(n)), "{n}: {held:?}");
        }
    }

    #[test]
    fn who_leaves_is_replaced_and_who_comes_gets_a_share() {
        let two = settled(vec![BTreeSet::new(); 2]);
        let one = settled(vec![two[0].clone()]);
        assert_eq!(one[0].len(), usize::from(SHARDS));
        let three = settled(vec![one[0].clone(), BTreeSet::new(), BTreeSet::new()]);
        assert_eq!(three.iter().map(BTreeSet::len).sum::<usize>(), usize::from(SHARDS));
        assert!(three.iter().all(|s| s.len() >= 20), "{three:?}");
    }
}
