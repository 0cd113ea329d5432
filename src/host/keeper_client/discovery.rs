//! What an earlier agent left behind.
use super::{Core, exits};
use crate::{
    host::{
        clock::BootId,
        failpoint,
        keeping::{Discovery, EventSink, KeeperEvent, KeepingError},
    },
    keeper::layout::{Progress, RunRecord},
    model::ids::RunId,
};
use std::sync::Arc;

impl Core {
    pub(super) async fn discover(self: &Arc<Self>, sink: EventSink) -> Result<Discovery, KeepingError> {
        let _turn = self.turn.lock().await;
        self.held().sink = Some(sink);
        self.withdraw_permit();
        failpoint::reach("agent.before_attach");
        // Connected already: whoever asks is reborn, we are not.
        if self.link().is_some() || self.connect().await?.is_some() {
            failpoint::reach("agent.after_attach");
            let held = self.held().discovery();
            if held != Discovery::Nothing {
                return Ok(held);
            }
            // It may have been started to take a run over, by an agent that died before it could hand the run to it.
        }
        self.without_keeper().await
    }

    /// The state file is all that is left of who kept the last run.
    async fn without_keeper(self: &Arc<Self>) -> Result<Discovery, KeepingError> {
        let Some(state) = self.log.state() else { return Ok(Discovery::Nothing) };
        let Some(record) = state.newest_record() else { return Ok(Discovery::Nothing) };
        if BootId::current().is_ok_and(|now| now != state.boot_id()) {
            return Ok(Discovery::LostByReboot);
        }
        match record.progress {
            Progress::Exited | Progress::Vanished => Ok(self.remember(exits::from_record(&record))),
            Progress::Launched => Ok(self.bury_found(record, state.boot_id()).await),
            Progress::Empty | Progress::Failed => Ok(Discovery::Nothing),
        }
    }

    /// A run that lost its keeper while no agent was there to catch it: nobody can talk to it any more.
    async fn bury_found(self: &Arc<Self>, record: RunRecord, boot_id: BootId) -> Discovery {
        let live = super::held::Live::new(record, boot_id);
        let survived = live.identity.lives();
        let (exit, killed) = self.bury(&live).await;
        let detail = match survived {
            true => format!("keeper and agent were gone; process {} outlived them and was stopped", record.pid),
            false => "keeper and agent were gone, and so was the process".to_owned(),
        };
        tracing::warn!(workload = self.plan.name, run = record.run, killed, detail, "a run was lost");
        self.tell(KeeperEvent::KeeperLost { run: RunId(record.run), recovered: false, detail });
        self.remember(exit)
    }

    fn remember(&self, exit: crate::model::exit::Exit) -> Discovery {
        self.held().last = Some(exit.clone());
        Discovery::Ended(exit)
    }
}
