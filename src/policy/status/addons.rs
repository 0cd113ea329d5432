//! The addons' share of a dev container's status.
use super::GamePart;
use crate::model::{
    dev::Addon,
    snapshot::{AddonState, Snapshot, Warning},
};
use std::collections::BTreeMap;

/// That one is down says nothing about the set-up, so the container's state stays.
pub fn fold(s: &mut Snapshot, addons: &BTreeMap<Addon, GamePart>) {
    for (addon, part) in addons.iter().filter(|(_, part)| part.configured) {
        let state = state(*addon, part);
        s.warnings.extend(part.warnings.iter().cloned());
        s.warnings.extend(
            state
                .error
                .iter()
                .map(|why| Warning { code: "addon_down".into(), message: format!("{addon} is not running: {why}") }),
        );
        s.addons.push(state);
    }
}

fn state(addon: Addon, part: &GamePart) -> AddonState {
    AddonState {
        name: addon.as_str().into(),
        state: part.state,
        running: part.ready,
        pid: part.process.map(|process| process.pid),
        port: part.process.and(part.ports.first().copied()),
        started_at: part.process.map(|process| process.started_at),
        crash_count: part.crash_count,
        last_crash_reason: part.last_crash.as_ref().and_then(|crash| crash.reason.clone()),
        next_restart_at: part.next_restart_at,
        error: part.error.clone().or_else(|| part.provisioning_error.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            container::Kind,
            phase::State,
            time::{BootTime, WallTime},
        },
        policy::status::{Identity, Parts, ProcessPart, all_operations, fold},
    };

    const NOW: (BootTime, WallTime) = (BootTime(std::time::Duration::ZERO), WallTime(7_000));

    #[test]
    fn one_that_was_wanted_is_shown_and_one_that_is_down_warns() {
        let process = ProcessPart { pid: 7, started: BootTime::default(), started_at: WallTime(1) };
        let up = GamePart {
            configured: true,
            state: State::Running,
            ready: true,
            process: Some(process),
            ports: vec![2222],
            ..GamePart::default()
        };
        let mut parts =
            Parts { identity: Identity { kind: Some(Kind::Dev), ..Identity::default() }, ..Parts::default() };
        parts.take_addon(Addon::Sshd, up.clone());
        parts.take_addon(Addon::Tailscale, GamePart::default());
        let s = fold(&parts, NOW);
        assert_eq!(
            s.addons.iter().map(|a| (a.name.as_str(), a.running, a.port)).collect::<Vec<_>>(),
            [("sshd", true, Some(2222))]
        );
        assert!(s.warnings.is_empty() && all_operations(&parts).is_empty());
        parts.take_addon(Addon::Sshd, GamePart { recovering: true, ..GamePart::default() });
        let s = fold(&parts, NOW);
        assert_eq!((s.addons[0].pid, s.addons[0].running), (Some(7), false), "what was said stays");
        let down = GamePart { state: State::Error, error: Some("no".into()), process: None, ..up };
        parts.take_addon(Addon::Sshd, down);
        let s = fold(&parts, NOW);
        assert_eq!(s.warnings[0].message, "sshd is not running: no");
        parts.identity.kind = None;
        assert!(fold(&parts, NOW).addons.is_empty(), "a game has none");
    }
}
