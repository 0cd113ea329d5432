//! Sleeps until one of a few descriptors has something to say.
//!
//! epoll(7) and not poll(2): between two lines of output poll asks each of them anew, and asking a terminal waits for the
//! kernel's worker that has just fed it. The terminal is watched for edges; whoever reads less than there is has to
//! remember it ([`super::serve`]).
use super::sys;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::{os::fd::BorrowedFd, time::Duration};

/// How many there are at most.
pub const SLOTS: usize = 5;
/// Edges, not levels.
pub const EDGES: i32 = libc::EPOLLET;

/// What is waited for in one slot; poll's and epoll's numbers for events are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Negative: nothing.
    pub fd: i32,
    pub events: i32,
    /// Tells what has this descriptor from whatever had the same number before it.
    pub owner: u64,
}

impl Interest {
    pub const NONE: Interest = Interest { fd: -1, events: 0, owner: 0 };

    fn place(&self) -> (i32, u64) {
        (self.fd, self.owner)
    }
}

/// Events by slot; 0: none.
pub type Events = [i32; SLOTS];

pub struct Watch {
    epoll: Option<Epoll>,
    known: [Interest; SLOTS],
}

impl Watch {
    pub fn new() -> Watch {
        Watch { epoll: None, known: [Interest::NONE; SLOTS] }
    }

    /// An interrupted call counts as "nothing yet".
    pub fn wait(&mut self, wanted: [Interest; SLOTS], timeout: Option<Duration>) -> Events {
        if self.epoll.is_none() || self.known != wanted {
            self.learn(wanted);
        }
        match &self.epoll {
            Some(epoll) => by_epoll(epoll, timeout),
            // No descriptor is left for one: more work for each line, but nothing is missed.
            None => by_poll(&wanted, timeout),
        }
    }

    /// What goes is removed before anything comes, since the number may be the same. A descriptor that somebody else holds
    /// too stays watched after we have closed it: what can no longer be removed, and whatever changes its owner, means to
    /// begin anew.
    fn learn(&mut self, wanted: [Interest; SLOTS]) {
        let changed = |goes: bool| {
            let pairs = self.known.iter().zip(&wanted).enumerate();
            pairs.filter(move |(_, (old, new))| old != new && (new.fd < 0) == goes)
        };
        let in_place = |epoll| changed(true).chain(changed(false)).all(|(i, (old, new))| change(epoll, i, old, new));
        if !self.epoll.as_ref().is_some_and(in_place) {
            self.epoll = begin(&wanted);
        }
        self.known = wanted;
    }
}

/// False if it takes more than one step, or is refused.
fn change(epoll: &Epoll, slot: usize, old: &Interest, new: &Interest) -> bool {
    let done = match (old.fd >= 0, new.fd >= 0) {
        (true, false) => with(old, slot, |fd, _| epoll.delete(fd)),
        (false, true) => with(new, slot, |fd, event| epoll.add(fd, *event)),
        _ if old.place() == new.place() => with(new, slot, |fd, event| epoll.modify(fd, event)),
        _ => return false,
    };
    done.is_ok()
}

fn begin(wanted: &[Interest; SLOTS]) -> Option<Epoll> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).ok()?;
    let present = wanted.iter().enumerate().filter(|(_, interest)| interest.fd >= 0);
    for (slot, interest) in present {
        with(interest, slot, |fd, event| epoll.add(fd, *event)).ok()?;
    }
    Some(epoll)
}

fn with<T>(interest: &Interest, slot: usize, act: impl FnOnce(BorrowedFd<'_>, &mut EpollEvent) -> T) -> T {
    let mut event = EpollEvent::new(EpollFlags::from_bits_truncate(interest.events), slot as u64);
    // SAFETY: for one system call, which refuses a number that was closed, or is another's by now.
    act(unsafe { BorrowedFd::borrow_raw(interest.fd) }, &mut event)
}

fn by_epoll(epoll: &Epoll, timeout: Option<Duration>) -> Events {
    let mut ready = [EpollEvent::empty(); SLOTS];
    // Rounded up: a wake-up before its time would be one for nothing.
    let millis = |left: Duration| left.as_micros().div_ceil(1000);
    let timeout =
        timeout.map_or(EpollTimeout::NONE, |left| EpollTimeout::try_from(millis(left)).unwrap_or(EpollTimeout::MAX));
    let count = epoll.wait(&mut ready, timeout).unwrap_or(0);
    let mut events = [0; SLOTS];
    for event in &ready[..count] {
        events[event.data() as usize] = event.events().bits();
    }
    events
}

fn by_poll(wanted: &[Interest; SLOTS], timeout: Option<Duration>) -> Events {
    let levels = (libc::POLLIN | libc::POLLOUT) as i32;
    let mut fds = wanted.map(|i| libc::pollfd { fd: i.fd, events: (i.events & levels) as i16, revents: 0 });
    sys::poll(&mut fds, timeout);
    fds.map(|fd| fd.revents.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        os::fd::{AsRawFd, OwnedFd},
    };

    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn slots(first: Interest) -> [Interest; SLOTS] {
        [first, Interest::NONE, Interest::NONE, Interest::NONE, Interest::NONE]
    }

    #[test]
    fn both_ways_say_the_same_and_edges_are_said_once() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let level = Interest { fd: reader.as_raw_fd(), events: libc::EPOLLIN, owner: 1 };
        let mut watch = Watch::new();
        assert_eq!(watch.wait(slots(level), NOW), [0; SLOTS]);
        writer.write_all(b"x").unwrap();
        for _ in 0..2 {
            assert_eq!(watch.wait(slots(level), NOW)[0], libc::EPOLLIN);
            assert_eq!(by_poll(&slots(level), NOW)[0], libc::EPOLLIN);
        }
        let edge = Interest { events: libc::EPOLLIN | EDGES, ..level };
        assert_eq!(watch.wait(slots(edge), NOW)[0], libc::EPOLLIN, "it is looked at when the interest changes");
        assert_eq!(watch.wait(slots(edge), NOW)[0], 0);
        writer.write_all(b"x").unwrap();
        assert_eq!(watch.wait(slots(edge), NOW)[0], libc::EPOLLIN, "more came, although none was read");
    }

    #[test]
    fn what_goes_and_comes_again_is_watched_in_place() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (quiet, _open) = std::io::pipe().unwrap();
        let here = Interest { fd: reader.as_raw_fd(), events: libc::EPOLLIN | EDGES, owner: 1 };
        let there = Interest { fd: quiet.as_raw_fd(), events: libc::EPOLLIN, owner: 1 };
        let with = |first| [first, there, Interest::NONE, Interest::NONE, Interest::NONE];
        let mut watch = Watch::new();
        watch.wait(with(here), NOW);
        let before = watch.epoll.as_ref().unwrap().0.as_raw_fd();
        writer.write_all(b"x").unwrap();
        assert_eq!(watch.wait(with(Interest::NONE), NOW), [0; SLOTS], "nobody asks for it now");
        let next = Interest { owner: 2, ..here };
        assert_eq!(watch.wait(with(next), NOW)[0], libc::EPOLLIN, "what came meanwhile is news to its next owner");
        assert_eq!(watch.epoll.as_ref().unwrap().0.as_raw_fd(), before);
        // The number changes hands and place in one step.
        let moved = [Interest::NONE, Interest { owner: 3, ..next }, there, Interest::NONE, Interest::NONE];
        assert_eq!(watch.wait(moved, NOW)[1], libc::EPOLLIN);
    }

    #[test]
    fn what_another_still_holds_is_forgotten_with_its_owner() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (quiet, _open) = std::io::pipe().unwrap();
        let spare: OwnedFd = reader.try_clone().unwrap().into();
        let mut reader: OwnedFd = reader.into();
        let number = reader.as_raw_fd();
        let mut watch = Watch::new();
        watch.wait(slots(Interest { fd: number, events: libc::EPOLLIN, owner: 1 }), NOW);
        // In one step: the number is another's at once, and nobody else in this process can be given it.
        nix::unistd::dup2(&quiet, &mut reader).unwrap();
        writer.write_all(b"x").unwrap();
        let next = Interest { fd: number, events: libc::EPOLLIN, owner: 2 };
        assert_eq!(watch.wait(slots(next), NOW), [0; SLOTS]);
        drop(spare);
    }
}
