//! Orders whose end somebody waits for: outside the actor, by what it publishes.
use super::{Installer, workshop::Progress};
use crate::{
    actors::game_server::Denied,
    model::{
        ids::OperationId,
        install::{Tree, Wanted},
        operation::OperationState,
        refusal::Refusal,
    },
    policy::installer::order::satisfying,
};

impl Installer {
    /// [`Installer::ensure`] and its end: the tree, or why there is none. `progress` hears every step.
    pub async fn install(
        &self,
        wanted: Wanted,
        activate: bool,
        holder: &str,
        progress: &Progress,
    ) -> Result<Tree, String> {
        let accepted = self.ensure(wanted.clone(), activate, holder).await.map_err(|denied| told(&wanted, &denied))?;
        if let Some(operation) = accepted.operation {
            self.outcome(&operation, progress).await?;
        }
        let present = self.present();
        let found = satisfying(&wanted, &present).and_then(|id| present.tree(&id).cloned());
        found.ok_or_else(|| format!("{wanted} was installed and is gone again"))
    }

    /// Follows an operation to its end; also across the actor's own restarts.
    pub async fn outcome(&self, operation: &OperationId, progress: &Progress) -> Result<(), String> {
        let mut seen = self.seen.subscribe();
        loop {
            let now = seen.borrow_and_update().clone();
            let found = now.operations.iter().find(|o| o.id == *operation);
            match found.map(|o| (o.state, o)) {
                Some((OperationState::Done, _)) => return Ok(()),
                Some((state, o)) if state.is_final() => {
                    return Err(o.error.clone().unwrap_or_else(|| "it was superseded".into()));
                }
                Some((_, o)) => progress(&o.step, o.progress),
                None if now.awake => return Err(format!("nothing is known of operation {operation} any more")),
                None => {}
            }
            if seen.changed().await.is_err() {
                return Err("the installer is gone".into());
            }
        }
    }
}

/// A denial as a sentence, for who waits for the outcome alone.
fn told(wanted: &Wanted, denied: &Denied) -> String {
    match denied {
        Denied::Refused(Refusal::Unusable { field, detail }) => {
            format!("{wanted} cannot be installed: {field}: {detail}")
        }
        Denied::Refused(Refusal::OperationInProgress { holder, .. }) => {
            format!("{wanted} cannot be installed while operation {holder} is under way")
        }
        Denied::Refused(refusal) => format!("{wanted} cannot be installed now: {}", refusal.code()),
        Denied::Busy | Denied::Gone => format!("{wanted} cannot be installed: the installer did not answer"),
    }
}
