//! The keeper's loop: terminal, children, agent, in this order; asleep whenever none of them has something to say.
use super::{
    ahead::Next,
    between::Between,
    cgroups::Groups,
    client::{self, Client},
    failpoint,
    layout::{Progress, RunRecord},
    orders,
    protocol::Report,
    run::{Ending, Run},
    segments::Segments,
    state_file::StateFile,
    sys::{self, Wait},
    terminal::{self, Drained},
    tree::{self, Clearing},
    trim,
    watch::{EDGES, Events, Interest, SLOTS, Watch},
};
use nix::sys::{
    signalfd::SignalFd,
    socket::{SockFlag, accept4},
};
use std::{
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::Duration,
};

/// Read from the terminal before anything else gets its turn.
const TURN: usize = 64 << 10;
/// A read that gives no more than this has most likely emptied the terminal; what comes meanwhile is said anew.
const FEW: usize = 1 << 10;
/// Read after the end of the main process: more than a terminal holds, less than would overrun the disk log.
const LAST_TURN: usize = 160 << 10;
/// A connection that cannot be accepted (no descriptors left in the system) is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

pub struct Keeper {
    pub state: StateFile,
    pub log: Option<Segments>,
    pub run: Option<Run>,
    /// Since the last run's tree was empty, for a moment.
    pub between: Option<Between>,
    /// The run after the one that lives.
    pub next: Next,
    /// The newest run known, also of an earlier keeper.
    pub last: Option<RunRecord>,
    /// Somebody was told how the last run ended.
    pub reported: bool,
    pub client: Option<Client>,
    pub groups: Groups,
    pub leaving: bool,
    watch: Watch,
    /// What the terminal had to say when it was not read to its end.
    unheard: i32,
    listener: OwnedFd,
    children: SignalFd,
    clients: u64,
    accept_after: Option<Duration>,
    trim_at: Option<Duration>,
}

const LISTENER: usize = 0;
const CLIENT: usize = 1;
const CHILDREN: usize = 2;
const TERMINAL: usize = 3;
const LEADER: usize = 4;

impl Keeper {
    pub fn new(state: StateFile, listener: OwnedFd, children: SignalFd, first: Option<OwnedFd>) -> Keeper {
        let last = state.newest_record();
        let mut keeper = Keeper {
            state,
            log: None,
            run: None,
            between: None,
            next: Next::Unknown,
            reported: true,
            last,
            client: None,
            groups: Groups::default(),
            leaving: false,
            watch: Watch::new(),
            unheard: 0,
            listener,
            children,
            clients: 0,
            accept_after: None,
            trim_at: Some(sys::boot_time() + trim::AFTER),
        };
        if let Some(socket) = first {
            keeper.welcome(socket);
        }
        keeper
    }

    /// Returns when the keeper is no longer needed.
    pub fn serve(&mut self) {
        while !self.leaving {
            let (interests, timeout) = (self.interests(), self.timeout());
            let events: Events = self.watch.wait(interests, timeout);
            let ready = |i: usize| events[i] != 0;
            let terminal = events[TERMINAL] | std::mem::take(&mut self.unheard);
            if terminal != 0 {
                self.on_terminal(terminal);
            }
            if ready(CHILDREN) {
                // Its content says less than wait does; reading it takes the bell down.
                let _ = self.children.read_signal();
                self.reap();
            }
            if ready(LEADER) {
                self.on_adopted_end();
            }
            if ready(CLIENT) {
                self.on_client();
            }
            if ready(LISTENER) {
                self.on_connection();
            }
            self.on_time();
            self.send();
            self.settle();
        }
        if let Some(log) = &mut self.log {
            log.flush_now(self.state);
        }
        self.forget_next();
        self.groups.vacate(None);
    }

    fn interests(&self) -> [Interest; SLOTS] {
        let watch = |fd: Option<i32>, events, owner| fd.map_or(Interest::NONE, |fd| Interest { fd, events, owner });
        let run = self.run.as_ref();
        let number = run.map_or(0, |run| run.record.run);
        let listening = self.accept_after.is_none().then(|| self.listener.as_raw_fd());
        let client = self.client.as_ref();
        let sending = if client.is_some_and(Client::wants_to_send) { libc::EPOLLOUT } else { 0 };
        let terminal = run.and_then(|r| r.terminal.as_ref()).map(|t| t.master().as_raw_fd());
        let typing = if run.is_some_and(|r| r.input.is_waiting()) { libc::EPOLLOUT } else { EDGES };
        let adopted = run.filter(|r| r.adopted && r.alive() && !r.in_grace());
        let mut all = [Interest::NONE; SLOTS];
        all[LISTENER] = watch(listening, libc::EPOLLIN, 0);
        all[CLIENT] = watch(client.map(|c| c.socket().as_raw_fd()), libc::EPOLLIN | sending, self.clients);
        all[CHILDREN] = watch(Some(self.children.as_raw_fd()), libc::EPOLLIN, 0);
        all[TERMINAL] = watch(terminal, libc::EPOLLIN | typing, number);
        all[LEADER] = watch(adopted.map(|r| r.leader.pidfd().as_raw_fd()), libc::EPOLLIN, number);
        all
    }

    /// `None`, that is no wake-up at all, while nothing is under way.
    fn timeout(&self) -> Option<Duration> {
        if self.unheard != 0 {
            return Some(Duration::ZERO);
        }
        let log = self.log.as_ref().and_then(Segments::due);
        let run = self.run.as_ref().and_then(Run::due);
        let between = self.between.as_ref().map(|between| between.until);
        let due = [log, run, between, self.next.due(), self.accept_after, self.trim_at].into_iter().flatten().min()?;
        Some(due.saturating_sub(sys::boot_time()))
    }

    fn on_terminal(&mut self, events: i32) {
        let Drained { bytes, more } = self.pump(TURN, FEW);
        let hung_up = events & libc::EPOLLHUP != 0;
        if more || (hung_up && bytes > 0) {
            self.unheard = events;
        } else if hung_up {
            // A privileged program may hang up on everybody (vhangup), us too: open our side again.
            if let Some(run) = &mut self.run
                && run.terminal.as_mut().is_some_and(|t| t.open_slave_again().is_err())
            {
                run.terminal = None;
            }
        }
        self.write_input();
    }

    /// Terminal to ring, ring to disk, bell to agent; how much came.
    fn pump(&mut self, most: usize, enough: usize) -> Drained {
        let Some(run) = &mut self.run else { return Drained::default() };
        let Some(terminal) = &run.terminal else { return Drained::default() };
        let got = terminal::drain(self.state, terminal.master(), most, enough);
        if got.bytes == 0 {
            return got;
        }
        if !run.alive() {
            run.heard();
        }
        if self.state.take_doorbell() {
            self.ring_bell();
        }
        if let Some(log) = &mut self.log {
            log.notice(self.state);
        }
        got
    }

    pub fn write_input(&mut self) {
        let Some(run) = &mut self.run else { return };
        let Some(terminal) = &run.terminal else { return };
        let client = &mut self.client;
        run.input.advance(terminal, |taken| orders::acknowledge(client, taken));
    }

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

    fn on_adopted_end(&mut self) {
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
        self.report(&Report::Exited { record: record.encode().to_vec(), alone });
        // Alone, that its tree is empty is known at once, and both go out together.
        if alone {
            self.close_run();
        } else {
            self.send();
            self.run.iter_mut().for_each(Run::clear);
        }
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

    fn tree_is_empty(&mut self) {
        if self.run.as_ref().is_some_and(|run| !run.alive()) {
            self.pump(LAST_TURN, 0);
            self.close_run();
        }
    }

    /// Nothing is left of it, and its last word is read: says so once. The terminal goes with the run.
    fn close_run(&mut self) {
        self.unheard = 0;
        if let Some(run) = self.run.take() {
            self.report(&Report::TreeEmpty { run: run.record.run, killed: run.outlived });
            self.send();
            // Only somebody who is there can order another.
            if self.client.is_some() {
                self.groups.make_home(run.record.run + 1);
                self.between = Some(Between::begin(run, self.next.is_made()));
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
    fn settle(&mut self) {
        let over = |between: &Between| self.run.is_some() || between.until <= sys::boot_time();
        if self.between.as_ref().is_some_and(over) {
            self.between = None;
            match &self.run {
                Some(run) => self.groups.vacate(Some(run.record.run)),
                None => self.forget_next(),
            }
        }
    }

    /// Whatever is due by the clock.
    fn on_time(&mut self) {
        let now = sys::boot_time();
        if self.accept_after.is_some_and(|at| at <= now) {
            self.accept_after = None;
        }
        if self.trim_at.is_some_and(|at| at <= now) {
            self.trim_at = None;
            trim::own_pages();
        }
        if let Some(log) = self.log.as_mut().filter(|l| l.due().is_some_and(|at| at <= now)) {
            log.flush(self.state);
        }
        if self.next.due().is_some_and(|at| at <= now) {
            self.next.make(&mut self.groups);
        }
        let Some(run) = &mut self.run else { return };
        run.close_if_quiet();
        if run.in_grace() {
            self.on_adopted_end();
        } else if run.clearing.as_ref().is_some_and(|c| c.next <= now) {
            run.pass();
            self.reap();
            self.adopted_tree_done();
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

    fn on_client(&mut self) {
        let Some(client) = &mut self.client else { return };
        client.receive();
        while let Some(client) = &mut self.client {
            match client.next_order() {
                Ok(Some(order)) => orders::obey(self, order),
                Ok(None) => break,
                Err(_) => {
                    client.cut_off();
                    break;
                }
            }
        }
    }

    fn on_connection(&mut self) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        match accept4(self.listener.as_raw_fd(), flags) {
            Ok(fd) => {
                // SAFETY: just accepted, owned by nobody else.
                let socket = unsafe { OwnedFd::from_raw_fd(fd) };
                if client::is_trusted(std::os::fd::AsFd::as_fd(&socket)).unwrap_or(false) {
                    self.welcome(socket);
                }
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::ECONNABORTED) => {}
            Err(_) => self.accept_after = Some(sys::boot_time() + ACCEPT_PAUSE),
        }
    }

    /// A newer agent replaces the one before.
    fn welcome(&mut self, socket: OwnedFd) {
        self.clients += 1;
        self.client = Some(Client::new(socket, self.clients));
    }

    fn ring_bell(&mut self) {
        if let Some(client) = &mut self.client
            && !client.ring()
        {
            client.send(&Report::Head);
        }
    }

    pub fn report(&mut self, report: &Report) {
        if let Some(client) = &mut self.client {
            client.send(report);
        }
    }

    /// Sends what is queued. An agent that hung up leaves the keeper alone with its run; without a run, and with nothing
    /// left to tell, the keeper has no reason to stay.
    fn send(&mut self) {
        let Some(client) = &mut self.client else { return };
        client.flush();
        if client.gone() {
            // What could not be sent any more was told to nobody.
            self.reported &= !client.wants_to_send();
            self.client = None;
            self.leaving = self.leaving || (self.run.is_none() && self.reported);
        }
    }

    /// Is the process of a run that an earlier keeper launched still there?
    pub fn orphan_lives(&self) -> bool {
        let lives = |r: RunRecord| sys::stat_of(r.pid).is_some_and(|s| !s.zombie && s.start_ticks == r.start_ticks);
        self.last.filter(|r| r.progress == Progress::Launched && r.pid > 1).is_some_and(lives)
    }
}
