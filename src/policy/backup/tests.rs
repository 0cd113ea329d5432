//! The desk by table: who gets in, what follows, and what a death in the midst means.
use super::*;
use crate::model::{
    backup::{Backup, Reason},
    catalog::Digest,
    operation::{OperationKind, OperationState},
};
use std::time::Duration;

const NOW: Now = (BootTime(Duration::from_secs(5)), WallTime(5_000));

pub(super) fn id(n: u64) -> BackupId {
    BackupId::parse(&format!("0198c0de-7a11-7abc-8def-{n:012}")).unwrap()
}

pub(super) fn backup(n: u64) -> Backup {
    Backup {
        id: id(n),
        kind: Kind::Dev,
        reason: Reason::Manual,
        created_at: WallTime(n as i64),
        source: "home/dev/workspace".into(),
        entries: 1,
        bytes: 1,
        archive_bytes: 1,
        sha256: Digest([0; 32]),
        exclude: Vec::new(),
        warnings: Vec::new(),
        warning_count: 0,
        verified: None,
    }
}

fn by(n: u64) -> By {
    By { id: OperationId(format!("op-{n}")), holder: "api".into() }
}

fn wish(order: Order) -> Wish {
    Wish { kind: Kind::Dev, order }
}

fn shelf(numbers: &[u64]) -> Backups {
    Arc::new(numbers.iter().map(|n| backup(*n)).collect())
}

fn awake(numbers: &[u64]) -> Machine {
    let mut machine = Machine::new(settings::Backups { keep: 2, ..settings::Backups::default() }, 10);
    assert_eq!(machine.awaken(), [Effect::Recall]);
    assert_eq!(machine.order(NOW, wish(Order::Make { id: id(1) }), by(0)), Err(Refusal::Recovering));
    let shelves = Shelves { dev: shelf(numbers), ..Shelves::default() };
    let recalled = Recollection { shelves, ..Recollection::default() };
    assert_eq!(machine.on_fact(NOW, Fact::Recalled(Ok(Box::new(recalled)))), []);
    machine
}

fn work(effects: &[Effect]) -> (Ticket, Step) {
    let found = effects.iter().find_map(|effect| match effect {
        Effect::Do(ticket, step) => Some((*ticket, step.clone())),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no work in {effects:?}"))
}

/// The order is on disk: what begins then.
fn begun(machine: &mut Machine, decision: &Decision) -> (Ticket, Step) {
    assert!(matches!(&decision.effects[..], [Effect::Save(_, memory)] if memory.pending.is_some()), "stored first");
    work(&machine.on_fact(NOW, Fact::Stored(decision.durable, Ok(()))))
}

fn done(numbers: &[u64]) -> Report {
    Report { outcome: Ok(()), shelf: Some(shelf(numbers)) }
}

fn newest(machine: &Machine) -> (OperationKind, OperationState, Option<String>) {
    let rows = machine.part().operations;
    (rows[0].kind, rows[0].state, rows[0].error.clone())
}

#[test]
fn one_at_a_time_and_the_second_learns_who_is_first() {
    let mut machine = awake(&[]);
    let decision = machine.order(NOW, wish(Order::Make { id: id(1) }), by(1)).unwrap();
    assert!(matches!(machine.in_the_way(), Some(Refusal::OperationInProgress { kind: OperationKind::Backup, .. })));
    for order in [Order::Make { id: id(2) }, Order::Delete { of: id(1) }] {
        let refused = machine.order(NOW, wish(order), by(2)).unwrap_err();
        assert!(matches!(refused, Refusal::OperationInProgress { holder, .. } if holder.0 == "op-1"));
    }
    let (ticket, _) = begun(&mut machine, &decision);
    machine.on_fact(NOW, Fact::Did(ticket, done(&[1])));
    assert_eq!(newest(&machine), (OperationKind::Backup, OperationState::Done, None));
    assert_eq!((machine.in_the_way(), machine.shelves().dev.len()), (None, 1));
}

#[test]
fn progress_moves_the_deadline_and_is_shown() {
    let mut machine = awake(&[]);
    let decision = machine.order(NOW, wish(Order::Make { id: id(1) }), by(1)).unwrap();
    let (ticket, _) = begun(&mut machine, &decision);
    let later = (BootTime(Duration::from_secs(500)), WallTime(500_000));
    let progress = |ticket| Fact::Progressed { ticket, text: "copying".into(), share: Some(0.5) };
    machine.on_fact(later, progress(Ticket(999)));
    assert_eq!(machine.part().operation.unwrap().message, "");
    machine.on_fact(later, progress(ticket));
    let row = machine.part().operations[0].clone();
    assert_eq!((row.step.as_str(), row.progress, row.deadline_at), ("copying", Some(0.5), WallTime(680_000)));
    assert_eq!(row.subject, id(1).to_string());
}

#[test]
fn too_many_are_deleted_after_one_is_made_and_never_the_one_in_use() {
    let mut machine = awake(&[3, 2, 1]);
    let decision = machine.order(NOW, wish(Order::Make { id: id(4) }), by(1)).unwrap();
    let (ticket, _) = begun(&mut machine, &decision);
    let effects = machine.on_fact(NOW, Fact::Did(ticket, done(&[4, 3, 2, 1])));
    let (ticket, step) = work(&effects);
    assert_eq!(step, Step::Discard { kind: Kind::Dev, ids: vec![id(2), id(1)] });
    assert_eq!(newest(&machine).1, OperationState::Running);
    let failed = Report { outcome: Err("disk".into()), shelf: None };
    machine.on_fact(NOW, Fact::Did(ticket, failed));
    assert_eq!(newest(&machine).1, OperationState::Done, "what was asked for is done");
    assert_eq!(machine.part().warnings[0].code, "backups_not_pruned");
    let decision = machine.order(NOW, wish(Order::PutBack { of: id(1), checkpoint: id(5) }), by(2)).unwrap();
    let (ticket, _) = begun(&mut machine, &decision);
    let effects = machine.on_fact(NOW, Fact::Did(ticket, done(&[4, 3, 2, 1])));
    assert_eq!(work(&effects).1, Step::Discard { kind: Kind::Dev, ids: vec![id(2)] }, "1 was just put back");
}

#[test]
fn what_is_not_there_or_known_to_be_damaged_is_refused() {
    let mut machine = awake(&[1]);
    for order in
        [Order::PutBack { of: id(9), checkpoint: id(2) }, Order::Verify { of: id(9) }, Order::Delete { of: id(9) }]
    {
        assert_eq!(machine.order(NOW, wish(order), by(1)), Err(Refusal::NoSuchBackup { id: id(9) }));
    }
    let game = Wish { kind: Kind::Game, order: Order::Delete { of: id(1) } };
    assert!(machine.order(NOW, game, by(1)).is_err(), "that of a workspace is none of a game");
    let decision = machine.order(NOW, wish(Order::Verify { of: id(1) }), by(1)).unwrap();
    assert_eq!(machine.in_the_way(), None, "verifying holds up nobody else");
    let verified = crate::model::backup::Verified { at: WallTime(6), sound: false, fault: Some("a byte".into()) };
    let damaged = Arc::new(vec![Backup { verified: Some(verified), ..backup(1) }]);
    let report = Report { outcome: Err("the backup is damaged".into()), shelf: Some(damaged) };
    let (ticket, _) = begun(&mut machine, &decision);
    machine.on_fact(NOW, Fact::Did(ticket, report));
    assert_eq!(newest(&machine).1, OperationState::Failed);
    let put_back = machine.order(NOW, wish(Order::PutBack { of: id(1), checkpoint: id(2) }), by(2));
    assert_eq!(put_back, Err(Refusal::BackupDamaged { fault: "a byte".into() }));
}

#[test]
fn a_cancelled_one_ends_as_such_and_strangers_are_not_ours() {
    let mut machine = awake(&[1]);
    assert_eq!(machine.cancel(&OperationId("op-1".into())), None);
    let decision = machine.order(NOW, wish(Order::Make { id: id(2) }), by(1)).unwrap();
    let (ticket, _) = begun(&mut machine, &decision);
    assert_eq!(machine.cancel(&OperationId("op-1".into())), Some(Ok(vec![Effect::Stop(ticket)])));
    machine.on_fact(NOW, Fact::Did(ticket, Report { outcome: Err("x".into()), shelf: None }));
    assert_eq!(newest(&machine), (OperationKind::Backup, OperationState::Failed, Some("it was cancelled".into())));
    assert!(matches!(machine.cancel(&OperationId("op-1".into())), Some(Err(Refusal::NotCancellable { .. }))));
    // A late answer of a step that is over changes nothing.
    assert_eq!(machine.on_fact(NOW, Fact::Did(ticket, done(&[]))), []);
    assert_eq!(machine.shelves().dev.len(), 1);
}

#[test]
fn nothing_begins_before_the_order_is_on_disk() {
    let failed = |machine: &Machine| newest(machine).2.unwrap();
    // What cannot be written down is not begun …
    for order in [Order::Make { id: id(2) }, Order::PutBack { of: id(1), checkpoint: id(2) }] {
        let mut machine = awake(&[1]);
        let decision = machine.order(NOW, wish(order), by(1)).unwrap();
        assert_eq!(machine.on_fact(NOW, Fact::Stored(Ticket(999), Ok(()))), [], "that of another");
        let effects = machine.on_fact(NOW, Fact::Stored(decision.durable, Err("disk full".into())));
        assert!(matches!(&effects[..], [Effect::Save(_, memory)] if memory.pending.is_none()), "{effects:?}");
        assert_eq!(failed(&machine), "it could not be written down: disk full");
    }
    // … but a full disk can be made room on.
    let mut machine = awake(&[1]);
    let decision = machine.order(NOW, wish(Order::Delete { of: id(1) }), by(1)).unwrap();
    let effects = machine.on_fact(NOW, Fact::Stored(decision.durable, Err("disk full".into())));
    assert_eq!(work(&effects).1, Step::Discard { kind: Kind::Dev, ids: vec![id(1)] });
    // Cancelled on its way to the disk.
    let mut machine = awake(&[1]);
    let decision = machine.order(NOW, wish(Order::Make { id: id(2) }), by(1)).unwrap();
    assert!(matches!(machine.cancel(&OperationId("op-1".into())), Some(Ok(_))));
    machine.on_fact(NOW, Fact::Stored(decision.durable, Ok(())));
    assert_eq!(failed(&machine), "it was cancelled");
}

fn wish_of_game() -> Wish {
    Wish { kind: Kind::Game, order: Order::Make { id: id(7) } }
}

/// What a life that ended in the midst of `order` leaves, with these backups on disk, becomes this.
fn after_death(
    kind: Kind,
    order: Order,
    there: &[u64],
    restored: Option<Result<(), String>>,
) -> (OperationState, bool) {
    let mut machine = awake(&[1]);
    let wish = Wish { kind, order };
    let mut journal = Journal::default();
    journal.open(wish.order.operation(), by(1), NOW, Duration::from_secs(1), 10);
    machine.awake = false;
    let shelves = Shelves { dev: shelf(there), game: shelf(there) };
    let recalled = Recollection { memory: Memory { journal, pending: Some(wish) }, shelves, restored };
    let mut effects = machine.on_fact(NOW, Fact::Recalled(Ok(Box::new(recalled))));
    let released = match effects[..] {
        [Effect::Release(ticket)] => {
            let second = machine.order(NOW, wish_of_game(), by(2)).unwrap_err();
            assert!(matches!(second, Refusal::OperationInProgress { .. }), "first it writes again: {second:?}");
            assert_eq!(machine.on_fact(NOW, Fact::Released(Ticket(999))), []);
            effects = machine.on_fact(NOW, Fact::Released(ticket));
            true
        }
        _ => false,
    };
    assert!(
        matches!(&effects[..], [Effect::Save(_, memory)] if memory.pending.is_none()),
        "the outcome is stored last"
    );
    (newest(&machine).1, released)
}

#[test]
fn a_death_in_the_midst_has_the_outcome_that_the_disk_tells() {
    use OperationState::{Done, Failed};
    let (dev, game) = (Kind::Dev, Kind::Game);
    let put_back = || Order::PutBack { of: id(1), checkpoint: id(2) };
    for (kind, order, there, restored, outcome, released) in [
        (dev, Order::Make { id: id(3) }, &[3, 1][..], None, Done, false),
        (dev, Order::Make { id: id(3) }, &[1], None, Failed, false),
        (game, Order::Make { id: id(3) }, &[1], None, Failed, true),
        (game, Order::Make { id: id(3) }, &[3], None, Done, true),
        (dev, put_back(), &[1], None, Failed, false),
        (dev, put_back(), &[1], Some(Ok(())), Done, false),
        (game, put_back(), &[1], Some(Err("half".into())), Failed, false),
        (dev, Order::Verify { of: id(1) }, &[1], None, Failed, false),
        (dev, Order::Delete { of: id(1) }, &[1], None, Failed, false),
        (dev, Order::Delete { of: id(1) }, &[], None, Done, false),
    ] {
        let what = format!("{kind} {order:?} {there:?} {restored:?}");
        assert_eq!(after_death(kind, order, there, restored), (outcome, released), "{what}");
    }
}
