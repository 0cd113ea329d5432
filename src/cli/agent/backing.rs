//! What the BackupActor asks of others, answered by this machine.
mod holding;
mod source;

use crate::{
    actors::{
        backup::world::{Line, World},
        game_server::GameServer,
        status::Status,
    },
    host::{
        backup::{self, BackupError, Came, Job, Restore, Shelf},
        clock, failpoint,
        store::{Durability, Store, StoreError},
    },
    model::{
        backup::{Backup, BackupId, Reason},
        container::Kind,
        ids::OperationId,
        refusal::Refusal,
        settings::Settings,
    },
    policy::backup::{Memory, Now, Order, Recollection, Report, Shelves, Step, space},
};
use futures_util::future::{BoxFuture, FutureExt};
use source::Source;
use std::{io, path::PathBuf, sync::Arc};
use tokio::sync::Mutex;

/// `state/backups.json`.
const NAME: &str = "backups";
const KINDS: [Kind; 2] = [Kind::Dev, Kind::Game];

/// Finishes, or takes back, a restore that an earlier life left half done. Before anything is started that may use what is
/// being restored. Blocking; a look at two files where there is nothing to do.
pub fn recover(settings: &Settings) {
    for kind in KINDS {
        if let Err(e) = backup::recover(&Shelf::of(&absolute(settings), kind)) {
            tracing::error!(%kind, error = %e, "a restore that was cut short could not be finished");
        }
    }
}

fn absolute(settings: &Settings) -> PathBuf {
    std::path::absolute(&settings.root).unwrap_or_else(|_| settings.root.clone())
}

#[derive(Clone)]
pub struct MachineBackups {
    settings: Arc<Settings>,
    /// Absolute.
    root: PathBuf,
    game: GameServer,
    status: Status,
    records: Store,
    /// Fair, so that records are saved in the order of the calls.
    saving: Arc<Mutex<()>>,
    /// Held by whatever step is at work, also if nobody waits for it any more.
    turn: Arc<Mutex<()>>,
}

impl MachineBackups {
    pub fn new(settings: Arc<Settings>, game: GameServer, status: Status) -> Result<MachineBackups, StoreError> {
        let records = Store::open(settings.root.join("opt/zlh-agent/state"))?;
        let root = absolute(&settings);
        Ok(MachineBackups { settings, root, game, status, records, saving: Arc::default(), turn: Arc::default() })
    }

    fn shelf(&self, kind: Kind) -> Shelf {
        Shelf::of(&self.root, kind)
    }

    fn source(&self, kind: Kind) -> Result<Source, Refusal> {
        source::find(kind, &self.root, &self.settings, &self.records)
    }

    /// The same, with a sentence for an operation that fails.
    fn to_copy(&self, kind: Kind) -> Result<Source, String> {
        self.source(kind).map_err(|refusal| match refusal {
            Refusal::Unusable { field, detail } => format!("{field}: {detail}"),
            refusal => format!("there is nothing to copy or to restore to: {}", refusal.code()),
        })
    }

    fn look(&self) -> Result<Recollection, String> {
        let said = |e: io::Error| e.to_string();
        let memory: Memory = self.records.load(NAME).map_err(|e| e.to_string())?.unwrap_or_default();
        let list = |kind| {
            let shelf = self.shelf(kind);
            shelf.sweep().and_then(|()| shelf.list()).map(Arc::new).map_err(said)
        };
        let shelves = Shelves { dev: list(Kind::Dev)?, game: list(Kind::Game)? };
        let holder = memory.journal.holder().map(|row| row.id.to_string());
        let came = match holder.zip(memory.pending.as_ref().map(|wish| wish.kind)) {
            Some((operation, kind)) => backup::came(&self.shelf(kind), &operation).map_err(|e| e.to_string())?,
            None => None,
        };
        let restored = came.map(|came| match came {
            Came::Done => Ok(()),
            Came::ToNothing => Err("the agent ended in the middle of it; everything is as it was before".to_owned()),
            Came::Half => {
                Err("the agent ended in the middle of it and it could not be finished; its log says why".into())
            }
        });
        Ok(Recollection { memory, shelves, restored })
    }

    async fn carry_out(self, step: Step, line: Line) -> Report {
        let turn = self.turn.clone().lock_owned().await;
        let kind = step.kind();
        let outcome = match step {
            Step::Make { kind: Kind::Game, id } => self.make_of_game(id, line).await,
            step => self.clone().blocking(move |world| world.work(step, &line)).await,
        };
        let listed = tokio::task::spawn_blocking(move || {
            let _alone = turn;
            self.shelf(kind).list()
        });
        let shelf = listed.await.ok().and_then(Result::ok).map(Arc::new);
        Report { outcome, shelf }
    }

    /// Writes are held only while there is somebody who writes.
    async fn make_of_game(&self, id: BackupId, line: Line) -> Result<(), String> {
        let rule = self.clone().blocking(|world| world.to_copy(Kind::Game)).await?.hold;
        (line.progress)("saving the world", None);
        let within = self.settings.backups.hold_within;
        let held = match rule {
            Some(rule) => holding::hold(self.game.clone(), rule, within, &line.stop).await?,
            None => None,
        };
        failpoint::reach("backup.held");
        let made = self
            .clone()
            .blocking(move |world| world.make(Kind::Game, &id, Reason::Manual, None, &line).map(drop))
            .await;
        if let Some(held) = held {
            held.release().await;
        }
        made
    }

    async fn blocking<T: Send + 'static>(
        self,
        work: impl FnOnce(&MachineBackups) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let worked = tokio::task::spawn_blocking(move || work(&self));
        worked.await.unwrap_or_else(|e| Err(format!("it broke off: {e}")))
    }

    fn work(&self, step: Step, line: &Line) -> Result<(), String> {
        let said = |e: BackupError| e.to_string();
        match step {
            Step::Make { kind, id } => self.make(kind, &id, Reason::Manual, None, line).map(drop),
            Step::PutBack { kind, of, checkpoint, operation } => {
                let of = self.found(kind, &of)?;
                let exclude = Some(of.exclude.clone());
                let checkpoint = self.make(kind, &checkpoint, Reason::Checkpoint, exclude, line)?;
                self.put_back(kind, &of, &checkpoint, &operation, line)
            }
            Step::Verify { kind, of } => {
                let of = self.found(kind, &of)?;
                let verified = self.shelf(kind).verify(&of, &self.settings.backups, hosts(line)).map_err(said)?;
                verified.verified.and_then(|verified| verified.fault).map_or(Ok(()), Err)
            }
            Step::Discard { kind, ids } => ids.iter().try_for_each(|id| {
                (line.progress)("deleting", None);
                self.shelf(kind).delete(id).map_err(said)
            }),
        }
    }

    fn found(&self, kind: Kind, id: &BackupId) -> Result<Backup, String> {
        let backups = self.shelf(kind).list().map_err(|e| e.to_string())?;
        backups.into_iter().find(|backup| backup.id == *id).ok_or_else(|| format!("backup {id} is gone"))
    }

    /// `exclude`: of the backup that a checkpoint is made for; what that left out is not touched, all else is saved.
    fn make(
        &self,
        kind: Kind,
        id: &BackupId,
        reason: Reason,
        exclude: Option<Vec<String>>,
        line: &Line,
    ) -> Result<Backup, String> {
        let source = self.to_copy(kind)?;
        let reads_list = kind == Kind::Dev && exclude.is_none();
        let job = Job {
            id,
            kind,
            reason,
            top: &source.top,
            source: source.shown,
            account: &source.account,
            exclude: exclude.unwrap_or(source.exclude),
            reads_list,
            limits: &self.settings.backups,
            line: hosts(line),
        };
        self.shelf(kind).make(job).map_err(|e| e.to_string())
    }

    fn put_back(
        &self,
        kind: Kind,
        of: &Backup,
        checkpoint: &Backup,
        operation: &OperationId,
        line: &Line,
    ) -> Result<(), String> {
        let source = self.to_copy(kind)?;
        let restore = Restore {
            of,
            checkpoint,
            top: &source.top,
            account: &source.account,
            operation: &operation.0,
            limits: &self.settings.backups,
            line: hosts(line),
        };
        self.shelf(kind).put_back(restore).map_err(|e| e.to_string())
    }
}

fn hosts(line: &Line) -> backup::Line<'_> {
    backup::Line { tell: &*line.progress, cancel: &line.stop }
}

impl World for MachineBackups {
    fn now(&self) -> Now {
        (clock::boot_time(), clock::wall_time())
    }

    fn operation_id(&self) -> OperationId {
        OperationId(uuid::Uuid::now_v7().to_string())
    }

    fn backup_id(&self) -> Option<BackupId> {
        BackupId::parse(&uuid::Uuid::now_v7().to_string())
    }

    fn recall(&self) -> BoxFuture<'static, Result<Recollection, String>> {
        let world = self.clone();
        async move {
            let _alone = world.turn.clone().lock_owned().await;
            world.clone().blocking(MachineBackups::look).await
        }
        .boxed()
    }

    fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>> {
        let (records, mut turn) = (self.records.clone(), Box::pin(self.saving.clone().lock_owned()));
        // Takes its place in the line now, not when the task is first run.
        let early = (&mut turn).now_or_never();
        let saved = tokio::spawn(async move {
            let held = match early {
                Some(held) => held,
                None => turn.await,
            };
            let saved = tokio::task::spawn_blocking(move || {
                let _held = held;
                failpoint::reach("backup.before_save");
                let saved = records.save(NAME, &memory, Durability::Machine).map_err(|e| e.to_string());
                failpoint::reach("backup.after_save");
                saved
            });
            saved.await.unwrap_or_else(|e| Err(format!("the state writer broke: {e}")))
        });
        async move { saved.await.unwrap_or_else(|e| Err(format!("the state writer broke: {e}"))) }.boxed()
    }

    fn foresee(&self, kind: Kind, order: Order, shelves: Shelves) -> BoxFuture<'static, Result<(), Refusal>> {
        let world = self.clone();
        let foreseen = tokio::task::spawn_blocking(move || {
            if order.leaves_workload_alone() {
                return Ok(());
            }
            let source = world.source(kind)?;
            if let Order::PutBack { of, .. } = &order
                && let Some(of) = shelves.find(kind, of)
                && of.source != source.shown
            {
                let detail = format!("it is a copy of {}, and what is here is {}", of.source, source.shown);
                return Err(Refusal::Unusable { field: "id".into(), detail });
            }
            match world.shelf(kind).free() {
                Ok(free) => space::room(&order, kind, &shelves, free, &world.settings.backups),
                Err(_) => Ok(()), // the work itself will say what is wrong
            }
        });
        async move { foreseen.await.unwrap_or(Err(Refusal::Recovering)) }.boxed()
    }

    fn perform(&self, step: Step, line: Line) -> BoxFuture<'static, Report> {
        self.clone().carry_out(step, line).boxed()
    }

    fn release(&self) -> BoxFuture<'static, ()> {
        let world = self.clone();
        async move {
            world.status.recovered().await;
            let rule = world.clone().blocking(|world| world.to_copy(Kind::Game)).await;
            if let Ok(Source { hold: Some(rule), .. }) = rule {
                holding::release(&world.game, &rule).await;
            }
        }
        .boxed()
    }
}
