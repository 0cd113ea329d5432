//! Edits as a life of a catalog, and that an edit refused changes nothing.
use super::*;
use crate::policy::publish::book::Document;
use proptest::prelude::*;

fn now(n: i64) -> WallTime {
    WallTime(n)
}

fn release(version: &str, content: u8) -> Release {
    let path = Target::Agent.place(version, "");
    Release { sha256: Some(Digest([content; 32])), path, size: Some(1), ..Release::bare(version) }
}

fn node() -> Target {
    Target::Runtime("node".into())
}

fn serial(book: &Book) -> Option<u64> {
    match book {
        Book::Dev(book) => book.stamp.serial,
        Book::Games(book) => book.stamp.serial,
        Book::Agents(book) => book.stamp.serial,
    }
}

#[test]
fn a_version_is_added_once_and_never_replaced() {
    let mut book = Book::empty(Document::Dev);
    assert_eq!(add(&mut book, &node(), release("22.11.0", 1), now(5)), Ok(Change::Added));
    assert_eq!(add(&mut book, &node(), release("22.9.0", 2), now(6)), Ok(Change::Added));
    let before = book.clone();
    assert_eq!(add(&mut book, &node(), release("22.11.0", 1), now(7)), Ok(Change::Unchanged));
    assert!(matches!(add(&mut book, &node(), release("22.11.0", 3), now(7)), Err(Refused::OtherContent { .. })));
    assert!(matches!(add(&mut book, &node(), release("../x", 3), now(7)), Err(Refused::BadName(_))));
    assert!(matches!(add(&mut book, &Target::GameJava, release("21", 3), now(7)), Err(Refused::WrongBook(_))));
    assert_eq!(book, before);
    let versions: Vec<_> = book.product(&node()).unwrap().versions.iter().map(|r| r.version.as_str()).collect();
    assert_eq!((versions, serial(&book)), (vec!["22.9.0", "22.11.0"], Some(2)));
}

#[test]
fn a_bare_version_learns_its_hash() {
    let (mut book, _) = Book::read(Document::Dev, br#"{"runtimes":[{"id":"node","versions":["22"]}]}"#).unwrap();
    assert_eq!(add(&mut book, &node(), release("22", 1), now(1)), Ok(Change::Added));
    assert_eq!(book.product(&node()).unwrap().versions, [release("22", 1)]);
}

#[test]
fn channels_move_and_go_back() {
    for (document, target) in [
        (Document::Dev, node()),
        (Document::Dev, Target::Addon("code-server".into())),
        (Document::Games, Target::GameJava),
        (Document::Games, Target::Variant { game: "minecraft".into(), variant: "paper".into() }),
        (Document::Agents, Target::Agent),
    ] {
        let mut book = Book::empty(document);
        for (i, version) in ["1.0.0", "1.1.0", "1.2.0"].into_iter().enumerate() {
            add(&mut book, &target, release(version, i as u8), now(1)).unwrap();
            let from = (i > 0).then(|| format!("1.{}.0", i - 1));
            let moved = promote(&mut book, &target, version, "stable", now(2));
            assert_eq!(moved, Ok(Change::Moved { from, to: version.to_owned() }));
        }
        assert_eq!(promote(&mut book, &target, "1.2.0", "stable", now(3)), Ok(Change::Unchanged));
        for (from, to) in [("1.2.0", "1.1.0"), ("1.1.0", "1.0.0")] {
            let moved = rollback(&mut book, &target, "stable", now(3));
            assert_eq!(moved, Ok(Change::Moved { from: Some(from.to_owned()), to: to.to_owned() }));
        }
        let before = book.clone();
        assert!(matches!(rollback(&mut book, &target, "stable", now(4)), Err(Refused::NoPrevious { .. })));
        assert!(matches!(rollback(&mut book, &target, "beta", now(4)), Err(Refused::NoPrevious { .. })));
        assert!(matches!(promote(&mut book, &target, "9.9.9", "stable", now(4)), Err(Refused::NoVersion { .. })));
        assert!(promote(&mut book, &target, "1.0.0", "../x", now(4)).is_err());
        assert_eq!(book, before);
        let (again, dirt) = Book::read(document, &book.bytes().unwrap()).unwrap();
        assert_eq!((again, dirt), (book, vec![]));
    }
}

#[test]
fn the_agents_latest_follows_the_stable_channel() {
    let mut book = Book::empty(Document::Agents);
    add(&mut book, &Target::Agent, release("1.0.8", 1), now(1)).unwrap();
    assert!(matches!(add(&mut book, &Target::Agent, release("1.0", 1), now(1)), Err(Refused::NotSemantic(_))));
    assert!(matches!(add(&mut book, &Target::Agent, release("1.0.8", 2), now(1)), Err(Refused::OtherContent { .. })));
    promote(&mut book, &Target::Agent, "1.0.8", "beta", now(2)).unwrap();
    let Book::Agents(manifest) = &book else { panic!() };
    assert_eq!((manifest.latest.as_deref(), manifest.channels.len()), (None, 1));
    promote(&mut book, &Target::Agent, "1.0.8", "stable", now(2)).unwrap();
    let Book::Agents(manifest) = &book else { panic!() };
    let build = &manifest.artifacts["1.0.8"][PLATFORM];
    assert_eq!(manifest.latest.as_deref(), Some("1.0.8"));
    assert_eq!(build.binary.as_str(), "versions/1.0.8/zlh-agent-linux-amd64");
}

#[test]
fn a_clock_that_went_back_makes_no_older_catalog() {
    let mut book = Book::empty(Document::Dev);
    add(&mut book, &node(), release("1", 1), now(100)).unwrap();
    add(&mut book, &node(), release("2", 2), now(50)).unwrap();
    let Book::Dev(dev) = &book else { panic!() };
    assert_eq!((dev.stamp.serial, dev.stamp.generated_at), (Some(2), Some(now(100))));
}

proptest! {
    /// Whatever is done, in whatever order: the book reads back clean, its serial never falls, and each channel means a
    /// version that is there.
    #[test]
    fn no_life_of_a_book_breaks_it(steps in prop::collection::vec((0..3u8, 0..5u8, 0..3u8), 0..60)) {
        let mut book = Book::empty(Document::Dev);
        for (what, version, other) in steps {
            let (version, channel) = (format!("1.{version}.0"), ["stable", "beta", "1"][usize::from(other)]);
            let before = book.clone();
            let done = match what {
                0 => add(&mut book, &node(), release(&version, other), now(1)),
                1 => promote(&mut book, &node(), &version, channel, now(1)),
                _ => rollback(&mut book, &node(), channel, now(1)),
            };
            match done {
                Ok(Change::Unchanged) | Err(_) => prop_assert_eq!(book.product(&node()), before.product(&node())),
                Ok(_) => prop_assert_eq!(serial(&book), Some(serial(&before).unwrap_or(0) + 1)),
            }
            let (again, dirt) = Book::read(Document::Dev, &book.bytes().unwrap()).unwrap();
            prop_assert_eq!(dirt, vec![]);
            prop_assert_eq!(&again, &book);
        }
    }
}
