//! Setting up a dev container: which steps, in which order, and what each outcome means. Pure.
//!
//! ```text
//!                 Configure            last step done
//!   idle ──────────────────► working ─────────────────► ready
//!             ▲                │  ▲                       │
//!             └── error ◄──────┘  └───── Configure ───────┘
//!                    step failed, or out of time
//! ```
//! Every step finds out for itself what is already there, so the plan is always walked from its beginning: after a kill,
//! after a failure, and when the same body comes again. That makes a step that is done twice cheap, and none needs a
//! record of its own.
mod body;
pub mod plan;
#[cfg(test)]
mod tests;
mod ways;

pub use body::{check, read};
pub use plan::Step;

use crate::{
    model::{
        dev::DevConfig, ids::OperationId, operation::OperationKind, phase::State, refusal::Refusal, settings::Settings,
        snapshot::Warning, time::WallTime,
    },
    policy::{
        game_server::command::Moment,
        operations::{By, Journal, Outcome},
        status::{DevPart, OperationPart},
    },
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What must outlive the agent. One record, stored whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// The `/config` body as it was received; `None` before the first.
    pub config: Option<serde_json::Value>,
    pub provisioned: bool,
    /// When the last provisioning that went well was over.
    pub ready_at: Option<WallTime>,
    /// Why the last one did not go well.
    pub failure: Option<String>,
    pub journal: Journal,
}

/// A `/config` body and what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub config: DevConfig,
    /// As received: what is saved.
    pub body: serde_json::Value,
    /// Without secrets: what `/status` echoes.
    pub shown: serde_json::Value,
    pub warnings: Vec<Warning>,
}

/// What an earlier life wrote down, and what its configuration means now.
#[derive(Clone, Debug, PartialEq)]
pub struct Recollection {
    pub memory: Memory,
    pub config: Option<Result<Arc<Resolved>, String>>,
}

/// One piece of work under way; its reports carry it. Never given twice in a life of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What something that was started reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Recalled(Result<Box<Recollection>, String>),
    Stored(Ticket, Result<(), String>),
    Progressed {
        ticket: Ticket,
        text: String,
        progress: Option<f64>,
    },
    /// The step's end.
    Done(Ticket, Result<(), String>),
    /// The operation is out of time.
    Overdue(Ticket),
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Recall,
    Save(Ticket, Box<Memory>),
    Perform(Ticket, Step, Arc<Resolved>),
    /// The operation's deadline.
    Arm(Ticket, std::time::Duration),
    /// Whatever step is under way is not waited for any more.
    Abandon,
    /// Bring shells up to date, beside everything else; a failure is only logged.
    Refresh,
}

/// A configuration was taken. Answered once `durable` is stored, so that nothing acknowledged is ever forgotten.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub operation: OperationId,
    pub durable: Ticket,
    pub effects: Vec<Effect>,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum Stage {
    /// What was saved is being read.
    #[default]
    Recovering,
    Idle,
    /// Walking the plan: the steps still to come, the first of which is under way as `ticket`.
    Working {
        steps: Vec<Step>,
        ticket: Ticket,
        deadline: Ticket,
        text: String,
        progress: Option<f64>,
    },
    Ready,
    Failed,
}

/// The whole state of a dev container's set-up.
pub struct Machine {
    settings: Arc<Settings>,
    memory: Memory,
    config: Option<Arc<Resolved>>,
    stage: Stage,
    /// The runtime is known to be there.
    runtime_installed: bool,
    tickets: u64,
    /// A save whose answer decides nothing any more but must not be mistaken.
    accepting: Option<Ticket>,
    /// The newest outcome is not on disk, and why.
    unsaved: Option<String>,
}

impl Machine {
    pub fn new(settings: Arc<Settings>) -> Machine {
        Machine {
            settings,
            memory: Memory::default(),
            config: None,
            stage: Stage::Recovering,
            runtime_installed: false,
            tickets: 0,
            accepting: None,
            unsaved: None,
        }
    }

    pub fn awaken(&mut self) -> Vec<Effect> {
        vec![Effect::Recall]
    }

    /// `Configure` is the only command there is.
    pub fn configure(&mut self, now: Moment, resolved: Arc<Resolved>, by: By) -> Result<Decision, Refusal> {
        if self.stage == Stage::Recovering {
            return Err(Refusal::Recovering);
        }
        if let Some(busy) = self.memory.journal.busy() {
            return Err(busy);
        }
        let operation = by.id.clone();
        let (within, kept) = (self.settings.dev.provision_within, self.settings.limits.operations_kept);
        self.memory.journal.open(OperationKind::Config, by, (now.boot, now.wall), within, kept);
        self.memory.config = Some(resolved.body.clone());
        self.memory.failure = None;
        self.memory.provisioned = false;
        self.config = Some(resolved.clone());
        let durable = self.ticket();
        self.accepting = Some(durable);
        let mut effects = vec![Effect::Save(durable, Box::new(self.memory.clone()))];
        effects.extend(self.walk(&resolved));
        Ok(Decision { operation, durable, effects })
    }

    pub fn on_fact(&mut self, now: Moment, fact: Fact) -> Vec<Effect> {
        match fact {
            Fact::Recalled(recalled) => self.on_recalled(now, recalled),
            Fact::Stored(ticket, result) => self.on_stored(now, ticket, result),
            Fact::Progressed { ticket, text, progress } => self.on_progress(ticket, text, progress),
            Fact::Done(ticket, result) => self.on_done(now, ticket, result),
            Fact::Overdue(ticket) => self.on_overdue(now, ticket),
        }
    }

    /// Runtimes were installed, switched or removed: shells should know.
    pub fn on_runtimes_changed(&self) -> Vec<Effect> {
        if self.stage == Stage::Ready { vec![Effect::Refresh] } else { Vec::new() }
    }

    fn on_recalled(&mut self, now: Moment, recalled: Result<Box<Recollection>, String>) -> Vec<Effect> {
        if self.stage != Stage::Recovering {
            return Vec::new();
        }
        let Recollection { memory, config } = match recalled {
            Ok(recalled) => *recalled,
            Err(why) => return self.begin_broken(why),
        };
        self.memory = memory;
        match config {
            None => self.stage = Stage::Idle,
            Some(Err(why)) => return self.begin_broken(format!("the saved configuration is unusable: {why}")),
            Some(Ok(config)) => return self.take_up(now, config),
        }
        Vec::new()
    }

    /// Nothing can be resumed; a new configuration sets things right.
    fn begin_broken(&mut self, why: String) -> Vec<Effect> {
        self.memory.failure = Some(why);
        self.stage = Stage::Failed;
        Vec::new()
    }

    fn take_up(&mut self, now: Moment, config: Arc<Resolved>) -> Vec<Effect> {
        self.config = Some(config.clone());
        if self.memory.journal.holder().is_some() {
            self.memory.journal.go_on((now.boot, now.wall), self.settings.dev.provision_within);
            return self.walk(&config);
        }
        if self.memory.provisioned {
            (self.stage, self.runtime_installed) = (Stage::Ready, true);
            return vec![Effect::Refresh];
        }
        self.stage = Stage::Failed;
        Vec::new()
    }

    fn walk(&mut self, config: &Arc<Resolved>) -> Vec<Effect> {
        let steps = plan::steps(&config.config);
        let (deadline, ticket) = (self.ticket(), self.ticket());
        let mut effects = vec![Effect::Arm(deadline, self.settings.dev.provision_within)];
        effects.extend(steps.first().map(|step| Effect::Perform(ticket, *step, config.clone())));
        self.begin(steps, ticket, deadline);
        effects
    }

    fn begin(&mut self, steps: Vec<Step>, ticket: Ticket, deadline: Ticket) {
        let text = steps.first().map(|step| self.title(*step)).unwrap_or_default();
        self.memory.journal.step(&text, None);
        self.stage = Stage::Working { steps, ticket, deadline, text, progress: None };
    }

    fn title(&self, step: Step) -> String {
        self.config.as_ref().map_or_else(String::new, |config| step.title(&config.config))
    }

    fn on_progress(&mut self, of: Ticket, said: String, share: Option<f64>) -> Vec<Effect> {
        if let Stage::Working { ticket, text, progress, .. } = &mut self.stage
            && *ticket == of
        {
            self.memory.journal.step(&said, share);
            (*text, *progress) = (said, share.map(|p| p.clamp(0.0, 1.0)));
        }
        Vec::new()
    }

    fn on_done(&mut self, now: Moment, of: Ticket, result: Result<(), String>) -> Vec<Effect> {
        let Stage::Working { steps, ticket, deadline, .. } = &mut self.stage else { return Vec::new() };
        if *ticket != of {
            return Vec::new();
        }
        let (mut steps, deadline) = (std::mem::take(steps), *deadline);
        let Some(step) = steps.first().copied() else { return Vec::new() };
        if let Err(why) = result {
            let title = self.title(step);
            return self.fail(now, format!("{title}: {why}"));
        }
        self.runtime_installed |= step == Step::Runtime;
        steps.remove(0);
        match (steps.first().copied(), self.config.clone()) {
            (Some(next), Some(config)) => {
                let ticket = self.ticket();
                self.begin(steps, ticket, deadline);
                vec![Effect::Perform(ticket, next, config)]
            }
            _ => self.succeed(now),
        }
    }

    fn succeed(&mut self, now: Moment) -> Vec<Effect> {
        self.stage = Stage::Ready;
        self.memory.provisioned = true;
        self.memory.ready_at = Some(now.wall);
        self.memory.journal.end(Outcome::Done, now.wall);
        self.save()
    }

    fn fail(&mut self, now: Moment, why: String) -> Vec<Effect> {
        self.stage = Stage::Failed;
        self.memory.failure = Some(why.clone());
        self.memory.journal.end(Outcome::Failed(why), now.wall);
        self.save()
    }

    fn on_overdue(&mut self, now: Moment, of: Ticket) -> Vec<Effect> {
        let Stage::Working { deadline, text, .. } = &self.stage else { return Vec::new() };
        if *deadline != of {
            return Vec::new();
        }
        let within = self.settings.dev.provision_within.as_secs();
        let why = format!("{text}: not done within dev.provision_within, {within} s; POST /config again goes on");
        let mut effects = vec![Effect::Abandon];
        effects.extend(self.fail(now, why));
        effects
    }

    /// What was accepted but cannot be stored would be forgotten: it fails at once, in front of whoever asked.
    fn on_stored(&mut self, now: Moment, ticket: Ticket, result: Result<(), String>) -> Vec<Effect> {
        let accepting = self.accepting.take_if(|accepting| *accepting == ticket).is_some();
        match result {
            Ok(()) => self.unsaved = None,
            Err(why) if accepting && matches!(self.stage, Stage::Working { .. }) => {
                let mut effects = vec![Effect::Abandon];
                effects.extend(self.fail(now, format!("the configuration could not be saved: {why}")));
                return effects;
            }
            Err(why) => self.unsaved = Some(why),
        }
        Vec::new()
    }

    fn save(&mut self) -> Vec<Effect> {
        let ticket = self.ticket();
        vec![Effect::Save(ticket, Box::new(self.memory.clone()))]
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Is the deadline of this ticket still waited for?
    pub fn awaits(&self, of: Ticket) -> bool {
        matches!(&self.stage, Stage::Working { deadline, .. } if *deadline == of)
    }

    /// The state word of `/status`.
    pub fn state(&self) -> State {
        match &self.stage {
            Stage::Recovering | Stage::Idle => State::Idle,
            Stage::Working { .. } => State::Installing,
            Stage::Ready => State::Running,
            Stage::Failed => State::Error,
        }
    }

    /// What `/status` says about it. `workspace`: where it is on this machine.
    pub fn part(&self, workspace: &str) -> DevPart {
        let (install_step, install_progress) = match &self.stage {
            Stage::Working { text, progress, .. } => (text.clone(), *progress),
            _ => (String::new(), None),
        };
        let ready = self.stage == Stage::Ready;
        DevPart {
            recovering: self.stage == Stage::Recovering,
            configured: self.memory.config.is_some(),
            state: self.state(),
            install_step,
            install_progress,
            runtime_installed: self.runtime_installed,
            provisioned: ready,
            ready_at: self.memory.ready_at.filter(|_| ready),
            failure: self.memory.failure.clone(),
            workspace: (ready || self.runtime_installed).then(|| workspace.to_owned()),
            operation: self.operation(),
            warnings: self.warnings(),
            config: self.config.as_ref().map(|config| config.shown.clone()),
            operations: self.memory.journal.rows(),
        }
    }

    fn operation(&self) -> Option<OperationPart> {
        let o = self.memory.journal.holder()?;
        Some(OperationPart { id: o.id.clone(), kind: o.kind, started_at: o.started_at, message: o.step.clone() })
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.config.as_ref().map_or_else(Vec::new, |config| config.warnings.clone());
        warnings.extend(self.unsaved.as_ref().map(|why| Warning {
            code: "state_not_saved".into(),
            message: format!("the outcome of the set-up is not on disk and is done again after a restart: {why}"),
        }));
        warnings
    }
}
