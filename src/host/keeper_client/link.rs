//! One connection to one keeper: orders out without waiting, reports in one at a time.
use crate::{
    host::{keeping::KeepingError, process::PidFd},
    keeper::protocol::{self, Order, Report},
};
use nix::{
    errno::Errno,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};
use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
    time::timeout,
};

/// Orders that a keeper has not taken yet; more than this and it counts as hung.
const MOST_UNSENT: usize = 4 << 20;
/// One read of the socket. Reports are short.
const CHUNK: usize = 4 << 10;
/// Reports that may come before the introduction.
const MOST_EARLY: usize = 64;
/// A keeper answers within microseconds; a machine that swaps, within seconds.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// The sending side. Dropping the last one closes the connection.
pub(super) struct Link {
    socket: AsyncFd<OwnedFd>,
    /// Which build the keeper is of.
    pub build: String,
    /// To see it end, and to reap it if it is our child.
    pub keeper: Option<PidFd>,
    unsent: Mutex<VecDeque<u8>>,
    more: Notify,
}

impl Link {
    /// Sends at once what the socket takes; the rest follows in order. Never blocks.
    pub(super) fn send(&self, order: &Order) -> Result<(), KeepingError> {
        self.send_with(order, &[])
    }

    /// Descriptors go along with the first byte, so they can only be sent while nothing waits.
    pub(super) fn send_with(&self, order: &Order, fds: &[RawFd]) -> Result<(), KeepingError> {
        let frame = order.encode();
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        if unsent.len() + frame.len() > MOST_UNSENT {
            return Err(KeepingError::Link("it does not read its orders".into()));
        }
        if !unsent.is_empty() && !fds.is_empty() {
            return Err(KeepingError::Link("it is behind with its orders".into()));
        }
        let sent = if unsent.is_empty() { write(self.socket.as_raw_fd(), &frame, fds)? } else { 0 };
        if sent < frame.len() {
            unsent.extend(&frame[sent..]);
            self.more.notify_one();
        }
        Ok(())
    }

    /// Sends what did not go out at once, for as long as the connection lives.
    pub(super) async fn flush_forever(self: Arc<Self>) {
        loop {
            self.more.notified().await;
            while !self.unsent.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                let Ok(mut ready) = self.socket.writable().await else { return };
                if let Ok(Err(_)) = ready.try_io(|socket| self.flush(socket.as_raw_fd())) {
                    return;
                }
            }
        }
    }

    fn flush(&self, socket: RawFd) -> io::Result<()> {
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        match sendmsg::<()>(socket, &[IoSlice::new(unsent.make_contiguous())], &[], FLAGS, None) {
            Ok(n) => {
                unsent.drain(..n);
                Ok(())
            }
            Err(e) => Err(e.into()),
        }
    }
}

const FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

fn write(socket: RawFd, frame: &[u8], fds: &[RawFd]) -> Result<usize, KeepingError> {
    let rights = [ControlMessage::ScmRights(fds)];
    let along = if fds.is_empty() { &[][..] } else { &rights[..] };
    match sendmsg::<()>(socket, &[IoSlice::new(frame)], along, FLAGS, None) {
        Ok(n) => Ok(n),
        Err(Errno::EAGAIN) if fds.is_empty() => Ok(0),
        Err(e) => Err(KeepingError::Link(e.to_string())),
    }
}

/// The receiving side; owned by the one task that reads.
pub(super) struct Reports {
    link: Arc<Link>,
    bytes: Vec<u8>,
    taken: usize,
    fds: VecDeque<OwnedFd>,
    /// What the keeper said before it introduced itself.
    early: VecDeque<Report>,
}

/// What a keeper says when asked who it is.
pub(super) struct Introduction {
    pub pid: i32,
    pub record: Vec<u8>,
}

/// Both sides of a connection, and who is at the other end.
pub(super) type Opened = (Arc<Link>, Reports, Introduction);

impl Reports {
    /// Says hello on a fresh connection and waits for the answer.
    pub(super) async fn open(socket: OwnedFd, keeper: Option<PidFd>, our_build: &str) -> Result<Opened, KeepingError> {
        let link = Link {
            // SAFETY: the AsyncFd owns the only handle to this socket, and nobody closes it before.
            socket: unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE) }
                .map_err(|e| KeepingError::Link(e.to_string()))?,
            build: String::new(),
            keeper,
            unsent: Mutex::default(),
            more: Notify::new(),
        };
        link.send(&Order::Hello { version: protocol::VERSION, build: our_build.to_owned() })?;
        let mut reports =
            Reports { link: Arc::new(link), bytes: Vec::new(), taken: 0, fds: VecDeque::new(), early: VecDeque::new() };
        match timeout(HELLO_TIMEOUT, reports.introduction()).await {
            Ok(Ok((build, who))) => Ok(reports.introduced(build, who)),
            Ok(Err(e)) => Err(KeepingError::Link(e.to_string())),
            Err(_) => Err(KeepingError::Link(format!("no word within {} s", HELLO_TIMEOUT.as_secs()))),
        }
    }

    /// A busy console may get a word in first.
    async fn introduction(&mut self) -> io::Result<(String, Introduction)> {
        let mut early = VecDeque::new();
        loop {
            match self.next().await? {
                Some(Report::Hello { build, pid, record, .. }) => {
                    self.early = early;
                    return Ok((build, Introduction { pid, record }));
                }
                Some(_) if early.len() >= MOST_EARLY => return Err(io::Error::other("it did not introduce itself")),
                Some(report) => early.push_back(report),
                None => return Err(io::Error::other("it hung up")),
            }
        }
    }

    fn introduced(mut self, build: String, who: Introduction) -> Opened {
        // Nobody else holds it yet.
        if let Some(link) = Arc::get_mut(&mut self.link) {
            link.build = build;
        }
        (self.link.clone(), self, who)
    }

    /// The next report; `None` once the keeper has hung up. Reports of a later version are passed over.
    pub(super) async fn next(&mut self) -> io::Result<Option<Report>> {
        if let Some(report) = self.early.pop_front() {
            return Ok(Some(report));
        }
        loop {
            match self.split() {
                Ok(Some(report)) => return Ok(Some(report)),
                Ok(None) => {}
                Err(protocol::Malformed::UnknownKind(_)) => continue,
                Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e)),
            }
            if self.receive().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Descriptors that came with the reports so far.
    pub(super) fn take_fds(&mut self) -> VecDeque<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    fn split(&mut self) -> Result<Option<Report>, protocol::Malformed> {
        let Some((kind, payload, length)) = protocol::split(&self.bytes[self.taken..])? else { return Ok(None) };
        let report = Report::decode(kind, payload);
        self.taken += length;
        report.map(Some)
    }

    async fn receive(&mut self) -> io::Result<usize> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let link = self.link.clone();
        loop {
            let mut ready = link.socket.readable().await?;
            let fds = self.fds.len();
            match ready.try_io(|socket| self.receive_now(socket.as_raw_fd())) {
                Ok(received) => {
                    // Less than there was room for is all there was, unless descriptors ended the read (unix(7)).
                    if received.as_ref().is_ok_and(|n| *n < CHUNK) && self.fds.len() == fds {
                        ready.clear_ready();
                    }
                    return received;
                }
                Err(_would_block) => {}
            }
        }
    }

    fn receive_now(&mut self, socket: RawFd) -> io::Result<usize> {
        let have = self.bytes.len();
        self.bytes.resize(have + CHUNK, 0);
        let mut into = [IoSliceMut::new(&mut self.bytes[have..])];
        let mut ancillary = nix::cmsg_space!([RawFd; 2]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let received = recvmsg::<()>(socket, &mut into, Some(&mut ancillary), flags).map(|message| {
            for item in message.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::ScmRights(fds) = item {
                    // SAFETY: just received, owned by nobody else.
                    self.fds.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
            }
            message.bytes
        });
        self.bytes.truncate(have + received.unwrap_or(0));
        match received {
            Ok(n) => Ok(n),
            // Hung up with our orders unread.
            Err(Errno::ECONNRESET) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::protocol::Scope;
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    async fn connected() -> (UnixStream, Arc<Link>, Reports) {
        let (mut keeper, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let hello = Report::Hello { version: 1, build: "b".into(), pid: 5, record: vec![1] };
        keeper.write_all(&[Report::Head.encode(), hello.encode()].concat()).unwrap();
        let (link, mut reports, who) = Reports::open(ours.into(), None, "a").await.unwrap();
        assert_eq!(reports.next().await.unwrap(), Some(Report::Head), "said before the hello, not lost");
        assert_eq!((link.build.as_str(), who.pid, who.record), ("b", 5, vec![1]));
        (keeper, link, reports)
    }

    #[tokio::test]
    async fn reports_arrive_whole_however_they_are_cut() {
        let (mut keeper, _link, mut reports) = connected().await;
        let later = [99u8, 0, 0, 0, 0, 0, 0, 0];
        let sent = [Report::Head, Report::TreeEmpty { run: 3, killed: 1 }];
        let bytes = [sent[0].encode(), later.to_vec(), sent[1].encode()].concat();
        let writer = std::thread::spawn(move || {
            for byte in bytes {
                keeper.write_all(&[byte]).unwrap();
                std::thread::yield_now();
            }
        });
        assert_eq!(reports.next().await.unwrap(), Some(sent[0].clone()));
        assert_eq!(reports.next().await.unwrap(), Some(sent[1].clone()), "what a later version says is passed over");
        writer.join().unwrap();
        assert_eq!(reports.next().await.unwrap(), None, "hung up");
    }

    #[tokio::test]
    async fn more_than_the_socket_takes_follows_in_order_and_has_an_end() {
        let (mut keeper, link, _reports) = connected().await;
        tokio::spawn(link.clone().flush_forever());
        let input = |seq| Order::Input { seq, bytes: vec![seq as u8; 100_000] };
        for seq in 0..30 {
            link.send(&input(seq)).unwrap();
        }
        link.send(&Order::Signal { run: 1, signal: 15, scope: Scope::Leader }).unwrap();
        assert!(link.send_with(&Order::GiveFds, &[0]).is_err(), "descriptors cannot overtake");
        let refused = (30..100).find_map(|seq| link.send(&input(seq)).err().map(|e| (seq, e)));
        let (end, error) = refused.unwrap();
        assert!(error.to_string().contains("does not read"), "{error}");
        let hello = Order::Hello { version: 1, build: "a".into() }.encode();
        let mut want = hello;
        (0..30).for_each(|seq| want.extend(input(seq).encode()));
        want.extend(Order::Signal { run: 1, signal: 15, scope: Scope::Leader }.encode());
        (30..end).for_each(|seq| want.extend(input(seq).encode()));
        let mut got = vec![0; want.len()];
        let got =
            tokio::task::spawn_blocking(move || keeper.read_exact(&mut got).map(|()| got)).await.unwrap().unwrap();
        assert!(got == want);
    }

    #[tokio::test]
    async fn garbage_ends_the_connection() {
        let (mut keeper, _link, mut reports) = connected().await;
        keeper.write_all(&[1, 0, 0, 0, 255, 255, 255, 255]).unwrap();
        assert_eq!(reports.next().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
