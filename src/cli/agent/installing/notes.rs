//! What the installer must not forget, on disk: one writer, in the order of the calls.
use crate::{
    host::{
        failpoint,
        store::{Durability, Store, StoreError},
    },
    policy::installer::memory::Memory,
};
use futures_util::future::BoxFuture;
use std::{path::Path, sync::Arc};
use tokio::sync::{Mutex, oneshot};

const NAME: &str = "installs";

/// `state/installs.json`. Clones share one order of saves.
#[derive(Clone)]
pub struct Notes {
    store: Store,
    /// Fair: who asks first goes first.
    turn: Arc<Mutex<()>>,
}

impl Notes {
    pub fn start(state: &Path) -> Result<Notes, StoreError> {
        Ok(Notes { store: Store::open(state)?, turn: Arc::default() })
    }

    /// Carried out even if the future is dropped.
    pub fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>> {
        self.in_turn(move |store| {
            failpoint::reach("installer.before_save");
            let saved = store.save(NAME, &memory, Durability::Machine);
            failpoint::reach("installer.after_save");
            saved
        })
    }

    /// Sees every save that was ordered before.
    pub fn recall(&self) -> BoxFuture<'static, Result<Memory, String>> {
        self.in_turn(|store| Ok(store.load(NAME)?.unwrap_or_default()))
    }

    fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, String>> {
        let (done, outcome) = oneshot::channel();
        let (store, mut turn) = (self.store.clone(), Box::pin(self.turn.clone().lock_owned()));
        // Takes its place in the line now, not when the task is first run.
        let early = futures_util::FutureExt::now_or_never(&mut turn);
        tokio::spawn(async move {
            let held = match early {
                Some(held) => held,
                None => turn.await,
            };
            // fsync may take as long as the disk likes; it must not do so on a thread that answers /health.
            let worked = tokio::task::spawn_blocking(move || {
                let _held = held;
                work(&store).map_err(|e| e.to_string())
            });
            // Whoever asked may be gone; the work is done all the same.
            _ = done.send(worked.await.unwrap_or_else(|e| Err(format!("the state writer broke: {e}"))));
        });
        Box::pin(async move { outcome.await.unwrap_or_else(|_| Err("the state writer broke off".into())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{ids::OperationId, install::Wanted},
        policy::installer::{memory::Pending, order::Order},
    };

    #[tokio::test]
    async fn the_last_of_many_saves_is_recalled_though_nobody_waited() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::start(folder.path()).unwrap();
        assert_eq!(notes.recall().await.unwrap(), Memory::default());
        let memory = |n: u32| {
            let wanted = Wanted::Runtime { id: "node".into(), version: n.to_string() };
            let order = Order::Ensure { wanted, activate: true };
            let mut memory = Memory::default();
            memory.orders.insert(OperationId("op".into()), Pending { order, tries: n });
            memory
        };
        for n in 0..50 {
            drop(notes.save(memory(n)));
        }
        assert_eq!(notes.recall().await.unwrap(), memory(49));
    }
}
