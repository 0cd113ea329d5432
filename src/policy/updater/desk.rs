//! Twin of the UpdaterActor: what it does next, given what it was asked and what it has heard.
//!
//! ```text
//!  idle ──order, timer──► (stored) ──► checking ──nothing to take──► idle
//!                            │ Update(candidate)
//!                            ▼
//!                        preparing ──► waiting ──► switching ──► (another program)
//!                            └──────────┴─────────────┴─failed─► idle, with the reason
//! ```
use super::{Candidate, Offer, asked_for, offered, orders};
use crate::{
    model::{
        catalog::AgentManifest,
        operation::Operation,
        settings::UpdateMode,
        time::WallTime,
        update::{Standing, UpdateRecord, UpdateState},
    },
    policy::operations::Outcome,
};

/// By what it goes; never changes within a life.
#[derive(Clone, Debug)]
pub struct Way {
    /// Semantic, without `v`.
    pub running: String,
    pub mode: UpdateMode,
    pub channel: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Look only.
    Check,
    /// Take what the channel promotes, or this version.
    Take(Option<String>),
    /// The timer.
    Tick,
}

/// To who gave a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    /// Something is going on already.
    Busy,
    /// Once what was ordered is stored ([`Desk::on_stored`]).
    Later,
    /// It could not be stored, so nothing will come of it.
    Unsaved,
}

#[derive(Clone, Debug)]
pub enum Fact {
    /// What earlier lives left; may come again.
    Recalled(Result<UpdateRecord, String>),
    Looked(Result<AgentManifest, String>, WallTime),
    /// Fetched, verified, kept, and it runs by itself. `Err(why, true)`: the program itself is at fault.
    Prepared(Result<(), (String, bool)>),
    /// Nothing else is going on any more.
    Quiet(Result<(), String>),
    /// Recorded, and `current` names it. A success is heard only if the program could not be executed.
    Switched(Result<(), String>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Store that this was ordered, and say so by [`Desk::on_stored`].
    Store {
        subject: String,
        holder: &'static str,
    },
    /// Store how what was ordered has ended.
    Conclude(Outcome),
    Look,
    Prepare(Candidate),
    /// Store that this version failed.
    Reject {
        version: String,
        why: String,
    },
    AwaitQuiet,
    /// Store the trial, point `current` at it, and let it be executed.
    Switch(String),
}

/// All it remembers.
pub struct Desk {
    way: Way,
    /// `None`: not read yet.
    record: Option<UpdateRecord>,
    goal: Option<Command>,
    target: Option<String>,
    /// What follows once an order is stored.
    next: Option<Effect>,
    state: UpdateState,
    latest: Option<String>,
    available: bool,
    checked: Option<WallTime>,
    error: Option<String>,
}

impl Desk {
    pub fn new(way: Way) -> Desk {
        Desk {
            way,
            record: None,
            goal: None,
            target: None,
            next: None,
            state: UpdateState::Idle,
            latest: None,
            available: false,
            checked: None,
            error: None,
        }
    }

    pub fn on_command(&mut self, command: Command) -> (Answer, Vec<Effect>) {
        if self.shown_state() != UpdateState::Idle {
            return (Answer::Busy, Vec::new());
        }
        let by_timer = command == Command::Tick;
        let goal = match (command, self.way.mode) {
            (Command::Tick, UpdateMode::Off) => return (Answer::Accepted, Vec::new()),
            (Command::Tick, UpdateMode::Notify) => Command::Check,
            (Command::Tick, UpdateMode::Auto) => Command::Take(None),
            (command, _) => command,
        };
        self.state = UpdateState::Checking;
        let subject = match &goal {
            Command::Take(Some(version)) => format!("v{}", version.trim_start_matches('v')),
            Command::Check | Command::Take(None) | Command::Tick => self.way.channel.clone(),
        };
        let ordered = matches!(goal, Command::Take(_)) && !by_timer;
        self.goal = Some(goal);
        match ordered {
            true => (Answer::Later, self.store(subject, "api", Effect::Look)),
            false => (Answer::Accepted, vec![Effect::Look]),
        }
    }

    fn store(&mut self, subject: String, holder: &'static str, next: Effect) -> Vec<Effect> {
        self.next = Some(next);
        vec![Effect::Store { subject, holder }]
    }

    /// What was ordered is in the record, or could not be written there.
    pub fn on_stored(&mut self, stored: Result<UpdateRecord, String>) -> (Answer, Vec<Effect>) {
        let next = self.next.take();
        match stored {
            Ok(record) => {
                self.record = Some(record);
                (Answer::Accepted, next.into_iter().collect())
            }
            Err(why) => {
                self.error = Some(format!("the order could not be stored: {why}"));
                self.rest();
                (Answer::Unsaved, Vec::new())
            }
        }
    }

    pub fn on_fact(&mut self, fact: Fact) -> Vec<Effect> {
        match fact {
            Fact::Recalled(record) => self.on_record(record),
            Fact::Looked(Ok(manifest), at) => self.on_manifest(&manifest, at),
            Fact::Looked(Err(why), _) => self.fail(why),
            Fact::Prepared(Ok(())) => {
                self.state = UpdateState::Waiting;
                vec![Effect::AwaitQuiet]
            }
            Fact::Prepared(Err((why, programs_fault))) => self.on_unfit(why, programs_fault),
            Fact::Quiet(Ok(())) => self.switch(),
            Fact::Switched(Ok(())) => Vec::new(),
            Fact::Quiet(Err(why)) | Fact::Switched(Err(why)) => self.fail(why),
        }
    }

    fn on_record(&mut self, record: Result<UpdateRecord, String>) -> Vec<Effect> {
        if let Err(why) = &record {
            self.error = Some(format!("what is remembered of updates cannot be read: {why}"));
        }
        let record = record.unwrap_or_default();
        let left = orders::interrupted(&record).filter(|_| self.record.is_none());
        self.record = Some(record);
        left.map(Effect::Conclude).into_iter().collect()
    }

    fn on_manifest(&mut self, manifest: &AgentManifest, at: WallTime) -> Vec<Effect> {
        self.checked = Some(at);
        let record = self.record.clone().unwrap_or_default();
        let offer = offered(manifest, &self.way.channel, &self.way.running, &record);
        self.note(&offer);
        let taken = match self.goal.take() {
            Some(Command::Take(Some(version))) => asked_for(manifest, &version, &self.way.running),
            Some(Command::Take(None)) => offer,
            Some(Command::Check | Command::Tick) | None => offer.map(|_| Offer::UpToDate),
        };
        match taken {
            Ok(Offer::Update(candidate)) => {
                self.target = Some(candidate.version.clone());
                self.state = UpdateState::Preparing;
                self.prepare(candidate)
            }
            Ok(Offer::UpToDate) => self.content(),
            Ok(Offer::Held { version, why }) if self.ordered().is_some() => {
                self.fail(format!("{why}; `zlh update {version}` takes version {version} all the same"))
            }
            Ok(Offer::Held { .. }) => self.content(),
            Err(unusable) => self.fail(unusable.to_string()),
        }
    }

    /// What the timer takes becomes an operation only now that there is something to take.
    fn prepare(&mut self, candidate: Candidate) -> Vec<Effect> {
        match self.ordered() {
            Some(_) => vec![Effect::Prepare(candidate)],
            None => self.store(format!("v{}", candidate.version), "agent", Effect::Prepare(candidate)),
        }
    }

    fn ordered(&self) -> Option<&Operation> {
        self.record.as_ref().and_then(orders::live)
    }

    /// There is nothing to take, which is well.
    fn content(&mut self) -> Vec<Effect> {
        self.error = None;
        self.rest();
        self.ordered().map(|_| Effect::Conclude(Outcome::Done)).into_iter().collect()
    }

    fn note(&mut self, offer: &Result<Offer, super::Unusable>) {
        (self.latest, self.available) = match offer {
            Ok(Offer::Update(candidate)) => (Some(candidate.version.clone()), true),
            Ok(Offer::Held { version, .. }) => (Some(version.clone()), false),
            Ok(Offer::UpToDate) => (Some(self.way.running.clone()), false),
            Err(_) => (None, false),
        };
    }

    /// What is wrong with the program itself will be so the next time too; a server that is down comes back.
    fn on_unfit(&mut self, why: String, programs_fault: bool) -> Vec<Effect> {
        let reject = self.target.clone().filter(|_| programs_fault);
        self.available &= reject.is_none() || reject != self.latest;
        let failed = self.fail(why.clone());
        // A rejection concludes what was ordered, in one write.
        reject.map_or(failed, |version| vec![Effect::Reject { version, why }])
    }

    fn switch(&mut self) -> Vec<Effect> {
        let Some(version) = self.target.clone() else { return self.fail("there is no version to switch to".into()) };
        self.state = UpdateState::Switching;
        vec![Effect::Switch(version)]
    }

    fn fail(&mut self, why: String) -> Vec<Effect> {
        self.error = Some(why.clone());
        self.rest();
        self.ordered().map(|_| Effect::Conclude(Outcome::Failed(why))).into_iter().collect()
    }

    fn rest(&mut self) {
        (self.state, self.target, self.goal) = (UpdateState::Idle, None, None);
    }

    /// Until the record is read, this program may be on trial.
    fn shown_state(&self) -> UpdateState {
        match &self.record {
            Some(record) if record.trial.is_none() => self.state,
            Some(_) | None => UpdateState::OnTrial,
        }
    }

    /// What earlier lives left is known.
    pub fn remembers(&self) -> bool {
        self.record.is_some()
    }

    /// Updates that were ordered, newest first; the one under way says what it is doing.
    pub fn operations(&self) -> Vec<Operation> {
        let mut operations = self.record.as_ref().map(|record| record.operations.clone()).unwrap_or_default();
        if let Some(live) = operations.first_mut().filter(|operation| !operation.state.is_final()) {
            live.step = self.step();
        }
        operations
    }

    fn step(&self) -> String {
        let version = self.target.as_deref().unwrap_or(&self.way.running);
        match self.shown_state() {
            UpdateState::Idle => String::new(),
            UpdateState::Checking => "reading the manifest".into(),
            UpdateState::Preparing => format!("fetching, verifying and trying v{version}"),
            UpdateState::Waiting => "waiting for other operations to end".into(),
            UpdateState::Switching => format!("executing v{version}"),
            UpdateState::OnTrial => format!("v{version} has to prove itself"),
        }
    }

    /// For everybody who asks.
    pub fn standing(&self) -> Standing {
        let named = |version: &String| format!("v{version}");
        let record = self.record.clone().unwrap_or_default();
        Standing {
            current: named(&self.way.running),
            latest: self.latest.as_ref().map(named),
            update_available: self.available,
            operation_id: record.operations.first().map(|operation| operation.id.clone()),
            target: self.target.as_ref().map(named),
            mode: self.way.mode,
            state: self.shown_state(),
            last_check_at: self.checked,
            last_error: self.error.clone().or(record.last_error),
            failed: record.failed,
        }
    }
}

#[cfg(test)]
mod tests;
