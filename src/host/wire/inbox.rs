//! What a connection has received and nobody has read yet.
use bytes::{Bytes, BytesMut};
use memchr::memmem;
use std::{
    cell::Cell,
    io,
    pin::pin,
    task::{Context, Poll, ready},
};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// First room for what is read; what fills it gets twice as much, up to [`MOST_ROOM`].
const ROOM: usize = 8 << 10;
/// With less than this left, room is made.
const LEAST_ROOM: usize = 2 << 10;
const MOST_ROOM: usize = 256 << 10;
const END: &[u8] = b"\r\n\r\n";

thread_local! {
    /// The buffer of the connection that was the last one to wait, for the next one that receives.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// Received, and not yet given on. Who waits with nothing received owns no buffer.
pub struct Inbox {
    pub bytes: BytesMut,
    /// So much of it holds no end of a head.
    searched: usize,
    room: usize,
}

/// More has come than a head may have, and no end of it.
#[derive(Debug)]
pub struct TooLong;

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox { bytes: BytesMut::new(), searched: 0, room: ROOM }
    }
}

impl Inbox {
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes a whole head out of what was received, with the empty line that ends it.
    pub fn split_head(&mut self, most: usize) -> Result<Option<Bytes>, TooLong> {
        let from = self.searched.saturating_sub(END.len() - 1);
        match memmem::find(&self.bytes[from..], END) {
            Some(at) => {
                self.searched = 0;
                Ok(Some(self.bytes.split_to(from + at + END.len()).freeze()))
            }
            None if self.bytes.len() > most => Err(TooLong),
            None => {
                self.searched = self.bytes.len();
                Ok(None)
            }
        }
    }

    /// Bytes received; 0 at the end. `wanted`: how much room makes sense, of at most so much.
    pub fn poll_receive(
        &mut self,
        stream: &mut TcpStream,
        wanted: impl FnOnce(usize) -> usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let readable = stream.poll_read_ready(cx)?;
        if readable.is_pending() {
            if self.bytes.is_empty() && self.bytes.capacity() > 0 {
                SPARE.set(std::mem::take(&mut self.bytes));
            }
            return Poll::Pending;
        }
        let room = self.make_room(wanted(self.room));
        let received = ready!(pin!(stream.read_buf(&mut self.bytes)).poll(cx))?;
        if received == room {
            self.room = (self.room * 2).min(MOST_ROOM);
        }
        Poll::Ready(Ok(received))
    }

    /// How many bytes can be received at once.
    fn make_room(&mut self, wanted: usize) -> usize {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.take();
        }
        if self.bytes.capacity() - self.bytes.len() < wanted.min(LEAST_ROOM) || wanted > ROOM {
            self.bytes.reserve(wanted);
        }
        self.bytes.capacity() - self.bytes.len()
    }
}
