//! What can be asked of the installer, and which orders stand in each other's way.
use super::plan::{Plan, Step};
use crate::model::{
    install::{Family, Present, TreeId, Wanted},
    operation::OperationKind,
};
use crate::policy::catalog::choose::{begins_with, compare};
use serde::{Deserialize, Serialize};

/// What is to be so in the end. Each can be carried out twice with the result of once, so that a killed agent goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// It is there and sound; with `activate` also the active version of its family.
    Ensure {
        wanted: Wanted,
        activate: bool,
    },
    Activate {
        tree: TreeId,
    },
    /// The version that was active before is active again, and forgotten as a place to go back to.
    Rollback {
        tree: TreeId,
    },
    Remove {
        tree: TreeId,
    },
    Verify {
        tree: TreeId,
    },
    /// As it was installed; anew from the artifact server if it cannot be mended.
    Repair {
        tree: TreeId,
    },
    Collect,
}

impl Order {
    pub fn kind(&self) -> OperationKind {
        match self {
            Order::Ensure { .. } => OperationKind::Install,
            Order::Activate { .. } => OperationKind::Activate,
            Order::Rollback { .. } => OperationKind::Rollback,
            Order::Remove { .. } => OperationKind::Remove,
            Order::Verify { .. } => OperationKind::Verify,
            Order::Repair { .. } => OperationKind::Repair,
            Order::Collect => OperationKind::Collect,
        }
    }

    /// What it is about, for a person.
    pub fn subject(&self) -> String {
        match self {
            Order::Ensure { wanted, .. } => wanted.to_string(),
            Order::Activate { tree }
            | Order::Rollback { tree }
            | Order::Remove { tree }
            | Order::Verify { tree }
            | Order::Repair { tree } => tree.to_string(),
            Order::Collect => String::new(),
        }
    }

    /// What to look up at the artifact server where what is here does not suffice.
    pub fn want(&self) -> Option<Wanted> {
        match self {
            Order::Ensure { wanted, .. } => Some(wanted.clone()),
            Order::Repair { tree } => Some(wanted_again(tree)),
            Order::Activate { .. } | Order::Rollback { .. } | Order::Remove { .. } | Order::Verify { .. } => None,
            Order::Collect => None,
        }
    }

    /// The plan where what is there suffices; `None`: the artifact server must be asked.
    pub fn plan(&self, present: &Present, superseded: Vec<TreeId>) -> Option<Plan> {
        match self {
            Order::Ensure { wanted, activate } => {
                let tree = satisfying(wanted, present)?;
                let plan = Plan::confirm(&tree, changing(&tree, *activate, present));
                Some(plan)
            }
            Order::Activate { tree } | Order::Rollback { tree } => {
                Some(Plan::activate(tree, present.active(&tree.family).map(str::to_owned)))
            }
            Order::Remove { tree } => Some(Plan::remove(tree, present.is_active(tree))),
            Order::Verify { tree } => Some(Plan::only(Step::Verify(tree.clone()))),
            Order::Repair { tree } => Some(Plan::mend(tree, None)),
            Order::Collect => Some(Plan::only(Step::Collect { superseded })),
        }
    }

    fn claim(&self) -> Claim {
        match self {
            Order::Ensure { wanted, .. } => match wanted.version() {
                Some(version) => Claim::Tree(wanted.family().version(&version)),
                None => Claim::Family(wanted.family()),
            },
            Order::Verify { tree } | Order::Repair { tree } => Claim::Tree(tree.clone()),
            Order::Activate { tree } | Order::Rollback { tree } | Order::Remove { tree } => {
                Claim::Family(tree.family.clone())
            }
            Order::Collect => Claim::Everything,
        }
    }

    /// May these two not be under way at the same time?
    pub fn collides(&self, other: &Order) -> bool {
        match (self.claim(), other.claim()) {
            (Claim::Everything, _) | (_, Claim::Everything) => true,
            (Claim::Family(a), Claim::Family(b)) => a == b,
            (Claim::Family(family), Claim::Tree(tree)) | (Claim::Tree(tree), Claim::Family(family)) => {
                tree.family == family
            }
            (Claim::Tree(a), Claim::Tree(b)) => a == b,
        }
    }

    /// Is `other` answered by carrying out this one (with what [`Order::merged`] makes of it)?
    pub fn covers(&self, other: &Order) -> bool {
        match (self, other) {
            (Order::Ensure { wanted: a, .. }, Order::Ensure { wanted: b, .. }) => a == b,
            (a, b) => a == b,
        }
    }

    /// Both at once.
    pub fn merged(self, other: &Order) -> Order {
        match (self, other) {
            (Order::Ensure { wanted, activate: a }, Order::Ensure { activate: b, .. }) => {
                Order::Ensure { wanted, activate: a || *b }
            }
            (order, _) => order,
        }
    }
}

/// What nobody else may touch meanwhile.
enum Claim {
    Tree(TreeId),
    Family(Family),
    Everything,
}

/// The tree that is there for a want: this very version, else the newest one that begins so (`22` is met by `22.11.0`);
/// without a version the active one.
pub fn satisfying(wanted: &Wanted, present: &Present) -> Option<TreeId> {
    let family = wanted.family();
    let Some(version) = wanted.version() else {
        let active = family.version(present.active(&family)?);
        return present.tree(&active).map(|tree| tree.id.clone());
    };
    let fits = |id: &&TreeId| id.family == family && begins_with(&id.version, &version);
    let there = present.trees.iter().map(|tree| &tree.id).filter(fits);
    there
        .max_by(|a, b| (a.version == version).cmp(&(b.version == version)).then(compare(&a.version, &b.version)))
        .cloned()
}

/// Is the active version to change, and from which?
pub fn changing(tree: &TreeId, activate: bool, present: &Present) -> Option<Option<String>> {
    (activate && !present.is_active(tree)).then(|| present.active(&tree.family).map(str::to_owned))
}

/// How a tree is asked for again, from its place alone.
fn wanted_again(tree: &TreeId) -> Wanted {
    use crate::model::install::Shelf;
    let (id, version) = (tree.family.id.clone(), tree.version.clone());
    match tree.family.shelf {
        Shelf::Runtimes => Wanted::Runtime { id, version },
        Shelf::Services => Wanted::Addon { id, version: Some(version) },
        Shelf::Games => {
            let (game, variant) = id.split_once('-').unwrap_or((&id, ""));
            Wanted::GameFiles { game: game.into(), variant: variant.into(), version, path: None }
        }
    }
}
