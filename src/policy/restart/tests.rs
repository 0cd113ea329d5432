//! The restart rule by table and by property.
use super::*;
use crate::model::{crash::Classification, crash::Confidence, settings::Settings};
use proptest::prelude::*;
use std::collections::BTreeMap;

const S: fn(u64) -> Duration = Duration::from_secs;

fn rule() -> Restart {
    Restart { jitter: 0.0, ..Settings::default().restart }
}

fn at(seconds: u64) -> BootTime {
    BootTime(S(seconds))
}

fn verdict(code: &str, retry: Retry) -> Verdict {
    Verdict {
        classification: Classification::NonzeroExit,
        code: code.into(),
        confidence: Confidence::Certain,
        retry,
        rule: String::new(),
        reason: String::new(),
        hint: String::new(),
        captures: BTreeMap::new(),
        evidence: Vec::new(),
    }
}

/// Deaths of the given kinds, ten minutes apart; the delays in seconds, `None` where the rule gave up.
fn delays(rule: &Restart, deaths: &[(u64, Proof)]) -> Vec<Option<u64>> {
    let mut history = History::default();
    let mut step = |(i, (uptime, proof)): (usize, &(u64, Proof))| {
        let death = Death { at: at(600 * i as u64), uptime: S(*uptime), proof: *proof };
        match history.on_death(rule, death, 0.0) {
            Next::Again { delay, .. } => Some(delay.as_secs()),
            Next::GiveUp(_) => None,
        }
    };
    deaths.iter().enumerate().map(&mut step).collect()
}

#[test]
fn the_ladder_by_table() {
    use Proof::*;
    let r = rule();
    let patient = Restart { max_crashes_before_ready: 99, ..r.clone() };
    let ready = |s| ReadyFor(S(s));
    let (up, slow) = ((29, Unprobed), (45, NeverReady));
    type Row<'a> = (&'a str, &'a Restart, Vec<(u64, Proof)>, Vec<Option<u64>>);
    let rows: [Row; 6] = [
        ("four short lives", &r, vec![up; 4], vec![Some(30), Some(60), Some(120), None]),
        ("long loading is no success", &r, vec![slow; 4], vec![Some(30), Some(60), Some(120), None]),
        (
            "uptime forgives without a probe",
            &r,
            vec![up, up, (30, Unprobed), up],
            vec![Some(30), Some(60), Some(30), Some(60)],
        ),
        (
            "ready long enough forgives",
            &r,
            vec![slow, slow, (90, ready(30)), slow],
            vec![Some(30), Some(60), Some(30), Some(60)],
        ),
        (
            "ready too short does not",
            &r,
            vec![slow, slow, (90, ready(29)), slow],
            vec![Some(30), Some(60), Some(120), None],
        ),
        ("the ladder's end alone suffices", &patient, vec![slow; 4], vec![Some(30), Some(60), Some(120), None]),
    ];
    for (name, rule, deaths, want) in rows {
        assert_eq!(delays(rule, &deaths), want, "{name}");
    }
}

#[test]
fn a_long_ladder_still_ends_for_one_that_never_becomes_ready() {
    let rule = Restart { backoff: vec![S(1); 50], max_crashes_before_ready: 2, ..rule() };
    assert_eq!(delays(&rule, &[(500, Proof::NeverReady); 2]), [Some(1), None]);
}

#[test]
fn flapping_within_an_hour_ends_although_each_life_is_forgiven() {
    let rule = rule();
    let mut history = History::default();
    let mut life = |i: u64| {
        let death = Death { at: at(61 * i), uptime: S(31), proof: Proof::ReadyFor(S(31)) };
        history.on_death(&rule, death, 0.0)
    };
    for i in 0..10 {
        assert!(matches!(life(i), Next::Again { delay, .. } if delay == S(30)), "life {i}");
    }
    assert_eq!(life(10), Next::GiveUp("more than 10 crashes within an hour".into()));
}

#[test]
fn verdicts_end_it_early_and_a_person_forgives() {
    let mut h = History::default();
    h.on_death(&rule(), Death { at: at(0), uptime: S(1), proof: Proof::Unprobed }, 0.0);
    assert_eq!(h.on_verdict(&verdict("exit.nonzero", Retry::Ladder)), None);
    assert_eq!(h.on_verdict(&verdict("env.disk_full", Retry::Once)), None, "one retry");
    assert!(h.due.is_some());
    assert!(h.on_verdict(&verdict("env.disk_full", Retry::Once)).is_some(), "the same again");
    assert_eq!(h.due, None);
    assert!(h.on_verdict(&verdict("java.too_old", Retry::Never)).is_some());
    h.forgive();
    assert_eq!(h, History::default());
}

#[test]
fn the_history_survives_its_stored_form() {
    let mut h = History::default();
    h.on_death(&rule(), Death { at: at(7), uptime: S(1), proof: Proof::NeverReady }, 0.0);
    let text = serde_json::to_string(&h).unwrap();
    assert_eq!(serde_json::from_str::<History>(&text).unwrap(), h);
}

fn proof() -> impl Strategy<Value = Proof> {
    prop_oneof![Just(Proof::Unprobed), Just(Proof::NeverReady), (0u64..90).prop_map(|s| Proof::ReadyFor(S(s))),]
}

proptest! {
    /// Delays grow until a reset, never leave the ladder (plus jitter), and memory stays bounded.
    #[test]
    fn delays_are_monotone_until_forgiven(
        deaths in prop::collection::vec((0u64..4000, 0u64..90, proof()), 1..60), chance in 0.0f64..=1.0,
    ) {
        let rule = Restart { jitter: 0.1, ..rule() };
        let (mut h, mut now, mut last) = (History::default(), 0, Duration::ZERO);
        for (gap, uptime, proof) in deaths {
            now += gap;
            let death = Death { at: at(now), uptime: S(uptime), proof };
            if death.forgives(&rule) { last = Duration::ZERO }
            match h.on_death(&rule, death, chance) {
                Next::Again { delay, due, attempt } => {
                    prop_assert!(delay >= last && delay <= S(132));
                    prop_assert_eq!(h.due, Some(due));
                    prop_assert_eq!(attempt, h.streak);
                    last = delay;
                }
                Next::GiveUp(_) => prop_assert_eq!(h.due, None),
            }
            prop_assert!(h.recent.len() <= 11);
        }
    }

    /// What was certain beforehand is what comes, whenever and however a run that was ready dies.
    #[test]
    fn whoever_goes_on_at_once_does(
        rungs in prop::collection::vec(0u64..3, 0..6), per_hour in 0u32..6, chance in 0.0f64..=1.0,
        deaths in prop::collection::vec((0u64..2000, 0u64..90, proof()), 0..8), last in (0u64..4000, 0u64..90, any::<bool>()),
    ) {
        let backoff = rungs.into_iter().map(|rung| S(rung.saturating_sub(1))).collect();
        let rule = Restart { backoff, max_crashes_per_hour: per_hour, jitter: 0.1, ..rule() };
        let (mut h, mut now) = (History::default(), 0);
        for (gap, uptime, proof) in deaths {
            now += gap;
            h.on_death(&rule, Death { at: at(now), uptime: S(uptime), proof }, chance);
        }
        let sure = h.goes_on_at_once(&rule);
        let (gap, uptime, probed) = last;
        let proof = if probed { Proof::ReadyFor(S(uptime)) } else { Proof::Unprobed };
        let next = h.on_death(&rule, Death { at: at(now + gap), uptime: S(uptime), proof }, chance);
        if sure {
            prop_assert!(matches!(next, Next::Again { delay: Duration::ZERO, .. }), "{next:?}");
        }
    }

    /// Whatever happened before: enough short lives end it, and a forgiven history restarts at the first rung.
    #[test]
    fn giving_up_and_starting_over_are_always_reachable(before in prop::collection::vec((0u64..90, proof()), 0..20)) {
        let (rule, mut h, mut now) = (rule(), History::default(), 0);
        for (uptime, proof) in before {
            now += 600;
            h.on_death(&rule, Death { at: at(now), uptime: S(uptime), proof }, 0.0);
        }
        let short = |now| Death { at: at(now), uptime: S(1), proof: Proof::NeverReady };
        let ends: Vec<_> = (1..=4).map(|i| h.on_death(&rule, short(now + i), 0.0)).collect();
        prop_assert!(matches!(ends[3], Next::GiveUp(_)));
        h.forgive();
        let first = matches!(h.on_death(&rule, short(now + 9), 0.0), Next::Again { attempt: 1, .. });
        prop_assert!(first);
    }
}
