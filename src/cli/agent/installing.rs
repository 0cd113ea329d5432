//! What the InstallerActor asks of others, answered by this machine and its artifact server.
mod catalogs;
mod notes;
mod shelves;
mod yard;

use crate::{
    actors::installer::workshop::{Available, Line, Unmet, Workshop},
    host::{clock, store::StoreError},
    model::{
        catalog::GameCatalog,
        ids::OperationId,
        install::{Present, TreeId, User, Wanted},
        refusal::Refusal,
        settings::Settings,
    },
    policy::installer::{
        Consulted, Failure, Now,
        choice::{self, Catalog, Sheet, Taste},
        memory::Memory,
        plan::Step,
    },
};
pub use catalogs::Catalogs;
use futures_util::future::BoxFuture;
use notes::Notes;
use std::sync::Arc;
use yard::Yard;

pub struct MachineWorkshop {
    settings: Arc<Settings>,
    notes: Notes,
    catalogs: Arc<Catalogs>,
    yard: Arc<Yard>,
}

impl MachineWorkshop {
    /// Needs a tokio runtime.
    pub fn new(settings: Arc<Settings>) -> Result<MachineWorkshop, StoreError> {
        let state = settings.root.join("opt/zlh-agent/state");
        let catalogs = Arc::new(Catalogs::new(settings.clone(), &state)?);
        Ok(MachineWorkshop {
            notes: Notes::start(&state)?,
            yard: Arc::new(Yard::new(settings.clone(), catalogs.server())),
            catalogs,
            settings,
        })
    }

    /// What it reads from the artifact server, for others too.
    pub fn catalogs(&self) -> Arc<Catalogs> {
        self.catalogs.clone()
    }
}

impl Workshop for MachineWorkshop {
    fn now(&self) -> Now {
        (clock::boot_time(), clock::wall_time())
    }

    fn operation_id(&self) -> OperationId {
        OperationId(uuid::Uuid::now_v7().to_string())
    }

    fn recall(&self) -> BoxFuture<'static, Result<Memory, String>> {
        self.notes.recall()
    }

    fn save(&self, memory: Memory) -> BoxFuture<'static, Result<(), String>> {
        self.notes.save(memory)
    }

    fn survey(&self, sweep: bool) -> BoxFuture<'static, Result<Present, String>> {
        Box::pin(self.yard.clone().survey(sweep))
    }

    fn consult(&self, wanted: Wanted) -> BoxFuture<'static, Result<Consulted, Unmet>> {
        let (catalogs, install) = (self.catalogs.clone(), self.settings.install.clone());
        Box::pin(async move {
            let Some(sheet) = choice::sheet(&wanted) else {
                let parcel = choice::direct(&wanted).map_err(Unmet::Refused)?;
                let parcel = parcel.ok_or_else(|| failed(format!("{wanted} is in no catalog and names no path")))?;
                if let [path] = parcel.paths.as_slice()
                    && catalogs.server().lacks(path.as_str()).await
                {
                    let detail = format!("{} is not on the artifact server; publish it", path.as_str());
                    return Err(Unmet::Refused(Refusal::Unusable { field: "artifact_path".into(), detail }));
                }
                return Ok(Consulted { parcel, warnings: Vec::new() });
            };
            let read = catalogs.read(sheet).await.map_err(failed)?;
            let (catalog, warnings) = match (read, &wanted) {
                (Some(read), _) => read,
                // The Java of games lies where it always does, listed or not.
                (None, Wanted::GameJava { .. }) => (Catalog::Games(GameCatalog::default()), Vec::new()),
                (None, _) => return Err(failed(catalogs.missing(sheet))),
            };
            let now = clock::wall_time();
            let taste = Taste { channel: install.channel, minimum_age: install.min_release_age, now };
            let parcel = choice::chosen(&wanted, &catalog, &taste).map_err(Unmet::Refused)?;
            Ok(Consulted { parcel, warnings })
        })
    }

    fn perform(&self, step: Step, line: Line) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(self.yard.clone().perform(step, line))
    }

    fn users(&self, tree: TreeId) -> BoxFuture<'static, Result<Vec<User>, String>> {
        Box::pin(self.yard.clone().users(tree))
    }

    fn available(&self) -> BoxFuture<'static, Result<Vec<Available>, String>> {
        let catalogs = self.catalogs.clone();
        Box::pin(async move {
            match catalogs.read(Sheet::Dev).await? {
                Some((Catalog::Dev(dev), _)) => Ok(dev.runtimes.into_iter().map(available).collect()),
                _ => Err(catalogs.missing(Sheet::Dev)),
            }
        })
    }
}

fn available(product: crate::model::catalog::Product) -> Available {
    let versions = product.versions.into_iter().map(|release| release.version).collect();
    Available { id: product.id, versions }
}

fn failed(why: String) -> Unmet {
    Unmet::Failed(Failure::other(why))
}
