//! Reading with and without a ring, a disk log, a keeper; waiting without a wake-up per byte.
use super::*;
use crate::{
    host::keeper_state::tests::Writer,
    keeper::layout::{RING_BYTES, WRITE_AHEAD},
};
use std::fs;

struct Bench {
    dir: tempfile::TempDir,
    log: ConsoleLog,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("log")).unwrap();
    let log = ConsoleLog::new(dir.path(), &dir.path().join("log"));
    Bench { dir, log }
}

impl Bench {
    fn keeper(&self, epoch: u64, offset: u64) -> Writer {
        Writer::begin(&self.dir.path().join("state"), epoch, offset)
    }

    fn segment(&self, start: u64, bytes: &[u8]) {
        fs::write(self.dir.path().join(format!("log/{start:020}.log")), bytes).unwrap();
    }

    /// Everything from `from` on, as (offset, bytes) of gapless stretches.
    async fn all(&self, mut from: u64) -> Vec<(u64, Vec<u8>)> {
        let mut found: Vec<(u64, Vec<u8>)> = Vec::new();
        loop {
            let piece = self.log.read(from, 10_000).await.unwrap();
            if piece.bytes.is_empty() {
                return found;
            }
            match found.last_mut() {
                Some((start, bytes)) if *start + bytes.len() as u64 == piece.from => {
                    bytes.extend_from_slice(&piece.bytes)
                }
                _ => found.push((piece.from, piece.bytes.to_vec())),
            }
            from = piece.from + piece.bytes.len() as u64;
        }
    }
}

fn pattern(from: u64, len: usize) -> Vec<u8> {
    (from..from + len as u64).map(|o| (o % 251) as u8).collect()
}

#[tokio::test]
async fn nothing_at_all_is_an_empty_console() {
    let bench = bench();
    assert_eq!(bench.log.range(), LogRange::default());
    assert_eq!(bench.log.read(500, 10).await.unwrap(), Piece::default(), "the console ends before that");
}

#[tokio::test]
async fn without_a_keeper_the_disk_speaks_and_gaps_are_skipped() {
    let bench = bench();
    bench.segment(100, b"hello ");
    bench.segment(106, b"world");
    bench.segment(200, b"later");
    fs::write(bench.dir.path().join("log/notes.log"), "foreign").unwrap();
    assert_eq!(bench.log.range(), LogRange { epoch: Epoch(0), start: 100, end: 205 });
    assert_eq!(bench.all(0).await, [(100, b"hello world".to_vec()), (200, b"later".to_vec())]);
    assert_eq!(bench.all(103).await[0], (103, b"lo world".to_vec()));
    // A keeper that has not printed anything yet goes on where the disk ends.
    bench.keeper(5, 0);
    assert_eq!(bench.log.range(), LogRange { epoch: Epoch(5), start: 100, end: 205 });
    assert_eq!(bench.all(150).await, [(200, b"later".to_vec())]);
}

#[tokio::test]
async fn old_bytes_come_from_disk_and_fresh_ones_from_the_ring_without_a_seam() {
    let bench = bench();
    let total = RING_BYTES * 2;
    let mut keeper = bench.keeper(5, 0);
    keeper.write(&pattern(0, total));
    bench.segment(0, &pattern(0, 100_000));
    bench.segment(100_000, &pattern(100_000, total - 100_000 - 777));
    assert_eq!(bench.log.range(), LogRange { epoch: Epoch(5), start: 0, end: total as u64 });
    assert_eq!(bench.all(0).await, [(0, pattern(0, total))]);
    assert_eq!(bench.all(123_456).await, [(123_456, pattern(123_456, total - 123_456))]);
}

#[tokio::test]
async fn where_the_disk_has_nothing_the_ring_says_what_is_left() {
    let bench = bench();
    let mut keeper = bench.keeper(5, 0);
    keeper.write(&pattern(0, RING_BYTES + 1000));
    let first = (1000 + WRITE_AHEAD) as u64;
    assert_eq!(bench.log.range().start, first);
    assert_eq!(bench.all(0).await, [(first, pattern(first, RING_BYTES - WRITE_AHEAD))]);
}

#[tokio::test]
async fn the_bell_is_armed_only_while_somebody_waits() {
    let bench = bench();
    let mut keeper = bench.keeper(5, 0);
    assert!(!keeper.take_doorbell());
    let log = bench.log.clone();
    let waiting = tokio::spawn(async move { past(&log, Epoch(5), 0).await });
    let armed = async {
        while !keeper.take_doorbell() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), armed).await.unwrap();
    keeper.write(b"first");
    bench.log.ring();
    assert_eq!(waiting.await.unwrap().range.end, 5);
    assert_eq!(past(&bench.log, Epoch(5), 3).await.range.end, 5, "at once: it is there already");
    assert_eq!(past(&bench.log, Epoch(4), 99).await.range.epoch, Epoch(5), "at once: another epoch");
    keeper.take_doorbell();
    bench.log.ring();
    assert!(!keeper.take_doorbell(), "nobody watches any more");
}

/// The news once there is something for this cursor.
async fn past(log: &ConsoleLog, epoch: Epoch, offset: u64) -> News {
    let mut news = log.news();
    let more = news.wait_for(|news| news.range.epoch != epoch || news.range.end > offset);
    more.await.unwrap().clone()
}

#[tokio::test]
async fn what_is_new_is_told_with_its_bytes_and_what_was_there_without() {
    let bench = bench();
    let mut keeper = bench.keeper(5, 10);
    keeper.write(b"old");
    let mut news = bench.log.news();
    assert_eq!(news.borrow_and_update().since(10), None, "an epoch is told on its own");
    for text in [&b"one"[..], b"and two"] {
        let from = bench.log.range().end;
        keeper.write(text);
        assert!(keeper.take_doorbell(), "armed again each time");
        bench.log.ring();
        let told = news.borrow_and_update().clone();
        assert_eq!((told.range.end, told.since(from).as_deref()), (from + text.len() as u64, Some(text)));
        assert_eq!(told.since(from + 1).as_deref(), Some(&text[1..]), "for one who is ahead");
        assert_eq!((told.since(from - 1), told.since(told.range.end)), (None, None));
    }
}

#[tokio::test]
async fn a_flood_wakes_viewers_a_bounded_number_of_times() {
    const CHUNK: usize = BULK as usize + 1;
    let bench = bench();
    let mut keeper = bench.keeper(5, 0);
    let mut viewer = bench.log.news();
    let counting = tokio::spawn(async move {
        let mut wakes = 0;
        while viewer.borrow_and_update().range.end < 400 * CHUNK as u64 {
            viewer.changed().await.unwrap();
            wakes += 1;
        }
        wakes
    });
    let began = std::time::Instant::now();
    for _ in 0..400 {
        keeper.write(&[b'x'; CHUNK]);
        if keeper.take_doorbell() {
            bench.log.ring();
        }
        tokio::task::yield_now().await;
    }
    bench.log.ring();
    let wakes = tokio::time::timeout(Duration::from_secs(60), counting).await.unwrap().unwrap();
    let most = 2 + began.elapsed().as_millis() / COALESCE.as_millis();
    assert!(wakes <= most, "{wakes} wake-ups, at most {most}");
}

#[tokio::test]
async fn a_file_begun_anew_or_in_another_place_is_seen() {
    let bench = bench();
    bench.keeper(5, 0).write(b"old");
    assert_eq!(bench.all(0).await, [(0, b"old".to_vec())]);
    bench.keeper(6, 10).write(b"new");
    assert_eq!(bench.log.range(), LogRange { epoch: Epoch(6), start: 10, end: 13 });
    fs::remove_file(bench.dir.path().join("state")).unwrap();
    bench.keeper(7, 20).write(b"newer");
    bench.log.reopen();
    assert_eq!(bench.all(0).await, [(20, b"newer".to_vec())]);
}
