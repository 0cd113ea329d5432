//! Is anybody using the editor? Decided from what the machine counts, sample by sample; the editor's own heartbeat file
//! is not asked: any request touches it, and an open page keeps it fresh for ever.
//!
//! | sign | what counts | what does not |
//! |---|---|---|
//! | traffic | a connection that *sent* more than `idle_traffic` a minute | an open page: heartbeats, acknowledgements; bytes we send |
//! | terminal | anything typed or printed at a terminal of the account | the terminal that the editor itself was started in |
//! | cpu | more than `idle_cpu` of a core since the last sample | timers, probes, an open page |
//!
//! Where nobody can tell how much a connection sent, that it is there counts: better an idle editor too many than one
//! that is stopped under somebody's hands.
use crate::model::{
    activity::{Activity, Connection, Sample, Sign},
    settings::Codeserver,
    time::{BootTime, WallTime},
};
use std::{collections::BTreeMap, time::Duration};

/// Under this name an idle editor is stopped.
pub const HOLDER: &str = "idle_stop";
/// What the status says of such an editor.
pub const STOPPED: &str = "nobody used the editor for codeserver.idle_stop, so it was stopped; \
                           `zlh codeserver start`, or POST /dev/codeserver/start, starts it again";
/// A sample that came this many times later than it should: the machine was asleep, and nobody's use was counted.
const OVERSLEPT: u32 = 3;
const MINUTE: f64 = 60.0;

type Now = (BootTime, WallTime);

/// What is known of the use of one life of the editor.
#[derive(Clone, Debug)]
pub struct Watch {
    rules: Codeserver,
    /// The editor's main process; another one begins anew.
    pid: i32,
    seen: Seen,
    active: Now,
    sign: Sign,
}

#[derive(Clone, Debug)]
struct Seen {
    at: BootTime,
    received: BTreeMap<u64, u64>,
    connections: usize,
    terminals: u64,
}

impl Watch {
    /// From now on; whatever was before is not known, so it counts as used now.
    pub fn begin(rules: &Codeserver, pid: i32, now: Now, first: &Sample) -> Watch {
        Watch { rules: rules.clone(), pid, seen: Seen::of(now.0, first), active: now, sign: Sign::Start }
    }

    pub fn is_of(&self, pid: i32) -> bool {
        self.pid == pid
    }

    /// One more sample. True: it was not used for `codeserver.idle_stop` and is to be stopped.
    pub fn on_sample(&mut self, now: Now, sample: &Sample) -> bool {
        let overslept = now.0.since(self.seen.at) > self.rules.idle_sample * OVERSLEPT;
        let sign = if overslept { Some(Sign::Start) } else { self.sign_in(now.0, sample) };
        self.seen = Seen::of(now.0, sample);
        if let Some(sign) = sign {
            (self.active, self.sign) = (now, sign);
        }
        now.0.since(self.active.0) >= self.rules.idle_stop
    }

    fn sign_in(&self, now: BootTime, sample: &Sample) -> Option<Sign> {
        let passed = now.since(self.seen.at);
        if sample.connections.iter().any(|connection| self.is_used(connection, passed)) {
            return Some(Sign::Traffic);
        }
        if sample.terminals != self.seen.terminals {
            return Some(Sign::Terminal);
        }
        (sample.cpu_percent > self.rules.idle_cpu * 100.0).then_some(Sign::Cpu)
    }

    fn is_used(&self, connection: &Connection, passed: Duration) -> bool {
        let Some(received) = connection.received else { return true };
        let before = self.seen.received.get(&connection.id).copied().unwrap_or(0);
        let allowed = self.rules.idle_traffic as f64 * passed.as_secs_f64() / MINUTE;
        received.saturating_sub(before) as f64 > allowed
    }

    /// For the status.
    pub fn activity(&self) -> Activity {
        let after = i64::try_from(self.rules.idle_stop.as_millis()).unwrap_or(i64::MAX);
        Activity {
            last_active_at: self.active.1,
            last_activity: self.sign,
            connections: self.seen.connections,
            idle_stop_at: WallTime(self.active.1.0.saturating_add(after)),
        }
    }
}

impl Seen {
    fn of(at: BootTime, sample: &Sample) -> Seen {
        let counted = sample.connections.iter().filter_map(|c| Some((c.id, c.received?)));
        Seen { at, received: counted.collect(), connections: sample.connections.len(), terminals: sample.terminals }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PID: i32 = 4121;

    fn rules() -> Codeserver {
        Codeserver {
            idle_stop: minutes(30),
            idle_sample: seconds(30),
            idle_traffic: 2048,
            idle_cpu: 0.1,
            ..Codeserver::default()
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn minutes(n: u64) -> Duration {
        seconds(60 * n)
    }

    fn at(since: Duration) -> Now {
        (BootTime(since), WallTime(1_000_000 + since.as_millis() as i64))
    }

    fn received(bytes: u64) -> Sample {
        Sample { connections: vec![Connection { id: 7, received: Some(bytes) }], ..Sample::default() }
    }

    fn begun() -> Watch {
        Watch::begin(&rules(), PID, at(Duration::ZERO), &received(1000))
    }

    #[test]
    fn signs_by_table() {
        let uncounted = Sample { connections: vec![Connection { id: 7, received: None }], ..Sample::default() };
        let fresh =
            |bytes| Sample { connections: vec![Connection { id: 8, received: Some(bytes) }], ..Sample::default() };
        let rows: [(&str, Sample, Option<Sign>); 11] = [
            ("nothing moves", received(1000), None),
            ("an open page: half a minute's share of 2 KiB a minute", received(1000 + 1024), None),
            ("one byte more than that", received(1000 + 1025), Some(Sign::Traffic)),
            ("a new connection that only says hello", fresh(700), None),
            ("a new connection: a page is loaded", fresh(9000), Some(Sign::Traffic)),
            ("who cannot be counted counts as used", uncounted, Some(Sign::Traffic)),
            ("nobody is there any more", Sample::default(), None),
            ("a key, or a line of output", Sample { terminals: 1, ..received(1000) }, Some(Sign::Terminal)),
            ("a tenth of a core", Sample { cpu_percent: 10.0, ..received(1000) }, None),
            ("a build, with every page closed", Sample { cpu_percent: 97.0, ..Sample::default() }, Some(Sign::Cpu)),
            (
                "traffic is told before all else",
                Sample { cpu_percent: 97.0, terminals: 1, ..received(9000) },
                Some(Sign::Traffic),
            ),
        ];
        for (what, sample, sign) in rows {
            let mut watch = begun();
            assert!(!watch.on_sample(at(seconds(30)), &sample), "{what}");
            let told = watch.activity();
            assert_eq!(told.last_activity, sign.unwrap_or(Sign::Start), "{what}");
            assert_eq!(told.last_active_at == at(seconds(30)).1, sign.is_some(), "{what}");
        }
    }

    #[test]
    fn it_is_stopped_exactly_when_nothing_was_seen_for_so_long() {
        let mut watch = begun();
        let mut bytes = 1000;
        let mut stopped = None;
        for sample in 1..=200 {
            // Used for ten minutes; then its page stays open, with its heartbeats.
            bytes += if sample <= 20 { 5000 } else { 300 };
            if watch.on_sample(at(seconds(30 * sample)), &received(bytes)) {
                stopped.get_or_insert(seconds(30 * sample));
            }
        }
        assert_eq!(stopped, Some(minutes(40)));
        let told = watch.activity();
        assert_eq!(
            (told.last_active_at, told.idle_stop_at, told.connections),
            (at(minutes(10)).1, at(minutes(40)).1, 1)
        );
    }

    #[test]
    fn a_machine_that_slept_stops_nothing_when_it_wakes() {
        let mut watch = begun();
        assert!(!watch.on_sample(at(minutes(600)), &received(1000)));
        assert_eq!(watch.activity().last_activity, Sign::Start);
        assert!(watch.is_of(PID) && !watch.is_of(1));
    }

    proptest! {
        /// However it is sampled: no stop within `idle_stop` of a sign, and one at the first sample after it.
        #[test]
        fn never_early_and_never_late(signs in prop::collection::vec(prop::bool::weighted(0.05), 1..300)) {
            let mut watch = begun();
            let mut last = Duration::ZERO;
            for (n, used) in signs.into_iter().enumerate() {
                let now = seconds(30 * (n as u64 + 1));
                let sample = Sample { cpu_percent: if used { 50.0 } else { 0.0 }, ..received(1000) };
                if used {
                    last = now;
                }
                prop_assert_eq!(watch.on_sample(at(now), &sample), now - last >= minutes(30));
            }
        }
    }
}
