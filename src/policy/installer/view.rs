//! What everybody may see of the installer.
use super::Machine;
use crate::model::{
    install::{RuntimeState, Shelf},
    operation::{Operation, OperationKind},
    snapshot::Warning,
};
use std::sync::Arc;

/// The installer's part of the status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstallPart {
    /// Of the install that began last, while one is under way.
    pub step: String,
    pub progress: Option<f64>,
    pub runtimes: Vec<RuntimeState>,
    pub warnings: Vec<Warning>,
    /// Newest first.
    pub operations: Arc<Vec<Operation>>,
}

impl Machine {
    pub fn part(&self) -> InstallPart {
        let installs = |o: &&Operation| matches!(o.kind, OperationKind::Install | OperationKind::Repair);
        let current = self.memory.journal.live().filter(installs).find(|o| !o.step.is_empty());
        InstallPart {
            step: current.map(|o| o.step.clone()).unwrap_or_default(),
            progress: current.and_then(|o| o.progress),
            runtimes: self.runtimes(),
            warnings: self.all_warnings(),
            operations: self.memory.journal.rows(),
        }
    }

    fn runtimes(&self) -> Vec<RuntimeState> {
        let trees = self.present.trees.iter().filter(|tree| tree.id.family.shelf == Shelf::Runtimes);
        let row = |tree: &crate::model::install::Tree| RuntimeState {
            id: tree.id.family.id.clone(),
            version: tree.id.version.clone(),
            active: self.present.is_active(&tree.id),
            verified: tree.verified,
        };
        trees.map(row).collect()
    }

    fn all_warnings(&self) -> Vec<Warning> {
        let unverified = self.present.trees.iter().filter(|tree| !tree.verified).map(|tree| Warning {
            code: "install_unverified".into(),
            message: format!(
                "{} was installed without a hash to check it against; have the publisher add one (zlh artifacts add), \
                 or set require_hashes",
                tree.id
            ),
        });
        let of_catalogs = self.warnings.values().flatten().cloned();
        self.own_warnings.iter().cloned().chain(unverified).chain(of_catalogs).collect()
    }
}
