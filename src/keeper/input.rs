//! Bytes on their way into the terminal: bounded, written as far as the program takes them, answered when all are in.
use super::terminal::Terminal;
use std::collections::VecDeque;

/// Most bytes that wait for a program that does not read.
pub const MOST_PENDING: usize = 1 << 20;
/// Most orders that wait, however small.
const MOST_WAITING: usize = 4096;

struct Waiting {
    client: u64,
    seq: u64,
    bytes: Vec<u8>,
    written: usize,
}

/// An order that is done: who gave it, its number, how many bytes the terminal took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub client: u64,
    pub seq: u64,
    pub accepted: u64,
}

impl From<&Waiting> for Taken {
    fn from(w: &Waiting) -> Taken {
        Taken { client: w.client, seq: w.seq, accepted: w.written as u64 }
    }
}

#[derive(Default)]
pub struct Input {
    waiting: VecDeque<Waiting>,
    pending: usize,
}

impl Input {
    /// False if too much is waiting already; then nothing of it is taken.
    pub fn offer(&mut self, client: u64, seq: u64, bytes: Vec<u8>) -> bool {
        if self.pending + bytes.len() > MOST_PENDING || self.waiting.len() >= MOST_WAITING {
            return false;
        }
        self.pending += bytes.len();
        self.waiting.push_back(Waiting { client, seq, bytes, written: 0 });
        true
    }

    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Writes until the terminal takes no more; orders that are done go to `done`.
    pub fn advance(&mut self, terminal: &Terminal, mut done: impl FnMut(Taken)) {
        while let Some(first) = self.waiting.front_mut() {
            let left = &first.bytes[first.written..];
            let n = if left.is_empty() { 0 } else { terminal.write(left).unwrap_or(0) };
            first.written += n;
            self.pending -= n;
            if first.written < first.bytes.len() {
                if n == 0 {
                    return;
                }
                continue;
            }
            done(Taken::from(&*first));
            self.waiting.pop_front();
        }
    }

    /// The run has ended: what was not written never will be.
    pub fn abandon(&mut self, done: impl FnMut(Taken)) {
        self.pending = 0;
        std::mem::take(&mut self.waiting).iter().map(Taken::from).for_each(done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn it_is_bounded_and_every_byte_arrives_once() {
        let terminal = Terminal::open().unwrap();
        terminal.set_mode(true).unwrap();
        let mut input = Input::default();
        assert!(input.offer(1, 1, vec![b'a'; 300_000]));
        assert!(input.offer(1, 2, vec![b'b'; 700_000]));
        assert!(!input.offer(1, 3, vec![b'c'; 100_000]), "over the limit");
        let mut slave = std::fs::File::from(terminal.slave().try_clone_to_owned().unwrap());
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; 1_000_000];
            slave.read_exact(&mut got).unwrap();
            got
        });
        let mut taken = Vec::new();
        while input.is_waiting() {
            input.advance(&terminal, |t| taken.push((t.seq, t.accepted)));
            std::thread::yield_now();
        }
        assert_eq!(taken, [(1, 300_000), (2, 700_000)]);
        assert_eq!(reader.join().unwrap(), [vec![b'a'; 300_000], vec![b'b'; 700_000]].concat());
    }

    #[test]
    fn the_end_answers_what_is_left() {
        let terminal = Terminal::open().unwrap();
        terminal.set_mode(true).unwrap();
        let mut input = Input::default();
        assert!(input.offer(7, 1, vec![b'a'; 500_000]));
        input.advance(&terminal, |_| panic!("nobody reads, so it cannot be done"));
        let mut taken = Vec::new();
        input.abandon(|t| taken.push(t));
        assert_eq!(taken.len(), 1);
        assert!(taken[0].accepted > 0 && taken[0].accepted < 500_000);
        assert!(input.offer(7, 2, vec![b'a'; MOST_PENDING]), "the room is free again");
    }
}
