//! The console ring: the terminal is read straight into it, the disk log and the agent read from it.
use super::{
    layout::{RING_BYTES, WRITE_AHEAD},
    state_file::StateFile,
};
use std::{
    io::IoSlice,
    os::fd::{AsRawFd, BorrowedFd},
};

/// What one read of the terminal gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    Bytes(usize),
    /// Nothing there at the moment.
    Dry,
    /// No one has the other side open any more.
    Closed,
}

/// The most that one [`fill`] can give now.
pub fn room(state: StateFile) -> usize {
    WRITE_AHEAD.min(RING_BYTES - place(state.head()))
}

fn place(offset: u64) -> usize {
    (offset % RING_BYTES as u64) as usize
}

/// One `read(2)` into the ring at its head, published before it returns.
pub fn fill(state: StateFile, from: BorrowedFd<'_>) -> Filled {
    let head = state.head();
    let (at, room) = (place(head), room(state));
    // SAFETY: `at + room` is inside the ring.
    let n = unsafe { libc::read(from.as_raw_fd(), state.ring().add(at).as_ptr().cast(), room) };
    match n {
        1.. => {
            state.advance_head(head + n as u64);
            Filled::Bytes(n as usize)
        }
        0 => Filled::Closed,
        _ => match super::sys::last_errno() {
            libc::EAGAIN | libc::EINTR => Filled::Dry,
            _ => Filled::Closed,
        },
    }
}

/// Oldest offset the ring still holds.
pub fn oldest(state: StateFile) -> u64 {
    state.head().saturating_sub(RING_BYTES as u64).max(state.ring_start())
}

/// The bytes `from..to`, in at most two pieces. Both must lie between [`oldest`] and the head.
pub fn pieces(state: &StateFile, from: u64, to: u64) -> [IoSlice<'_>; 2] {
    let len = to.saturating_sub(from).min(RING_BYTES as u64) as usize;
    let at = place(from);
    let first = len.min(RING_BYTES - at);
    // SAFETY: inside the ring. Only this thread writes to it, and not while these slices are in use.
    unsafe {
        let ring = state.ring();
        [
            IoSlice::new(std::slice::from_raw_parts(ring.add(at).as_ptr(), first)),
            IoSlice::new(std::slice::from_raw_parts(ring.as_ptr(), len - first)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, os::fd::AsFd};

    #[test]
    fn bytes_come_back_across_the_seam() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateFile::open(&dir.path().join("state")).unwrap();
        state.begin_at(RING_BYTES as u64 * 3 - 5);
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"0123456789").unwrap();
        assert_eq!(fill(state, reader.as_fd()), Filled::Bytes(5), "up to the seam");
        assert_eq!(fill(state, reader.as_fd()), Filled::Bytes(5));
        let head = state.head();
        let [a, b] = pieces(&state, head - 10, head);
        assert_eq!((&*a, &*b), (&b"01234"[..], &b"56789"[..]));
        assert_eq!(oldest(state), RING_BYTES as u64 * 3 - 5, "what was never written is not there");
        drop(writer);
        assert_eq!(fill(state, reader.as_fd()), Filled::Closed);
    }
}
