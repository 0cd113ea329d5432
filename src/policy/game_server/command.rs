//! What the world may want of a game server, and what it hears back.
use super::{effect::Effect, fact::Ticket};
use crate::{
    model::{
        ids::OperationId,
        phase::State,
        snapshot::Warning,
        time::{BootTime, WallTime},
        workload::WorkloadSpec,
    },
    policy::operations::By,
};
use std::sync::Arc;

/// Now, and a random share in 0.0..=1.0: policy has neither clock nor dice of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    pub boot: BootTime,
    pub wall: WallTime,
    pub chance: f64,
}

/// Imperative: the world wants something.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Already validated: an unusable `/config` never gets this far.
    Configure(Arc<Resolved>, By),
    Start(By),
    Stop(By),
    Restart(By),
    /// SIGKILL to the whole tree; passes every lock.
    Kill(By),
    Shutdown(Leaving),
}

/// What the agent's own end means for the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// It runs on; the next agent takes it up.
    Leave,
    /// Ordered stop first. It is still *meant* to run: the next boot starts it again.
    Stop,
}

/// A `/config` body and what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub spec: Arc<WorkloadSpec>,
    /// As received: what is saved.
    pub body: serde_json::Value,
    /// Without secrets: what `/status` echoes.
    pub shown: serde_json::Value,
    /// Unknown or doubtful fields that were accepted.
    pub warnings: Vec<Warning>,
}

/// A command was taken. Answer it once `durable` is stored (or known to be impossible), so that nothing acknowledged
/// is ever forgotten; then perform `effects` in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// `None` where nothing had to be done, and for a kill.
    pub operation: Option<OperationId>,
    pub state: State,
    pub durable: Option<Ticket>,
    pub effects: Vec<Effect>,
}
