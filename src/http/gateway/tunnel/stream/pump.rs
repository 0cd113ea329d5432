//! Two byte streams joined after their handshake. What flows is nobody's business here: any WebSocket extension passes.
//!
//! A direction borrows its buffer from the stack of the thread that runs it, and only while bytes move: an idle
//! connection owns none. What the other side does not take at once is kept, at most one buffer of it, and nothing more is
//! read until it is gone: a slow reader slows its sender. A side that ends its sending ends the other's receiving, and
//! the other direction goes on until it ends as well.
use std::{
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const CHUNK: usize = 8 << 10;

/// Joins two streams until both directions ended, or one broke. `first`: what was already read from `a` and from `b`.
pub async fn join<A, B>(a: A, b: B, first: (Vec<u8>, Vec<u8>)) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut there, mut back) = (Flow::starting_with(first.0), Flow::starting_with(first.1));
    std::future::poll_fn(|cx| {
        let one = there.poll(cx, a.as_mut(), b.as_mut())?;
        let other = back.poll(cx, b.as_mut(), a.as_mut())?;
        if one.is_ready() && other.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// One direction.
struct Flow {
    /// Read but not yet written, from `sent` on.
    held: Vec<u8>,
    sent: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The source has ended; the sink is to be told.
    Ending,
    Ended,
}

impl Flow {
    fn starting_with(held: Vec<u8>) -> Flow {
        Flow { held, sent: 0, stage: Stage::Open }
    }

    fn poll<R, W>(&mut self, cx: &mut Context<'_>, mut from: Pin<&mut R>, mut to: Pin<&mut W>) -> Poll<io::Result<()>>
    where
        R: AsyncRead,
        W: AsyncWrite,
    {
        let mut space = [MaybeUninit::<u8>::uninit(); CHUNK];
        while self.stage == Stage::Open {
            ready!(self.poll_drain(cx, to.as_mut()))?;
            let mut chunk = ReadBuf::uninit(&mut space);
            if from.as_mut().poll_read(cx, &mut chunk)?.is_pending() {
                ready!(to.poll_flush(cx))?;
                return Poll::Pending;
            }
            match chunk.filled() {
                [] => self.stage = Stage::Ending,
                bytes => self.poll_pass(cx, to.as_mut(), bytes)?,
            }
        }
        if self.stage == Stage::Ending {
            ready!(to.poll_shutdown(cx))?;
            self.stage = Stage::Ended;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what the sink takes now, and keeps the rest.
    fn poll_pass<W: AsyncWrite>(&mut self, cx: &mut Context<'_>, to: Pin<&mut W>, bytes: &[u8]) -> io::Result<()> {
        let written = match to.poll_write(cx, bytes)? {
            Poll::Ready(n) => n,
            Poll::Pending => 0,
        };
        self.held.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    fn poll_drain<W: AsyncWrite>(&mut self, cx: &mut Context<'_>, mut to: Pin<&mut W>) -> Poll<io::Result<()>> {
        while self.sent < self.held.len() {
            match ready!(to.as_mut().poll_write(cx, &self.held[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.sent += n,
            }
        }
        (self.held, self.sent) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    /// What one side and the other hold, and the running pump between them.
    fn joined(capacity: usize) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
        let ((left, a), (b, right)) = (duplex(capacity), duplex(capacity));
        (left, right, tokio::spawn(join(a, b, (b"before-".to_vec(), Vec::new()))))
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_whatever_their_sizes() {
        let (left, right, pump) = joined(100);
        let (mut left_in, mut left_out) = tokio::io::split(left);
        let (mut right_in, mut right_out) = tokio::io::split(right);
        let there: Vec<u8> = (0..100_003u32).flat_map(u32::to_le_bytes).collect();
        let back: Vec<u8> = there.iter().rev().copied().collect();
        let sent = (there.clone(), back.clone());
        tokio::spawn(async move {
            left_out.write_all(&sent.0).await.unwrap();
            left_out.shutdown().await.unwrap();
        });
        tokio::spawn(async move {
            right_out.write_all(&sent.1).await.unwrap();
            right_out.shutdown().await.unwrap();
        });
        let (mut arrived, mut returned) = (Vec::new(), Vec::new());
        let (a, b) = tokio::join!(right_in.read_to_end(&mut arrived), left_in.read_to_end(&mut returned));
        assert_eq!((a.unwrap(), b.unwrap()), (arrived.len(), returned.len()));
        assert!(arrived.starts_with(b"before-") && arrived[7..] == there && returned == back);
        pump.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_side_that_ends_its_sending_still_hears() {
        let (mut left, mut right, pump) = joined(1024);
        left.shutdown().await.unwrap();
        let mut heard = Vec::new();
        right.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"before-");
        right.write_all(b"late words").await.unwrap();
        drop(right);
        heard.clear();
        left.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"late words");
        pump.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_slow_reader_holds_up_its_sender_at_one_buffer() {
        let (mut left, _right, pump) = joined(1024);
        let mut sent = 0;
        while tokio::time::timeout(std::time::Duration::from_millis(50), left.write_all(&[0; 64])).await.is_ok() {
            sent += 64;
        }
        assert!(sent <= 1024 + CHUNK + 1024, "{sent} bytes left their sender");
        pump.abort();
    }
}
