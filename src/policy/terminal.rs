//! One named shell: when it is started, how large its terminal is, and when it is let go. Pure.
//!
//! ```text
//!             attach              launched             last viewer gone, linger over
//!   absent ──────────► launching ──────────► live ─────────────────────────────────► ending
//!     ▲                    │ failed           │ exited                                 │ exited
//!     └──── forgetting ◄───┴──── ended ◄──────┘◄───────────────────────────────────────┘
//!          nobody looks at it      └── attach: launching
//! ```
//! A shell that ended is shown for as long as somebody looks; who comes next gets a fresh one. Whoever attaches is
//! answered when there is a shell, or when there cannot be one.
use crate::model::{ids::RunId, refusal::Refusal};
use std::{collections::BTreeMap, time::Duration};

/// The session that nobody named.
pub const MAIN: &str = "main";
const LONGEST_NAME: usize = 32;
const RULE: &str = "use 1 to 32 lower-case letters, digits and -, beginning with a letter or digit";
/// What SIGHUP has not ended by then is killed.
const GRACE: Duration = Duration::from_secs(5);
/// Between two kills of what does not die.
const AGAIN: Duration = Duration::from_secs(30);

/// Columns and rows.
pub type Size = (u16, u16);
/// One viewer; never given twice in a life of the agent.
pub type Viewer = u64;

/// Names become folders of keepers.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|b| plain(b) || b == b'-')
        && name.bytes().next().is_some_and(plain);
    match fits {
        true => Ok(()),
        false => {
            let shown: String = name.chars().take(LONGEST_NAME).filter(|c| !c.is_control()).collect();
            Err(Refusal::InvalidSession { detail: format!("{shown:?} cannot name a session: {RULE}.") })
        }
    }
}

/// Everyone must see all of it: the smallest of all. `None` while nobody said how large theirs is.
pub fn fitting(sizes: impl IntoIterator<Item = Size>) -> Option<Size> {
    sizes.into_iter().reduce(|(c, r), (columns, rows)| (c.min(columns), r.min(rows)))
}

/// Is there room for one more viewer? `sessions`: how many there are without this one; `viewers`: how many look at it.
pub fn room(sessions: usize, viewers: usize, most: (usize, usize)) -> Result<(), Refusal> {
    let (most_sessions, most_viewers) = most;
    if viewers >= most_viewers {
        return Err(Refusal::TooManyViewers { limit: most_viewers });
    }
    match sessions < most_sessions {
        true => Ok(()),
        false => Err(Refusal::TooManySessions { limit: most_sessions }),
    }
}

/// A timer of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub u64);

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    Launch(RunId),
    Resize(Size),
    Arm(Ticket, Duration),
    /// SIGHUP to the shell, which passes it on to its jobs.
    HangUp(RunId),
    /// SIGKILL to everything of it.
    Kill(RunId),
    /// Nobody needs it: keeper and output may go.
    Forget,
    /// To one who attached.
    Admit(Viewer),
    Turn {
        viewer: Viewer,
        why: Refusal,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Absent,
    Launching(RunId),
    Live(RunId),
    /// Told to end; nobody looked at it.
    Ending(RunId),
    /// It ended by itself and somebody still looks.
    Ended,
    Forgetting,
    Gone,
}

/// What an earlier agent left of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Alive(RunId),
    /// Run ids go on after this one.
    Ended(RunId),
}

pub struct Session {
    linger: Duration,
    stage: Stage,
    last: RunId,
    viewers: BTreeMap<Viewer, Option<Size>>,
    /// Those who attached and have no answer yet.
    waiting: Vec<Viewer>,
    size: Option<Size>,
    tickets: u64,
    /// The timer that counts now.
    timer: Option<Ticket>,
}

impl Session {
    /// `viewers`: those who look at it already (the actor is reborn, they are not).
    pub fn new(linger: Duration, viewers: BTreeMap<Viewer, Option<Size>>) -> Session {
        let size = fitting(viewers.values().copied().flatten());
        let (stage, last, waiting) = (Stage::Absent, RunId(0), Vec::new());
        Session { linger, stage, last, viewers, waiting, size, tickets: 0, timer: None }
    }

    pub fn on_found(&mut self, found: Found) -> Vec<Effect> {
        match found {
            Found::Alive(run) => {
                (self.stage, self.last) = (Stage::Live(run), run);
                self.linger_if_alone()
            }
            Found::Ended(run) => {
                (self.stage, self.last) = (Stage::Ended, run);
                self.forget_if_alone()
            }
            Found::Nothing => {
                self.stage = Stage::Ended;
                self.forget_if_alone()
            }
        }
    }

    /// `fresh`: a run id that was never used, as far as clocks can tell.
    pub fn attach(&mut self, viewer: Viewer, fresh: RunId) -> Vec<Effect> {
        self.viewers.insert(viewer, None);
        match self.stage {
            Stage::Live(_) => {
                self.timer = None;
                vec![Effect::Admit(viewer)]
            }
            Stage::Absent | Stage::Ended => {
                self.waiting.push(viewer);
                self.launch(fresh)
            }
            Stage::Launching(_) | Stage::Ending(_) | Stage::Forgetting | Stage::Gone => {
                self.waiting.push(viewer);
                Vec::new()
            }
        }
    }

    pub fn detach(&mut self, viewer: Viewer) -> Vec<Effect> {
        if self.viewers.remove(&viewer).is_none() {
            return Vec::new();
        }
        self.waiting.retain(|waiting| *waiting != viewer);
        let mut effects = self.fit();
        effects.extend(match self.stage {
            Stage::Live(_) => self.linger_if_alone(),
            Stage::Ended => self.forget_if_alone(),
            Stage::Absent | Stage::Launching(_) | Stage::Ending(_) | Stage::Forgetting | Stage::Gone => Vec::new(),
        });
        effects
    }

    pub fn resize(&mut self, viewer: Viewer, size: Size) -> Vec<Effect> {
        match self.viewers.get_mut(&viewer) {
            Some(known) => *known = Some(size),
            None => return Vec::new(),
        }
        self.fit()
    }

    pub fn on_launched(&mut self, run: RunId, result: Result<(), Refusal>) -> Vec<Effect> {
        if self.stage != Stage::Launching(run) {
            return Vec::new();
        }
        let waiting = std::mem::take(&mut self.waiting);
        match result {
            Ok(()) => {
                self.stage = Stage::Live(run);
                let mut effects: Vec<Effect> = waiting.into_iter().map(Effect::Admit).collect();
                effects.extend(self.linger_if_alone());
                effects
            }
            Err(why) => {
                self.stage = Stage::Ended;
                waiting.iter().for_each(|viewer| _ = self.viewers.remove(viewer));
                let turn = |viewer| Effect::Turn { viewer, why: why.clone() };
                // What was not heard of may live all the same, and nobody would ever look at it.
                let mut effects = vec![Effect::Kill(run)];
                effects.extend(waiting.into_iter().map(turn));
                effects.extend(self.forget_if_alone());
                effects
            }
        }
    }

    /// The shell is gone. A launch whose answer got lost counts as one that ended.
    pub fn on_exited(&mut self, run: RunId, fresh: RunId) -> Vec<Effect> {
        match self.stage {
            Stage::Live(r) | Stage::Ending(r) | Stage::Launching(r) if r == run => {}
            _ => return Vec::new(),
        }
        self.timer = None;
        self.stage = Stage::Ended;
        match self.waiting.is_empty() {
            true => self.forget_if_alone(),
            false => self.launch(fresh),
        }
    }

    pub fn on_timer(&mut self, ticket: Ticket) -> Vec<Effect> {
        if self.timer != Some(ticket) {
            return Vec::new();
        }
        match self.stage {
            Stage::Live(run) => {
                self.stage = Stage::Ending(run);
                vec![Effect::HangUp(run), self.arm(GRACE)]
            }
            Stage::Ending(run) => vec![Effect::Kill(run), self.arm(AGAIN)],
            Stage::Absent | Stage::Launching(_) | Stage::Ended | Stage::Forgetting | Stage::Gone => Vec::new(),
        }
    }

    pub fn on_forgotten(&mut self, fresh: RunId) -> Vec<Effect> {
        if self.stage != Stage::Forgetting {
            return Vec::new();
        }
        match self.waiting.is_empty() {
            true => {
                self.stage = Stage::Gone;
                Vec::new()
            }
            false => self.launch(fresh),
        }
    }

    /// Nothing is left of it: it need not be remembered.
    pub fn is_gone(&self) -> bool {
        self.stage == Stage::Gone
    }

    /// The run that takes input.
    pub fn live(&self) -> Option<RunId> {
        match self.stage {
            Stage::Live(run) => Some(run),
            _ => None,
        }
    }

    pub fn viewers(&self) -> usize {
        self.viewers.len()
    }

    fn launch(&mut self, fresh: RunId) -> Vec<Effect> {
        let run = RunId(fresh.0.max(self.last.0 + 1));
        (self.last, self.stage, self.timer) = (run, Stage::Launching(run), None);
        vec![Effect::Launch(run)]
    }

    fn fit(&mut self) -> Vec<Effect> {
        let fitting = fitting(self.viewers.values().copied().flatten());
        match fitting {
            Some(size) if self.size != Some(size) => {
                self.size = Some(size);
                vec![Effect::Resize(size)]
            }
            // Nobody looks: whoever comes back finds it as it was.
            _ => Vec::new(),
        }
    }

    fn linger_if_alone(&mut self) -> Vec<Effect> {
        match self.viewers.is_empty() {
            true => vec![self.arm(self.linger)],
            false => Vec::new(),
        }
    }

    fn forget_if_alone(&mut self) -> Vec<Effect> {
        match self.viewers.is_empty() {
            true => {
                self.stage = Stage::Forgetting;
                vec![Effect::Forget]
            }
            false => Vec::new(),
        }
    }

    fn arm(&mut self, after: Duration) -> Effect {
        self.tickets += 1;
        self.timer = Some(Ticket(self.tickets));
        Effect::Arm(Ticket(self.tickets), after)
    }
}

#[cfg(test)]
mod tests;
