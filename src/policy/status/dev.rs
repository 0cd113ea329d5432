//! The dev container's share of the status.
use super::{DevPart, Finding, GamePart, Parts, fold_crash, fold_operation};
use crate::{
    model::{
        phase::State,
        snapshot::{Snapshot, Warning},
        time::BootTime,
    },
    policy::code_server::idle,
};

/// Its readiness is its set-up: there is no process to probe.
const READY_SOURCE: &str = "provisioned";

pub fn fold(s: &mut Snapshot, parts: &Parts, now: BootTime) {
    let (dev, editor) = (&parts.dev, &parts.code_server);
    s.state = dev.state;
    s.ready = dev.provisioned && !dev.recovering;
    s.ready_source = READY_SOURCE.into();
    s.ready_error = dev.failure.clone().unwrap_or_default();
    s.last_ready_at = dev.ready_at;
    s.install_step = dev.install_step.clone();
    s.install_progress = dev.install_progress;
    s.provisioning_complete = dev.provisioned;
    s.provisioning_error = dev.failure.clone();
    s.runtime_installed = dev.runtime_installed;
    s.dev_provisioned = dev.provisioned;
    s.dev_ready_at = dev.ready_at;
    s.workspace_root = dev.workspace.clone();
    s.warnings = dev.warnings.clone();
    s.error = dev.failure.clone();
    s.config = dev.config.clone().unwrap_or_else(|| serde_json::json!({}));
    fold_editor(s, editor, now);
    fold_use(s, parts);
    fold_operation(s, editor.operation.as_ref());
    fold_operation(s, dev.operation.as_ref());
}

/// The editor is the process of a dev container. That it is down says nothing about the set-up, so the state stays.
fn fold_editor(s: &mut Snapshot, editor: &GamePart, now: BootTime) {
    if !editor.configured {
        return;
    }
    s.code_server_installed = editor.provisioned;
    s.code_server_running = editor.ready;
    s.code_server_port = editor.process.and(editor.ports.first().copied());
    s.process_running = editor.process.is_some();
    s.pid = editor.process.map(|p| p.pid);
    s.started_at = editor.process.map(|p| p.started_at);
    s.uptime_seconds = editor.process.map_or(0, |p| now.since(p.started).as_secs());
    fold_crash(s, editor);
    s.warnings.extend(editor.warnings.iter().cloned());
    let why = editor.error.as_ref().or(editor.provisioning_error.as_ref());
    s.warnings.extend(
        why.map(|why| Warning {
            code: "code_server_down".into(),
            message: format!("the editor is not running: {why}"),
        }),
    );
}

/// What it takes, and whether anybody uses it.
fn fold_use(s: &mut Snapshot, parts: &Parts) {
    let editor = &parts.code_server;
    if !editor.configured {
        return;
    }
    s.code_server_state = Some(editor.state);
    s.code_server_memory_bytes = editor.process.map(|_| parts.usage.memory_bytes);
    s.code_server_activity = parts.activity.clone().filter(|_| editor.process.is_some());
    s.code_server_idle_stopped = editor.stopped_by.as_deref() == Some(idle::HOLDER);
    if s.code_server_idle_stopped {
        s.warnings.push(Warning { code: "code_server_idle_stopped".into(), message: idle::STOPPED.into() });
    }
}

pub fn findings(dev: &DevPart) -> Vec<Finding> {
    let agent = ("agent", !dev.recovering, "the agent is finding out what its predecessor did".into());
    let why = match (&dev.failure, dev.state) {
        (Some(failure), _) => failure.clone(),
        (None, State::Installing) => format!("the set-up is going on: {}", dev.install_step),
        (None, _) => "the dev container is not set up yet".into(),
    };
    vec![
        agent,
        ("config", dev.configured, "no configuration was ever accepted".into()),
        ("install", dev.provisioned, why),
    ]
}

#[cfg(test)]
mod tests {
    use crate::{
        model::{
            phase::State,
            time::{BootTime, WallTime},
        },
        policy::status::{DevPart, GamePart, Parts, findings, fold},
    };

    const NOW: (BootTime, WallTime) = (BootTime(std::time::Duration::ZERO), WallTime(7_000));

    fn parts(dev: DevPart) -> Parts {
        Parts { dev: DevPart { configured: true, ..dev }, ..Parts::default() }
    }

    #[test]
    fn a_provisioned_dev_container_is_running_and_ready() {
        let dev = DevPart {
            state: State::Running,
            provisioned: true,
            runtime_installed: true,
            ready_at: Some(WallTime(5_000)),
            workspace: Some("/home/dev/workspace".into()),
            config: Some(serde_json::json!({"vmid": 6001})),
            ..DevPart::default()
        };
        let s = fold(&parts(dev.clone()), NOW);
        assert_eq!((s.container_type.as_str(), s.state, s.vmid), ("dev", State::Running, 6001));
        assert!(s.ready && s.dev_provisioned && s.provisioning_complete && s.runtime_installed);
        assert_eq!((s.dev_ready_at, s.workspace_root.as_deref()), (Some(WallTime(5_000)), Some("/home/dev/workspace")));
        assert!(findings(&parts(dev)).iter().all(|f| f.1 && f.2.is_empty()));
    }

    #[test]
    fn a_failed_set_up_says_why_everywhere() {
        let dev = DevPart { state: State::Error, failure: Some("installing node 22: no".into()), ..DevPart::default() };
        let s = fold(&parts(dev.clone()), NOW);
        assert_eq!((s.state, s.ready, s.server_root), (State::Error, false, None));
        for said in [&s.error, &s.provisioning_error] {
            assert_eq!(said.as_deref(), Some("installing node 22: no"));
        }
        let failing: Vec<_> = findings(&parts(dev)).into_iter().filter(|f| !f.1).map(|f| (f.0, f.2)).collect();
        assert_eq!(failing, [("install", "installing node 22: no".to_owned())]);
    }

    #[test]
    fn a_reborn_actor_forgets_nothing_that_was_said() {
        let mut parts = parts(DevPart { state: State::Running, provisioned: true, ..DevPart::default() });
        parts.game = GamePart { recovering: true, ..GamePart::default() };
        parts.take_dev(DevPart { recovering: true, ..DevPart::default() });
        let s = fold(&parts, NOW);
        assert_eq!(
            (s.container_type.as_str(), s.state, s.ready, s.dev_provisioned),
            ("dev", State::Running, false, true)
        );
    }
}
