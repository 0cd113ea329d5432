//! How a run ends: its main process, then all that it left behind, then what was kept for its successor.
use super::{Keeper, LAST_TURN};
use crate::keeper::{
    ahead::Next,
    between::Between,
    failpoint,
    layout::{Progress, RunRecord},
    orders,
    protocol::{Launch, Report},
    run::{Ending, Run},
    sys::{self, Wait},
    tree::{self, Clearing},
};

impl Keeper {
    /// Takes every child that has ended; the run's main process is one of them.
    pub fn reap(&mut self) {
        loop {
            match sys::reap_one() {
                Wait::Reaped(gone) => match &mut self.run {
                    Some(run) if !run.adopted && run.alive() && run.leader.pid() == gone.pid => {
                        self.end_run(Ending::Reaped(gone));
                    }
                    Some(run) if !run.alive() => run.outlived += 1,
                    _ => {}
                },
                Wait::AllAlive => return,
                Wait::NoChildren => {
                    if self.run.as_ref().is_some_and(|r| !r.adopted) {
                        self.tree_is_empty();
                    }
                    return;
                }
            }
        }
    }

    pub(super) fn on_adopted_end(&mut self) {
        if let Some(ending) = self.run.as_mut().and_then(Run::adopted_ending) {
            self.end_run(ending);
        }
    }

    /// The record is safe before anybody hears of it, and nobody waits for what was left behind.
    fn end_run(&mut self, ending: Ending) {
        // Nothing to do about an errno here but go on.
        let _ = failpoint::reach(c"keeper.child_exited_before_record");
        self.pump(LAST_TURN, 0);
        let left = self.run.as_ref().is_some_and(|run| run.notes.leave_rest);
        let outlived = !left && self.run.as_ref().is_some_and(|run| !run.adopted) && sys::has_children();
        if outlived {
            self.forget_next();
        }
        let Some(run) = &mut self.run else { return };
        run.finish(ending, self.state.head());
        if outlived {
            run.record.leftovers = tree::count(std::process::id() as i32);
        }
        self.state.write_record(&run.record);
        let _ = failpoint::reach(c"keeper.after_record_before_report");
        let record = run.record;
        let client = &mut self.client;
        run.input.abandon(|taken| orders::acknowledge(client, taken));
        self.last = Some(record);
        self.reported = self.client.is_some();
        let alone = left || (!run.adopted && !outlived);
        let next = if alone { self.take_permit() } else { None };
        self.report(&Report::Exited { record: record.encode().to_vec(), alone, next: next.as_ref().map(|n| n.run) });
        // Alone, that its tree is empty is known at once, and all of it goes out together.
        if alone {
            self.close_run(next);
        } else {
            self.send();
            self.run.iter_mut().for_each(Run::clear);
        }
    }

    /// The launch that follows at once, if the agent has allowed it before the crash: whoever is quicker, we here or a withdrawal,
    /// the other one knows.
    fn take_permit(&self) -> Option<Launch> {
        let order = self.next.made()?;
        let crashed = self.run.as_ref().is_some_and(Run::crashed);
        let permitted = crashed && self.client.is_some() && self.state.take_permit(order.run);
        permitted.then(|| order.clone())
    }

    /// Ends what earlier runs left behind; how many that were.
    pub fn end_rest(&mut self) -> u32 {
        self.forget_next();
        let keeper = std::process::id() as i32;
        let rest = tree::count(keeper);
        if rest > 0 {
            // One pass: what is frozen forks nothing, and so nothing comes after it.
            Clearing::new(None).pass(keeper, None);
        }
        rest
    }

    pub(super) fn tree_is_empty(&mut self) {
        if self.run.as_ref().is_some_and(|run| !run.alive()) {
            self.pump(LAST_TURN, 0);
            self.close_run(None);
        }
    }

    /// Nothing is left of it, and its last word is read: says so once. The terminal goes with the run. `next` begins before
    /// anybody is told, so that who is told does not keep a processor from it.
    fn close_run(&mut self, next: Option<Launch>) {
        self.unheard = 0;
        if let Some(run) = self.run.take() {
            self.report(&Report::TreeEmpty { run: run.record.run, killed: run.outlived });
            if let Some(order) = next {
                self.between = Some(Between::begin(run, true));
                let _ = failpoint::reach(c"keeper.permit_taken");
                orders::start(self, &order);
                return self.send();
            }
            self.send();
            // Only somebody who is there can order another.
            if self.client.is_some() {
                self.groups.make_home(run.record.run + 1);
                self.between = Some(Between::begin(run, self.next.made().is_some()));
            } else {
                self.forget_next();
            }
        }
    }

    /// Its group goes, too: the tree kill that may follow would leave its mark on it (see [`super::cgroups`]), and who is
    /// born there later would die of that.
    pub fn forget_next(&mut self) {
        self.next = Next::Unknown;
        self.groups.vacate(self.run.as_ref().map(|run| run.record.run));
    }

    /// Once the next run is under way, or late, what was kept for its sake is let go.
    pub(super) fn settle(&mut self) {
        let over = |between: &Between| self.run.is_some() || between.until <= sys::boot_time();
        if self.between.as_ref().is_some_and(over) {
            self.between = None;
            match &self.run {
                Some(run) => self.groups.vacate(Some(run.record.run)),
                None => self.forget_next(),
            }
        }
    }

    /// Not its parent, we only see an adopted tree through its cgroup, or through the main process while that lives.
    pub fn adopted_tree_done(&mut self) {
        let done =
            |run: &Run| run.adopted && !run.alive() && run.clearing.as_ref().and_then(|c| c.populated()) != Some(true);
        if self.run.as_ref().is_some_and(done) {
            self.tree_is_empty();
        }
    }

    /// Is the process of a run that an earlier keeper launched still there?
    pub fn orphan_lives(&self) -> bool {
        let lives = |r: RunRecord| sys::stat_of(r.pid).is_some_and(|s| !s.zombie && s.start_ticks == r.start_ticks);
        self.last.filter(|r| r.progress == Progress::Launched && r.pid > 1).is_some_and(lives)
    }
}
