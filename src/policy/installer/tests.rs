//! Whole lives of the installer by chance: orders, failures, deaths of the agent at any moment, late answers.
use super::{
    Command, Consulted, Effect, Fact, Failure, Fault, InstallPart, Machine, Now, Ticket, memory::Memory, order::Order,
    plan::Step,
};
use crate::{
    model::{
        catalog::Digest,
        ids::OperationId,
        install::{Family, Parcel, Present, Tree, TreeId, Wanted},
        operation::OperationState,
        refusal::Refusal,
        settings::Install,
        time::{BootTime, WallTime},
    },
    policy::operations::By,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The machine, and a world that does what it says.
struct Rig {
    machine: Machine,
    stored: Memory,
    trees: BTreeMap<TreeId, bool>,
    current: BTreeMap<Family, String>,
    staging: BTreeSet<TreeId>,
    /// What was asked for and is not answered yet.
    open: Vec<Effect>,
    answered: Vec<Fact>,
    acknowledged: BTreeSet<OperationId>,
    ended: BTreeMap<OperationId, (OperationState, Option<String>)>,
    operations: u64,
    clock: u64,
}

const RULES: fn() -> Install = || Install { parallel: 2, queue: 4, tries: 100, ..Install::default() };

impl Rig {
    fn new() -> Rig {
        let mut rig = Rig {
            machine: Machine::new(RULES(), 1000),
            stored: Memory::default(),
            trees: BTreeMap::new(),
            current: BTreeMap::new(),
            staging: BTreeSet::new(),
            open: Vec::new(),
            answered: Vec::new(),
            acknowledged: BTreeSet::new(),
            ended: BTreeMap::new(),
            operations: 0,
            clock: 0,
        };
        rig.die();
        rig
    }

    fn now(&mut self) -> Now {
        self.clock += 1;
        (BootTime(Duration::from_secs(self.clock)), WallTime(self.clock as i64 * 1000))
    }

    /// The agent is killed and another one comes.
    fn die(&mut self) {
        self.machine = Machine::new(RULES(), 1000);
        self.open = self.machine.awaken();
    }

    fn awake(mut self) -> Rig {
        self.settle();
        self
    }

    fn order(&mut self, order: Order) -> Result<Option<OperationId>, Refusal> {
        self.operations += 1;
        let by = By { id: OperationId(format!("op-{:06}", self.operations)), holder: "test".into() };
        let now = self.now();
        let decision = self.machine.on_command(now, Command::Do(order, by))?;
        self.open.extend(decision.effects);
        self.look();
        Ok(decision.operation)
    }

    fn command(&mut self, command: Command) -> Result<Option<OperationId>, Refusal> {
        let now = self.now();
        let decision = self.machine.on_command(now, command)?;
        self.open.extend(decision.effects);
        self.look();
        Ok(decision.operation)
    }

    /// Answers one open effect; `fails`: with an error, a half-done step.
    fn answer(&mut self, at: usize, fails: bool) {
        if self.open.is_empty() {
            return;
        }
        let mut at = at % self.open.len();
        if matches!(self.open[at], Effect::Save(..)) {
            // Saves are carried out in their order.
            at = self.open.iter().position(|e| matches!(e, Effect::Save(..))).unwrap_or(at);
        }
        let effect = self.open.remove(at);
        let Some(fact) = self.fact(effect, fails) else { return };
        self.answered.push(fact.clone());
        self.tell(fact);
    }

    fn tell(&mut self, fact: Fact) {
        let now = self.now();
        let effects = self.machine.on_fact(now, fact);
        self.open.extend(effects);
        self.look();
    }

    fn fact(&mut self, effect: Effect, fails: bool) -> Option<Fact> {
        Some(match effect {
            Effect::Recall(ticket) => Fact::Recalled(ticket, Ok(Box::new(self.stored.clone()))),
            Effect::Save(ticket, memory) => {
                self.stored = *memory;
                self.acknowledged.extend(self.stored.orders.keys().cloned());
                Fact::Stored(ticket, Ok(()))
            }
            Effect::Survey { ticket, sweep } => {
                if sweep {
                    self.staging.clear();
                }
                Fact::Surveyed(ticket, Ok(Box::new(self.present())))
            }
            Effect::Consult(ticket, _) if fails => Fact::Consulted(ticket, Err(Failure::other("the server is down"))),
            Effect::Consult(ticket, wanted) => {
                let version = wanted.version().unwrap_or_else(|| "1".into());
                let parcel = parcel(wanted.family().version(&version));
                Fact::Consulted(ticket, Ok(Box::new(Consulted { parcel, warnings: Vec::new() })))
            }
            Effect::Do(ticket, step) => Fact::Did(ticket, self.perform(&step, fails)),
            Effect::Abort(_) => return None,
        })
    }

    fn perform(&mut self, step: &Step, fails: bool) -> Result<(), Failure> {
        if let (Step::Bring(parcel), true) = (step, fails) {
            self.staging.insert(parcel.tree.clone());
        }
        // What takes back is not made to fail here: what it would leave is swept at the next start.
        if fails && !matches!(step, Step::Discard(_) | Step::Point { .. }) {
            return Err(Failure::other("injected"));
        }
        match step {
            Step::Bring(parcel) => _ = self.staging.insert(parcel.tree.clone()),
            Step::Try(parcel) => assert!(self.staging.contains(&parcel.tree)),
            Step::Place(parcel) => {
                assert!(self.staging.remove(&parcel.tree));
                self.trees.insert(parcel.tree.clone(), true);
            }
            Step::Point { family, version: Some(version) } => {
                assert!(self.trees.contains_key(&family.version(version)), "{family} {version} is not there");
                self.current.insert(family.clone(), version.clone());
            }
            Step::Point { family, version: None } => _ = self.current.remove(family),
            Step::Verify(tree) if self.trees.get(tree) != Some(&true) => {
                return Err(Failure { fault: Fault::Damaged, reason: "bin/x differs".into() });
            }
            Step::Verify(_) => {}
            Step::Mend(tree) if !self.trees.contains_key(tree) => return Err(Failure::other("not there")),
            Step::Mend(tree) => _ = self.trees.insert(tree.clone(), true),
            Step::Remove(tree) => _ = self.trees.remove(tree),
            Step::Discard(tree) => _ = self.staging.remove(tree),
            Step::Collect { superseded } => self.trees.retain(|tree, _| !superseded.contains(tree)),
        }
        Ok(())
    }

    fn present(&self) -> Present {
        let tree = |id: &TreeId| Tree {
            id: id.clone(),
            path: String::new(),
            bytes: 0,
            files: 0,
            sha256: Digest([0; 32]),
            bin: Vec::new(),
            env: BTreeMap::new(),
            verified: true,
        };
        Present { trees: self.trees.keys().map(tree).collect(), current: self.current.clone() }
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.open.is_empty() {
                return;
            }
            self.answer(0, false);
        }
        panic!("it never comes to rest: {:?}", self.open);
    }

    /// What holds at every moment.
    fn look(&mut self) {
        let working: Vec<&Effect> =
            self.open.iter().filter(|e| matches!(e, Effect::Do(..) | Effect::Consult(..))).collect();
        assert!(working.len() <= RULES().parallel, "{working:?}");
        let brought: Vec<&TreeId> = working
            .iter()
            .filter_map(|e| match e {
                Effect::Do(_, Step::Bring(p) | Step::Try(p) | Step::Place(p)) => Some(&p.tree),
                _ => None,
            })
            .collect();
        assert_eq!(brought.iter().collect::<BTreeSet<_>>().len(), brought.len(), "one tree twice: {working:?}");
        for (family, version) in &self.current {
            assert!(self.trees.contains_key(&family.version(version)), "current of {family} dangles");
        }
        let part = self.machine.part();
        for o in part.operations.iter().filter(|o| o.state.is_final()) {
            let said = (o.state, o.error.clone());
            let before = self.ended.entry(o.id.clone()).or_insert_with(|| said.clone());
            // An agent that died between showing and storing an end carries the order out again; it does not turn
            // into another one while that agent lives, which the machine's own journal sees to.
            *before = said;
        }
    }

    fn part(&self) -> InstallPart {
        self.machine.part()
    }

    fn outcome(&self, id: &OperationId) -> (OperationState, Option<String>) {
        let operations = self.part().operations;
        let found = operations.iter().find(|o| o.id == *id).unwrap();
        (found.state, found.error.clone())
    }
}

fn parcel(tree: TreeId) -> Parcel {
    let paths = vec!["a/b.tar.gz".parse().unwrap()];
    Parcel { tree, paths, sha256: None, size: None, strip: None, bin: Vec::new(), env: BTreeMap::new() }
}

fn node(version: &str) -> TreeId {
    Family::runtime("node").version(version)
}

fn ensure(version: &str, activate: bool) -> Order {
    Order::Ensure { wanted: Wanted::Runtime { id: "node".into(), version: version.into() }, activate }
}

fn done(rig: &mut Rig, order: Order) -> OperationId {
    let id = rig.order(order).unwrap().unwrap();
    rig.settle();
    assert_eq!(rig.outcome(&id), (OperationState::Done, None));
    id
}

#[test]
fn an_install_ends_with_an_active_tree_and_again_only_verifies() {
    let mut rig = Rig::new().awake();
    done(&mut rig, ensure("22", true));
    assert_eq!(rig.current[&Family::runtime("node")], "22");
    rig.order(ensure("22", true)).unwrap();
    rig.answer(0, false); // the save
    assert!(matches!(&rig.open[..], [Effect::Do(_, Step::Verify(tree))] if *tree == node("22")), "{:?}", rig.open);
    rig.settle();
    assert!(rig.staging.is_empty());
}

#[test]
fn equal_orders_join_and_the_stronger_one_wins() {
    let mut rig = Rig::new().awake();
    done(&mut rig, ensure("20", true));
    let first = rig.order(ensure("22", false)).unwrap();
    assert_eq!(rig.order(ensure("22", false)).unwrap(), first);
    rig.answer(0, false);
    rig.answer(0, false);
    assert_eq!(rig.order(ensure("22", true)).unwrap(), first, "also when it is on its way");
    rig.settle();
    assert_eq!(rig.current[&Family::runtime("node")], "22");
}

#[test]
fn colliding_orders_are_refused_with_the_holder() {
    let mut rig = Rig::new().awake();
    done(&mut rig, ensure("20", true));
    let first = rig.order(ensure("22", true)).unwrap().unwrap();
    let refused = rig.order(Order::Remove { tree: node("20") });
    assert!(matches!(refused, Err(Refusal::OperationInProgress { holder, .. }) if holder == first));
    assert!(matches!(rig.order(Order::Verify { tree: node("19") }), Err(Refusal::NotInstalled { .. })));
    assert!(rig.order(Order::Verify { tree: node("20") }).is_ok(), "another tree of the family");
}

#[test]
fn the_queue_is_bounded_and_goes_in_order() {
    let mut rig = Rig::new().awake();
    for version in ["1", "2", "3", "4"] {
        rig.order(ensure(version, false)).unwrap();
    }
    assert_eq!(rig.order(ensure("5", false)), Err(Refusal::TooManyOperations { limit: 4 }));
    while matches!(rig.open.first(), Some(Effect::Save(..))) {
        rig.answer(0, false);
    }
    let states: Vec<OperationState> = rig.part().operations.iter().rev().map(|o| o.state).collect();
    use OperationState::{Queued, Running};
    assert_eq!(states[states.len() - 4..], [Running, Running, Queued, Queued]);
    rig.settle();
    assert_eq!(rig.trees.len(), 4);
}

#[test]
fn a_failure_leaves_the_old_version_active_and_says_at_which_step() {
    let mut rig = Rig::new().awake();
    done(&mut rig, ensure("20", true));
    for failing in 0..3 {
        let id = rig.order(ensure("22", true)).unwrap().unwrap();
        rig.answer(0, false); // saved
        rig.answer(0, false); // consulted
        (0..failing).for_each(|_| rig.answer(0, false));
        rig.answer(0, true);
        rig.settle();
        let (state, error) = rig.outcome(&id);
        let step = ["downloading node 22", "trying node 22", "putting node 22 in place"][failing];
        assert_eq!((state, error), (OperationState::Failed, Some(format!("{step}: injected"))));
        assert_eq!((rig.trees.len(), rig.staging.len()), (1, 0));
        assert_eq!(rig.current[&Family::runtime("node")], "20");
    }
}

#[test]
fn a_damaged_tree_that_is_wanted_is_installed_anew() {
    let mut rig = Rig::new().awake();
    done(&mut rig, ensure("22", true));
    rig.trees.insert(node("22"), false);
    let id = rig.order(Order::Verify { tree: node("22") }).unwrap().unwrap();
    rig.settle();
    assert_eq!(rig.outcome(&id).1.as_deref(), Some("verifying node 22: bin/x differs"));
    done(&mut rig, ensure("22", true));
    assert!(rig.trees[&node("22")]);
    rig.trees.insert(node("22"), false);
    done(&mut rig, Order::Repair { tree: node("22") });
    assert!(rig.trees[&node("22")]);
}

#[test]
fn what_cannot_be_mended_is_installed_anew() {
    let mut rig = Rig::new().awake();
    done(&mut rig, ensure("22", true));
    rig.trees.insert(node("22"), false);
    let id = rig.order(Order::Repair { tree: node("22") }).unwrap().unwrap();
    rig.answer(0, false);
    assert!(matches!(&rig.open[..], [Effect::Do(_, Step::Mend(_))]), "{:?}", rig.open);
    rig.answer(0, true);
    assert!(matches!(&rig.open[..], [Effect::Consult(..)]), "{:?}", rig.open);
    rig.settle();
    assert_eq!((rig.outcome(&id).0, rig.trees[&node("22")]), (OperationState::Done, true));
}

#[test]
fn a_rollback_goes_to_what_was_active_before_and_not_further_than_there_is() {
    let mut rig = Rig::new().awake();
    let family = Family::runtime("node");
    for version in ["18", "20", "22"] {
        done(&mut rig, ensure(version, true));
    }
    let mut n = 0;
    let mut back = |rig: &mut Rig| {
        n += 1;
        let by = By { id: OperationId(format!("op-9{n:05}")), holder: "test".into() };
        rig.command(Command::Rollback(Family::runtime("node"), by))
    };
    for version in ["20", "18"] {
        back(&mut rig).unwrap();
        rig.settle();
        assert_eq!(rig.current[&family], version);
    }
    assert_eq!(back(&mut rig), Err(Refusal::NoPrevious { family: "node".into() }));
    assert_eq!(rig.trees.len(), 3, "the others stay");
}

#[test]
fn garbage_is_what_was_superseded_long_ago() {
    let mut rig = Rig::new().awake();
    done(&mut rig, ensure("16", false));
    for version in ["18", "20", "22"] {
        done(&mut rig, ensure(version, true));
    }
    done(&mut rig, Order::Collect);
    let left: Vec<&str> = rig.trees.keys().map(|tree| tree.version.as_str()).collect();
    assert_eq!(left, ["16", "20", "22"], "never active, the previous one, the active one");
}

#[test]
fn a_cancelled_install_is_undone() {
    let mut rig = Rig::new().awake();
    let id = rig.order(ensure("22", true)).unwrap().unwrap();
    rig.answer(0, false);
    rig.answer(0, false);
    rig.command(Command::Cancel(id.clone())).unwrap();
    assert!(rig.open.iter().any(|e| matches!(e, Effect::Abort(_))));
    rig.answer(0, true);
    rig.settle();
    assert_eq!(rig.outcome(&id), (OperationState::Failed, Some("cancelled".into())));
    assert!(rig.trees.is_empty() && rig.staging.is_empty());
    assert_eq!(rig.command(Command::Cancel(id.clone())), Err(Refusal::NotCancellable { operation: id }));
}

#[test]
fn an_order_that_kills_the_agent_again_and_again_is_given_up() {
    let mut rig = Rig::new().awake();
    let id = rig.order(ensure("22", true)).unwrap().unwrap();
    rig.answer(0, false);
    for _ in 0..=RULES().tries {
        rig.die();
        while matches!(rig.open.first(), Some(Effect::Recall(_) | Effect::Survey { .. } | Effect::Save(..))) {
            rig.answer(0, false);
        }
    }
    rig.die();
    rig.settle();
    assert!(rig.outcome(&id).1.unwrap().contains("the agent ended 101 times"));
}

#[derive(Clone, Debug)]
enum Act {
    Order(Order),
    Rollback,
    Cancel(u64),
    Answer(usize, bool),
    /// A fact that was told before comes once more.
    Again(usize),
    Damage(String),
    Die,
}

fn act() -> impl Strategy<Value = Act> {
    let version = prop_oneof![Just("20"), Just("22"), Just("24")];
    let tree = version.clone().prop_map(node);
    let order = prop_oneof![
        4 => (version.clone(), any::<bool>()).prop_map(|(v, a)| ensure(v, a)),
        1 => tree.clone().prop_map(|tree| Order::Activate { tree }),
        1 => tree.clone().prop_map(|tree| Order::Remove { tree }),
        1 => tree.clone().prop_map(|tree| Order::Verify { tree }),
        1 => tree.prop_map(|tree| Order::Repair { tree }),
        1 => Just(Order::Collect),
    ];
    prop_oneof![
        4 => order.prop_map(Act::Order),
        1 => Just(Act::Rollback),
        1 => (1u64..20).prop_map(Act::Cancel),
        12 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(at, fails)| Act::Answer(at, fails)),
        1 => any::<usize>().prop_map(Act::Again),
        1 => version.prop_map(|v| Act::Damage(v.into())),
        1 => Just(Act::Die),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever happens, in the end every acknowledged order has exactly one outcome and nothing is half done.
    #[test]
    fn no_life_breaks_a_promise(acts in prop::collection::vec(act(), 0..120)) {
        let mut rig = Rig::new();
        for act in acts {
            match act {
                Act::Order(order) => _ = rig.order(order),
                Act::Rollback => {
                    rig.operations += 1;
                    let by = By { id: OperationId(format!("op-{:06}", rig.operations)), holder: "test".into() };
                    _ = rig.command(Command::Rollback(Family::runtime("node"), by));
                }
                Act::Cancel(n) => _ = rig.command(Command::Cancel(OperationId(format!("op-{n:06}")))),
                Act::Answer(at, fails) => rig.answer(at, fails),
                Act::Again(at) => {
                    let late = |fact: &&Fact| !matches!(fact, Fact::Recalled(..));
                    let facts: Vec<Fact> = rig.answered.iter().filter(late).cloned().collect();
                    // Tasks die with their actor, so a fact never meets a later life that counts its tickets anew.
                    if let Some(fact) = facts.get(at % facts.len().max(1)).filter(|fact| !is_awaited(&rig, fact)) {
                        let before = rig.part().operations;
                        rig.tell(fact.clone());
                        prop_assert!(rig.part().operations == before, "{fact:?}");
                    }
                }
                Act::Damage(version) => {
                    if let Some(sound) = rig.trees.get_mut(&node(&version)) {
                        *sound = false;
                    }
                }
                Act::Die => rig.die(),
            }
        }
        rig.settle();
        prop_assert!(rig.staging.is_empty(), "{:?}", rig.staging);
        let part = rig.part();
        prop_assert!(part.operations.iter().all(|o| o.state.is_final()), "{:?}", part.operations);
        prop_assert!(rig.stored.orders.is_empty());
        let known: BTreeSet<OperationId> = part.operations.iter().map(|o| o.id.clone()).collect();
        prop_assert!(rig.acknowledged.is_subset(&known), "an acknowledged order was forgotten");
    }
}

fn is_awaited(rig: &Rig, fact: &Fact) -> bool {
    let of = |fact: &Fact| match fact {
        Fact::Recalled(t, _) | Fact::Stored(t, _) | Fact::Surveyed(t, _) | Fact::Consulted(t, _) | Fact::Did(t, _) => {
            *t
        }
        Fact::Progressed { ticket, .. } => *ticket,
    };
    let open = |effect: &Effect| -> Ticket {
        match effect {
            Effect::Recall(t) | Effect::Save(t, _) | Effect::Survey { ticket: t, .. } => *t,
            Effect::Consult(t, _) | Effect::Do(t, _) | Effect::Abort(t) => *t,
        }
    };
    rig.open.iter().any(|effect| open(effect) == of(fact))
}
