//! Tables and properties of one session.
use super::*;
use proptest::prelude::*;

const LINGER: Duration = Duration::from_secs(60);
const RUN: RunId = RunId(7);

fn session() -> Session {
    Session::new(LINGER, BTreeMap::new())
}

/// A shell that lives, with this viewer.
fn live(viewer: Viewer) -> Session {
    let mut s = session();
    assert_eq!(s.attach(viewer, RUN), [Effect::Launch(RUN)]);
    assert_eq!(s.on_launched(RUN, Ok(())), [Effect::Admit(viewer)]);
    s
}

fn ticket(effects: &[Effect]) -> Ticket {
    let armed = effects.iter().find_map(|e| if let Effect::Arm(ticket, _) = e { Some(*ticket) } else { None });
    armed.unwrap_or_else(|| panic!("no timer among {effects:?}"))
}

#[test]
fn names_are_folders_names() {
    let long = "a".repeat(32);
    for name in ["main", "0", "a-b-", "build-2", long.as_str()] {
        assert_eq!(check_name(name), Ok(()), "{name}");
    }
    let longer = "a".repeat(33);
    for name in ["", "-a", "A", "a/b", "..", "a b", "a.b", "\u{fc}", "a\0", longer.as_str()] {
        let Err(Refusal::InvalidSession { detail }) = check_name(name) else { panic!("accepted: {name:?}") };
        assert!(!detail.chars().any(char::is_control), "{detail:?}");
    }
}

#[test]
fn the_smallest_window_counts_per_side() {
    assert_eq!(fitting([]), None);
    assert_eq!(fitting([(80, 50), (200, 24), (100, 30)]), Some((80, 24)));
    let mut s = live(1);
    assert_eq!(s.resize(1, (100, 40)), [Effect::Resize((100, 40))]);
    assert_eq!(s.attach(2, RUN), [Effect::Admit(2)], "who has not said its size constrains nobody");
    assert_eq!(s.resize(2, (80, 50)), [Effect::Resize((80, 40))]);
    assert_eq!(s.resize(2, (80, 60)), [], "nothing changes");
    assert_eq!(s.detach(2), [Effect::Resize((100, 40))]);
    assert_eq!(s.resize(9, (1, 1)), [], "nobody's window");
}

#[test]
fn a_shell_lingers_and_is_hung_up_then_killed() {
    let mut s = live(1);
    let alone = s.detach(1);
    assert_eq!(alone, [Effect::Arm(Ticket(1), LINGER)]);
    assert_eq!(s.attach(2, RUN), [Effect::Admit(2)]);
    assert_eq!(s.on_timer(ticket(&alone)), [], "somebody came back");
    let alone = s.detach(2);
    let ending = s.on_timer(ticket(&alone));
    assert_eq!(ending, [Effect::HangUp(RUN), Effect::Arm(Ticket(3), GRACE)]);
    assert_eq!(s.live(), None, "it takes no input any more");
    let killing = s.on_timer(ticket(&ending));
    assert_eq!(killing[0], Effect::Kill(RUN));
    assert_eq!(s.on_exited(RUN, RUN), [Effect::Forget]);
    assert!(s.on_timer(ticket(&killing)).is_empty());
    assert!(s.on_forgotten(RUN).is_empty() && s.is_gone());
}

#[test]
fn who_comes_while_it_ends_gets_a_fresh_one() {
    let mut s = live(1);
    let alone = s.detach(1);
    s.on_timer(ticket(&alone));
    assert_eq!(s.attach(2, RUN), []);
    assert_eq!(s.on_exited(RUN, RUN), [Effect::Launch(RunId(8))], "run ids rise even if the clock does not");
    assert_eq!(s.on_launched(RunId(8), Ok(())), [Effect::Admit(2)]);
    // The same while it is forgotten.
    let alone = s.detach(2);
    s.on_timer(ticket(&alone));
    assert_eq!(s.on_exited(RunId(8), RUN), [Effect::Forget]);
    assert_eq!(s.attach(3, RUN), []);
    assert_eq!(s.on_forgotten(RUN), [Effect::Launch(RunId(9))]);
}

#[test]
fn an_exit_is_shown_until_somebody_new_comes_or_all_have_left() {
    let mut s = live(1);
    assert_eq!(s.on_exited(RUN, RUN), []);
    assert_eq!(s.on_exited(RUN, RUN), [], "told twice");
    assert_eq!(s.attach(2, RUN), [Effect::Launch(RunId(8))]);
    assert_eq!(s.on_exited(RUN, RUN), [], "an old run changes nothing");
    s.on_launched(RunId(8), Ok(()));
    s.on_exited(RunId(8), RUN);
    assert_eq!(s.detach(1), []);
    assert_eq!(s.detach(2), [Effect::Forget]);
}

#[test]
fn a_shell_that_cannot_start_says_why_to_all_who_wait() {
    let mut s = session();
    s.attach(1, RUN);
    s.attach(2, RUN);
    assert_eq!(s.detach(2), [], "gone before the answer");
    let why = Refusal::NoShell { detail: "no bash".into() };
    let told = s.on_launched(RUN, Err(why.clone()));
    assert_eq!(told, [Effect::Kill(RUN), Effect::Turn { viewer: 1, why }, Effect::Forget]);
    assert_eq!(s.viewers(), 0);
}

#[test]
fn what_an_earlier_agent_left_goes_on() {
    let mut s = session();
    assert_eq!(s.on_found(Found::Alive(RUN)), [Effect::Arm(Ticket(1), LINGER)]);
    assert_eq!((s.attach(1, RUN), s.live()), (vec![Effect::Admit(1)], Some(RUN)));
    for nothing in [Found::Nothing, Found::Ended(RUN)] {
        assert_eq!(session().on_found(nothing), [Effect::Forget]);
    }
    let mut reborn = Session::new(LINGER, [(1, Some((90, 30)))].into());
    assert_eq!(reborn.on_found(Found::Alive(RUN)), [], "its viewers are still there");
    assert_eq!(reborn.attach(2, RUN), [Effect::Admit(2)]);
    assert_eq!(reborn.resize(2, (80, 40)), [Effect::Resize((80, 30))]);
}

#[test]
fn there_is_room_or_it_is_said_what_is_full() {
    assert_eq!(room(1, 2, (2, 3)), Ok(()));
    assert_eq!(room(1, 3, (2, 3)), Err(Refusal::TooManyViewers { limit: 3 }));
    assert_eq!(room(2, 0, (2, 3)), Err(Refusal::TooManySessions { limit: 2 }));
}

#[derive(Clone, Debug)]
enum Act {
    Attach(Viewer),
    Detach(Viewer),
    Resize(Viewer, Size),
    Launched(bool),
    Exited,
    Timer,
    Forgotten,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0..4u64).prop_map(Act::Attach),
        (0..4u64).prop_map(Act::Detach),
        ((0..4u64), (1..9u16, 1..9u16)).prop_map(|(v, s)| Act::Resize(v, s)),
        any::<bool>().prop_map(Act::Launched),
        Just(Act::Exited),
        Just(Act::Timer),
        Just(Act::Forgotten),
    ]
}

proptest! {
    /// Whatever happens in whatever order: never two runs at once, every viewer gets at most one answer for each time
    /// it came, and a session without viewers has a timer, a shell on its way, or goes.
    #[test]
    fn no_life_of_a_session_breaks_a_promise(acts in prop::collection::vec(act(), 0..80)) {
        let mut s = session();
        let (mut running, mut newest, mut owed) = (None, RunId(0), BTreeMap::<Viewer, u32>::new());
        let (mut timer, mut forgetting) = (None, false);
        for act in acts {
            if s.is_gone() {
                break;
            }
            let effects = match act {
                Act::Attach(v) if !s.viewers.contains_key(&v) => { *owed.entry(v).or_default() += 1; s.attach(v, RUN) }
                Act::Attach(_) => continue,
                Act::Detach(v) => { owed.remove(&v); s.detach(v) }
                Act::Resize(v, size) => s.resize(v, size),
                Act::Launched(ok) => {
                    let result = if ok { Ok(()) } else { Err(Refusal::NotProvisioned) };
                    if !ok && matches!(s.stage, Stage::Launching(_)) { running = None; }
                    s.on_launched(newest, result)
                }
                Act::Exited => { running = None; s.on_exited(newest, RUN) }
                Act::Timer => timer.take().map_or_else(Vec::new, |t| s.on_timer(t)),
                Act::Forgotten if forgetting => { forgetting = false; s.on_forgotten(RUN) }
                Act::Forgotten => continue,
            };
            for effect in effects {
                match effect {
                    Effect::Launch(run) => {
                        prop_assert!(run > newest && running.is_none(), "{run} beside {running:?}");
                        (running, newest) = (Some(run), run);
                    }
                    Effect::Admit(v) | Effect::Turn { viewer: v, .. } => {
                        let left = owed.get_mut(&v);
                        prop_assert!(left.is_some_and(|n| std::mem::replace(n, 0) == 1), "viewer {v} answered for nothing");
                    }
                    Effect::Arm(t, _) => timer = Some(t),
                    Effect::Forget => forgetting = true,
                    Effect::HangUp(run) | Effect::Kill(run) => prop_assert_eq!(run, newest),
                    Effect::Resize(_) => prop_assert!(s.viewers() > 0),
                }
            }
            if s.viewers() == 0 {
                let cared_for = match s.stage {
                    Stage::Live(_) | Stage::Ending(_) => s.timer.is_some(),
                    Stage::Absent | Stage::Launching(_) | Stage::Forgetting | Stage::Gone => true,
                    Stage::Ended => false,
                };
                prop_assert!(cared_for, "{:?} with nobody", s.stage);
            }
        }
    }
}
