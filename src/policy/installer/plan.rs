//! An install as a row of steps, each with what takes it back. Whatever stops it, what was done is undone in reverse
//! order, so that the machine is as before or as wanted, and nothing in between.
use crate::model::install::{Family, Parcel, TreeId};
use serde::{Deserialize, Serialize};

/// One thing to do to the machine. Each is safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Downloaded, hashed and unpacked into staging, all at once.
    Bring(Parcel),
    /// Does it run? Its own version command, in staging.
    Try(Parcel),
    /// Manifest written last, then staging becomes the version's folder in one rename; an old one of that name is
    /// replaced.
    Place(Parcel),
    /// `current` of the family names this version, or nothing any more.
    Point { family: Family, version: Option<String> },
    /// Every file against the manifest.
    Verify(TreeId),
    /// Damaged files as they were, from the very archive the tree came from.
    Mend(TreeId),
    /// Fails if somebody uses it.
    Remove(TreeId),
    /// Staging of this tree goes away.
    Discard(TreeId),
    /// Staging and cache that no install needs, and these versions unless somebody uses them.
    Collect { superseded: Vec<TreeId> },
}

impl Step {
    /// What it is called while it is done.
    pub fn title(&self) -> String {
        match self {
            Step::Bring(parcel) => format!("downloading {}", parcel.tree),
            Step::Try(parcel) => format!("trying {}", parcel.tree),
            Step::Place(parcel) => format!("putting {} in place", parcel.tree),
            Step::Point { family, version: Some(version) } => format!("making {family} {version} the active one"),
            Step::Point { family, version: None } => format!("deactivating {family}"),
            Step::Verify(tree) => format!("verifying {tree}"),
            Step::Mend(tree) => format!("mending {tree}"),
            Step::Remove(tree) => format!("removing {tree}"),
            Step::Discard(tree) => format!("clearing up after {tree}"),
            Step::Collect { .. } => "collecting garbage".into(),
        }
    }

    /// Its share of the whole, by experience: bytes move in one step, names in the others.
    fn weight(&self) -> f64 {
        match self {
            Step::Bring(_) => 90.0,
            Step::Verify(_) | Step::Mend(_) | Step::Remove(_) | Step::Collect { .. } => 20.0,
            Step::Try(_) | Step::Place(_) | Step::Discard(_) => 4.0,
            Step::Point { .. } => 1.0,
        }
    }
}

/// A step and what takes it back.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Move {
    step: Step,
    undo: Option<Step>,
}

/// A row of steps and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    moves: Vec<Move>,
    at: usize,
}

impl Plan {
    /// Everything from the download on. `activate`: the active version before, if it is to change.
    pub fn install(parcel: &Parcel, activate: Option<Option<String>>) -> Plan {
        let tree = &parcel.tree;
        // What was fetched stays in the cache: the next try goes on from there. A placed tree is complete and harmless.
        let mut plan = Plan::default()
            .with(Step::Bring(parcel.clone()), Some(Step::Discard(tree.clone())))
            .with(Step::Try(parcel.clone()), None)
            .with(Step::Place(parcel.clone()), None);
        if let Some(was) = activate {
            plan = plan.pointing(tree, was);
        }
        plan
    }

    /// It is there already.
    pub fn confirm(tree: &TreeId, activate: Option<Option<String>>) -> Plan {
        Plan::beginning_with(Step::Verify(tree.clone()), tree, activate)
    }

    /// It is there, and not as it should be.
    pub fn mend(tree: &TreeId, activate: Option<Option<String>>) -> Plan {
        Plan::beginning_with(Step::Mend(tree.clone()), tree, activate)
    }

    fn beginning_with(step: Step, tree: &TreeId, activate: Option<Option<String>>) -> Plan {
        let plan = Plan::default().with(step, None);
        match activate {
            Some(was) => plan.pointing(tree, was),
            None => plan,
        }
    }

    pub fn activate(tree: &TreeId, was: Option<String>) -> Plan {
        Plan::default().pointing(tree, was)
    }

    /// An active one is deactivated first: `current` never dangles.
    pub fn remove(tree: &TreeId, active: bool) -> Plan {
        let family = &tree.family;
        let point = |version| Step::Point { family: family.clone(), version };
        let plan = match active {
            true => Plan::default().with(point(None), Some(point(Some(tree.version.clone())))),
            false => Plan::default(),
        };
        plan.with(Step::Remove(tree.clone()), None)
    }

    /// A single step that nothing takes back.
    pub fn only(step: Step) -> Plan {
        Plan::default().with(step, None)
    }

    fn with(mut self, step: Step, undo: Option<Step>) -> Plan {
        self.moves.push(Move { step, undo });
        self
    }

    fn pointing(self, tree: &TreeId, was: Option<String>) -> Plan {
        let point = |version| Step::Point { family: tree.family.clone(), version };
        self.with(point(Some(tree.version.clone())), Some(point(was)))
    }

    /// What is to be done now; `None` when all is done.
    pub fn step(&self) -> Option<&Step> {
        self.moves.get(self.at).map(|m| &m.step)
    }

    pub fn is_last(&self) -> bool {
        self.at + 1 >= self.moves.len()
    }

    pub fn advance(&mut self) {
        self.at += 1;
    }

    /// What takes back the present step, which may be half done, and all before it; first the last.
    pub fn undoing(&self) -> Vec<Step> {
        self.moves.iter().take(self.at + 1).rev().filter_map(|m| m.undo.clone()).collect()
    }

    /// How much of the whole is done when the present step is this far.
    pub fn progress(&self, of_step: Option<f64>) -> f64 {
        let weigh = |moves: &[Move]| moves.iter().map(|m| m.step.weight()).sum::<f64>();
        let (done, all) = (weigh(&self.moves[..self.at.min(self.moves.len())]), weigh(&self.moves));
        let now = self.step().map_or(0.0, |step| step.weight() * of_step.unwrap_or(0.0).clamp(0.0, 1.0));
        if all > 0.0 { (done + now) / all } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn parcel() -> Parcel {
        Parcel {
            tree: Family::runtime("node").version("22"),
            paths: vec!["devcontainer/node/node-22.tar.xz".parse().unwrap()],
            sha256: None,
            size: None,
            strip: None,
            bin: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    fn titles(steps: &[Step]) -> Vec<String> {
        steps.iter().map(Step::title).collect()
    }

    fn all(mut plan: Plan) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some(step) = plan.step().cloned() {
            steps.push(step);
            plan.advance();
        }
        steps
    }

    #[test]
    fn an_install_is_these_steps_and_these_take_it_back() {
        let mut plan = Plan::install(&parcel(), Some(Some("20".into())));
        let steps =
            ["downloading node 22", "trying node 22", "putting node 22 in place", "making node 22 the active one"];
        assert_eq!(titles(&all(plan.clone())), steps);
        let undone = [
            &["clearing up after node 22"][..],
            &["clearing up after node 22"],
            &["clearing up after node 22"],
            &["making node 20 the active one", "clearing up after node 22"],
        ];
        for undo in undone {
            assert_eq!(titles(&plan.undoing()), undo);
            plan.advance();
        }
        assert_eq!(plan.step(), None);
    }

    #[test]
    fn an_active_version_is_deactivated_before_it_goes() {
        let tree = parcel().tree;
        assert_eq!(titles(&all(Plan::remove(&tree, true))), ["deactivating node", "removing node 22"]);
        let mut plan = Plan::remove(&tree, true);
        plan.advance();
        assert_eq!(titles(&plan.undoing()), ["making node 22 the active one"]);
        assert_eq!(titles(&all(Plan::remove(&tree, false))), ["removing node 22"]);
    }

    proptest! {
        /// Progress never goes back, whatever the steps say, and ends at one.
        #[test]
        fn progress_only_rises(shares in prop::collection::vec(prop::option::of(-1.0f64..2.0), 4)) {
            let mut plan = Plan::install(&parcel(), Some(None));
            let mut last = 0.0;
            for share in shares {
                let now = plan.progress(share);
                prop_assert!(last <= now && now <= 1.0);
                plan.advance();
                last = plan.progress(None);
                prop_assert!(now <= last + 1e-9);
            }
            prop_assert!((last - 1.0).abs() < 1e-9);
        }
    }
}
