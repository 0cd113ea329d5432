//! The editor in the browser: what is launched, which of the machine's processes are it, and whether its own
//! configuration lets it come up. Pure; how it is supervised is `policy::game_server`'s, as for a game.
mod config;
pub mod idle;
mod port;
mod process;
#[cfg(test)]
mod tests;

pub use config::{Judged, judge};
pub use port::{check_port, is_shunned};
pub use process::{Role, claims, is_its_program};

use crate::{
    model::{
        settings::Settings,
        workload::{Readiness, ReadyProbe, StopStep, WorkloadSpec},
    },
    policy::game_server::command::Resolved,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Name of the workload: of its keeper, its state and its place beneath `/opt/zlh/services`.
pub const NAME: &str = "code-server";
/// Where versions of it lie beneath the root.
pub const SHELF: &str = "opt/zlh/services/code-server";
const SIGTERM: i32 = 15;
/// It ends within milliseconds, with terminals open within seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// What this machine has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The installed version's folder.
    pub install: PathBuf,
    pub workspace: PathBuf,
    pub env: BTreeMap<String, String>,
    /// `None`: the agent's own account.
    pub user: Option<String>,
}

/// What is saved and compared: the container's number is all that its launch depends on besides settings and machine.
pub fn body(vmid: u32) -> Value {
    json!({ "vmid": vmid })
}

pub fn resolved(body: Value, place: Place, settings: &Settings) -> Resolved {
    let vmid = body.get("vmid").and_then(Value::as_u64).unwrap_or_default();
    let spec = Arc::new(workload(vmid, place, settings));
    Resolved { spec, shown: body.clone(), body, warnings: Vec::new() }
}

fn workload(vmid: u64, place: Place, settings: &Settings) -> WorkloadSpec {
    let port = settings.codeserver.port;
    let argv = argv(vmid, &place.install, &place.workspace, settings);
    let probe = ReadyProbe::Http { port, path: "/healthz".into() };
    WorkloadSpec {
        user: place.user,
        max_processes: Some(settings.dev.max_processes),
        ports: vec![port],
        stop: vec![StopStep::Signal { signal: SIGTERM, wait: ENDS_WITHIN }],
        ready: Readiness { probe, within: settings.codeserver.ready_within },
        signatures: vec!["common".into(), "node".into()],
        ..WorkloadSpec::plain(NAME, argv, place.workspace, place.env)
    }
}

/// There is no `--base-path`: every address in its pages is relative, and it does not start with an option it does not
/// know.
fn argv(vmid: u64, install: &Path, workspace: &Path, settings: &Settings) -> Vec<String> {
    let own = &settings.codeserver;
    let program = install.join("bin/code-server").display().to_string();
    let bind = std::net::SocketAddr::new(own.bind, own.port).to_string();
    let mut argv = vec![program, "--bind-addr".into(), bind, "--auth".into(), "none".into()];
    argv.extend(["--disable-telemetry", "--disable-update-check"].map(str::to_owned));
    if let Some(path) = &own.abs_proxy_base_path {
        argv.extend(["--abs-proxy-base-path".to_owned(), path.replace("{vmid}", &vmid.to_string())]);
    }
    argv.push(workspace.display().to_string());
    argv
}
