//! The keeper's loop: terminal, children, agent, in this order; asleep whenever none of them has something to say.
mod ending;

use super::{
    ahead::Next,
    between::Between,
    cgroups::Groups,
    client::{self, Client},
    layout::RunRecord,
    orders,
    protocol::Report,
    run::Run,
    segments::Segments,
    state_file::StateFile,
    sys,
    terminal::{self, Drained},
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

    /// A newer agent replaces the one before, whose permits are its own affair no longer.
    fn welcome(&mut self, socket: OwnedFd) {
        self.state.void_permit();
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
            self.state.void_permit();
            self.leaving = self.leaving || (self.run.is_none() && self.reported);
        }
    }
}
