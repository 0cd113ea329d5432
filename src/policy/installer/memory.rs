//! What the installer must not forget: what it was asked and has not ended, how things ended, what was active before.
use super::{journal::Journal, order::Order};
use crate::model::{
    ids::OperationId,
    install::{Family, Parcel, Present, TreeId},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Formerly active versions that are remembered of each family.
const REMEMBERED: usize = 8;

/// Stored whole, before anything follows from a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    pub journal: Journal,
    /// Orders whose operations have not ended.
    pub orders: BTreeMap<OperationId, Pending>,
    before: Vec<Before>,
    fitted: Vec<Fitted>,
}

/// What the catalog said of a tree that its manifest does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fitted {
    tree: TreeId,
    bin: Vec<String>,
    env: BTreeMap<String, String>,
}

/// An order under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub order: Order,
    /// Lives of the agent that have ended over it.
    pub tries: u32,
}

/// Formerly active versions of a family, the latest last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    family: Family,
    versions: Vec<String>,
}

impl Memory {
    /// It was put in place; how it is used is the catalog's word.
    pub fn note_placed(&mut self, parcel: &Parcel) {
        self.fitted.retain(|fitted| fitted.tree != parcel.tree);
        let (bin, env) = (parcel.bin.clone(), parcel.env.clone());
        self.fitted.push(Fitted { tree: parcel.tree.clone(), bin, env });
    }

    /// Fills in `bin` and `env` of what is there, and forgets what is not.
    pub fn fit(&mut self, present: &mut Present) {
        self.fitted.retain(|fitted| present.tree(&fitted.tree).is_some());
        for tree in &mut present.trees {
            let Some(fitted) = self.fitted.iter().find(|fitted| fitted.tree == tree.id) else { continue };
            let folder = |name: &String| if name == "." { tree.path.clone() } else { format!("{}/{name}", tree.path) };
            tree.bin = fitted.bin.iter().map(folder).collect();
            tree.env = fitted.env.iter().map(|(k, v)| (k.clone(), v.replace("{root}", &tree.path))).collect();
        }
    }

    /// `version` has just been replaced as the active one.
    pub fn note_replaced(&mut self, family: &Family, version: &str) {
        self.forget(family, version);
        let before = match self.before.iter_mut().position(|b| b.family == *family) {
            Some(at) => &mut self.before[at],
            None => {
                self.before.push(Before { family: family.clone(), versions: Vec::new() });
                let last = self.before.len() - 1;
                &mut self.before[last]
            }
        };
        before.versions.push(version.to_owned());
        let surplus = before.versions.len().saturating_sub(REMEMBERED);
        before.versions.drain(..surplus);
    }

    /// It is active, or gone: nothing to go back to.
    pub fn forget(&mut self, family: &Family, version: &str) {
        for before in self.before.iter_mut().filter(|b| b.family == *family) {
            before.versions.retain(|v| v != version);
        }
        self.before.retain(|b| !b.versions.is_empty());
    }

    /// The version to roll back to: the one active last that is still there.
    pub fn previous(&self, family: &Family, present: &Present) -> Option<TreeId> {
        let versions = &self.before.iter().find(|b| b.family == *family)?.versions;
        let mut trees = versions.iter().rev().map(|version| family.version(version));
        trees.find(|tree| present.tree(tree).is_some() && !present.is_active(tree))
    }

    /// Formerly active trees beyond the `keep` latest of each family.
    pub fn superseded(&self, keep: usize, present: &Present) -> Vec<TreeId> {
        let of_family = |before: &Before| {
            let there = before.versions.iter().rev().map(|version| before.family.version(version));
            there.filter(|tree| present.tree(tree).is_some() && !present.is_active(tree)).skip(keep).collect::<Vec<_>>()
        };
        self.before.iter().flat_map(of_family).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::install::Tree;

    fn present(versions: &[&str], active: &str) -> Present {
        let node = Family::runtime("node");
        let tree = |version: &&str| Tree {
            id: node.version(version),
            path: String::new(),
            bytes: 0,
            files: 0,
            sha256: crate::model::catalog::Digest([0; 32]),
            bin: Vec::new(),
            env: BTreeMap::new(),
            verified: true,
        };
        Present { trees: versions.iter().map(tree).collect(), current: [(node, active.to_owned())].into() }
    }

    #[test]
    fn back_is_to_the_last_active_version_that_is_still_there() {
        let node = Family::runtime("node");
        let mut memory = Memory::default();
        assert_eq!(memory.previous(&node, &present(&["20", "22"], "22")), None);
        for version in ["18", "20", "22"] {
            memory.note_replaced(&node, version);
        }
        let all = present(&["18", "20", "22", "24"], "24");
        assert_eq!(memory.previous(&node, &all), Some(node.version("22")));
        assert_eq!(memory.previous(&node, &present(&["18", "20", "24"], "24")), Some(node.version("20")));
        assert_eq!(memory.superseded(1, &all), [node.version("20"), node.version("18")]);
        memory.forget(&node, "22");
        assert_eq!(memory.previous(&node, &all), Some(node.version("20")));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_once_each() {
        let node = Family::runtime("node");
        let mut memory = Memory::default();
        for n in 0..100 {
            memory.note_replaced(&node, &(n % 30).to_string());
        }
        assert_eq!(memory.before[0].versions, ["2", "3", "4", "5", "6", "7", "8", "9"]);
    }
}
