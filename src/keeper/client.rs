//! One connection to an agent: frames in, frames out, descriptors along with them. Never blocks.
use super::protocol::{self, HEADER_BYTES, MAX_PAYLOAD, Malformed, Order, Report};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, getsockopt, recvmsg, sendmsg, sockopt},
    unistd::write,
};
use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// An agent that lets this much pile up unread is cut off; it finds everything in the state file.
const MOST_UNSENT: usize = 256 << 10;
/// One read of the socket. Most orders fit; more room would only be more pages to clear before each read, and to copy
/// first while the next run's process has them too.
const CHUNK: usize = 4 << 10;
/// Descriptors that may wait for the order they belong to.
const MOST_FDS: usize = 2;

/// Bytes for the agent, with the descriptors that go with the first of them.
#[derive(Default)]
struct Parcel {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

pub struct Client {
    socket: OwnedFd,
    /// Tells this connection from those before it.
    pub number: u64,
    inbox: Vec<u8>,
    /// How much of the inbox is dealt with.
    taken: usize,
    fds: Vec<OwnedFd>,
    outbox: VecDeque<Parcel>,
    bell: Option<OwnedFd>,
    gone: bool,
}

impl Client {
    pub fn new(socket: OwnedFd, number: u64) -> Client {
        let (inbox, outbox) = (Vec::new(), VecDeque::new());
        Client { socket, number, inbox, taken: 0, fds: Vec::new(), outbox, bell: None, gone: false }
    }

    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The other side hung up, or was cut off.
    pub fn gone(&self) -> bool {
        self.gone
    }

    pub fn cut_off(&mut self) {
        self.gone = true;
    }

    pub fn wants_to_send(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// One read of the socket; false if nothing came. More than one whole frame is never asked for.
    pub fn receive(&mut self) -> bool {
        self.inbox.drain(..self.taken);
        self.taken = 0;
        let have = self.inbox.len();
        let room = CHUNK.min((HEADER_BYTES + MAX_PAYLOAD).saturating_sub(have));
        if room == 0 {
            return false;
        }
        self.inbox.resize(have + room, 0);
        let mut ancillary = nix::cmsg_space!([i32; MOST_FDS]);
        let mut into = [IoSliceMut::new(&mut self.inbox[have..])];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let mut came = Vec::new();
        let n = recvmsg::<()>(self.socket.as_raw_fd(), &mut into, Some(&mut ancillary), flags).map(|message| {
            for item in message.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::ScmRights(raw) = item {
                    // SAFETY: just received, owned by nobody else.
                    came.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
            }
            message.bytes
        });
        self.inbox.truncate(have + n.unwrap_or(0));
        came.truncate(MOST_FDS.saturating_sub(self.fds.len()));
        self.fds.extend(came);
        match n {
            Ok(0) => self.gone = true,
            Err(e) if e != Errno::EAGAIN && e != Errno::EINTR => self.gone = true,
            _ => {}
        }
        n.is_ok_and(|n| n > 0)
    }

    /// The next whole order, if one is there. Orders of a later version are answered here.
    pub fn next_order(&mut self) -> Result<Option<Order>, Malformed> {
        loop {
            let Some((kind, payload, length)) = protocol::split(&self.inbox[self.taken..])? else {
                self.tidy_inbox();
                return Ok(None);
            };
            let order = Order::decode(kind, payload);
            self.taken += length;
            match order {
                Err(Malformed::UnknownKind(kind)) => {
                    self.send(&Report::Refused { kind, reason: "this keeper does not know the order".into() });
                }
                other => return other.map(Some),
            }
        }
    }

    /// One large frame must not cost its memory for ever.
    fn tidy_inbox(&mut self) {
        if self.taken == self.inbox.len() {
            self.inbox.clear();
            self.taken = 0;
            if self.inbox.capacity() > 2 * CHUNK {
                self.inbox = Vec::new();
            }
        }
    }

    /// The descriptors that came with the last orders.
    pub fn take_fds(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.fds)
    }

    /// From now on [`Client::ring`] uses this eventfd(2).
    pub fn hang_bell(&mut self, bell: OwnedFd) -> io::Result<()> {
        // Whatever it is, nobody is to wait for it.
        let flags = OFlag::from_bits_truncate(fcntl(&bell, FcntlArg::F_GETFL)?);
        fcntl(&bell, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        self.bell = Some(bell);
        Ok(())
    }

    /// The console has grown; false if there is no bell, so that a report has to say it.
    pub fn ring(&self) -> bool {
        self.bell.as_ref().is_some_and(|bell| write(bell, &1u64.to_ne_bytes()).is_ok())
    }

    /// Queues a report; [`Client::flush`] sends it. Several go out in one call.
    pub fn send(&mut self, report: &Report) {
        self.post(report, Vec::new());
    }

    pub fn send_with(&mut self, report: &Report, fds: Vec<OwnedFd>) {
        self.post(report, fds);
    }

    fn post(&mut self, report: &Report, fds: Vec<OwnedFd>) {
        let unsent: usize = self.outbox.iter().map(|p| p.bytes.len()).sum();
        let bytes = report.encode();
        if unsent + bytes.len() > MOST_UNSENT {
            self.gone = true;
            return;
        }
        match self.outbox.back_mut() {
            Some(last) if fds.is_empty() => last.bytes.extend_from_slice(&bytes),
            _ => self.outbox.push_back(Parcel { bytes, fds }),
        }
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self) {
        while let Some(parcel) = self.outbox.front_mut() {
            let raw: Vec<i32> = parcel.fds.iter().map(AsRawFd::as_raw_fd).collect();
            let rights = [ControlMessage::ScmRights(&raw)];
            let along = if raw.is_empty() { &[][..] } else { &rights[..] };
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(&parcel.bytes)], along, flags, None) {
                Ok(n) if n >= parcel.bytes.len() => {
                    self.outbox.pop_front();
                }
                Ok(n) => {
                    parcel.fds.clear();
                    parcel.bytes.drain(..n);
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }
}

/// May whoever is at the other end give orders here? Root and our own user may.
pub fn is_trusted(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let peer = getsockopt(&socket, sockopt::PeerCredentials)?;
    Ok(peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    fn pair() -> (UnixStream, Client) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (ours, Client::new(theirs.into(), 1))
    }

    #[test]
    fn frames_arrive_whole_however_they_are_cut() {
        let (mut agent, mut client) = pair();
        let bytes: Vec<u8> =
            [Order::GiveFds.encode(), Order::Input { seq: 3, bytes: vec![7; 100_000] }.encode()].concat();
        let mut got = Vec::new();
        for part in bytes.chunks(33_333) {
            agent.write_all(part).unwrap();
            while client.receive() {
                while let Some(order) = client.next_order().unwrap() {
                    got.push(order);
                }
            }
        }
        assert_eq!(got, [Order::GiveFds, Order::Input { seq: 3, bytes: vec![7; 100_000] }]);
        assert!(client.inbox.capacity() <= 2 * CHUNK, "the large frame's memory is given back");
        drop(agent);
        assert!(!client.receive());
        assert!(client.gone());
    }

    #[test]
    fn an_order_of_a_later_version_is_refused_and_a_broken_one_is_an_error() {
        let (mut agent, mut client) = pair();
        agent.write_all(&[60, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        client.receive();
        assert_eq!(client.next_order(), Ok(None));
        client.flush();
        let mut answer = [0u8; 128];
        let n = agent.read(&mut answer).unwrap();
        let (kind, payload, _) = protocol::split(&answer[..n]).unwrap().unwrap();
        assert!(matches!(Report::decode(kind, payload), Ok(Report::Refused { kind: 60, .. })));
        agent.write_all(&[1, 0, 0, 0, 255, 255, 255, 255]).unwrap();
        client.receive();
        assert_eq!(client.next_order(), Err(Malformed::TooLong(u32::MAX as usize)));
    }

    #[test]
    fn an_agent_that_never_reads_is_cut_off() {
        let (_agent, mut client) = pair();
        for _ in 0..100_000 {
            client.send(&Report::Head);
            client.flush();
            if client.gone() {
                return;
            }
        }
        panic!("it was served without bound");
    }

    #[test]
    fn descriptors_travel_with_their_report() {
        let (agent, mut client) = pair();
        let (reader, mut writer) = io::pipe().unwrap();
        client.send(&Report::Head);
        client.send_with(&Report::Fds { run: 4 }, vec![reader.into()]);
        client.flush();
        let mut other = Client::new(agent.into(), 2);
        other.receive();
        other.receive();
        let mut fds = other.take_fds();
        writer.write_all(b"x").unwrap();
        let mut byte = [0u8];
        std::fs::File::from(fds.remove(0)).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
}
