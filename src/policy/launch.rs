//! From a `/config` body to a workload that can be launched, or to the field that is unusable and what it may be.
//!
//! ```text
//! JSON ──read──► ConfigBody ──questions──► Questions ──(host looks)──► Machine
//!                     └───────────────resolve(…, machine)──────────────► Resolved
//! ```
//! `read` and `resolve` with an older [`Machine`] suffice to accept or refuse a request; before each launch the machine
//! is looked at again, because a Java may have been installed and a server updated meanwhile. Nothing here touches
//! anything: a refused body changes nothing.
mod body;
mod checks;
mod custom;
mod echo;
mod furnish;
mod ladder;
mod ready;
mod runtime;
mod template;

pub use body::read;
pub use echo::echo;

use crate::model::{
    furnishing::Furnishing,
    game::{ConfigBody, ConsoleKind, GameDefinition, Games, Variant},
    machine::{Machine, Questions},
    refusal::Refusal,
    settings::Settings,
    snapshot::Warning,
    workload::{ConsoleInput, WorkloadSpec},
};
use std::{collections::BTreeMap, path::PathBuf};
use template::Variables;

const MIB: u64 = 1 << 20;
/// Folder name where a game has no variants.
const NO_VARIANT: &str = "default";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/games:/usr/games";

/// A body that can be launched, and what its owner should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub spec: WorkloadSpec,
    /// Codes: `unknown_fields`, `vmid_mismatch`, `memory_exceeds_limit`, `stop_budget_exceeds_grace`,
    /// `runtime_not_found`, `runtime_major_differs`, `runs_as_root`.
    pub warnings: Vec<Warning>,
}

fn unusable(field: impl Into<String>, detail: impl Into<String>) -> Refusal {
    Refusal::Unusable { field: field.into(), detail: detail.into() }
}

fn warning(code: &str, message: String) -> Warning {
    Warning { code: code.to_owned(), message }
}

/// What the machine must be asked before `body` can be resolved.
pub fn questions(body: &ConfigBody, games: &Games, settings: &Settings) -> Result<Questions, Refusal> {
    let choice = Choice::of(body, games)?;
    Ok(Questions {
        server_root: choice.server_root(body, settings),
        globs: choice.entries().to_vec(),
        runtime: choice.game.runtime.as_ref().map(|rule| rule.name.clone()),
    })
}

/// What has to be installed and written before a launch, as far as this machine lacks it.
pub fn furnishing(
    body: &ConfigBody,
    games: &Games,
    machine: &Machine,
    settings: &Settings,
) -> Result<Furnishing, Refusal> {
    let choice = Choice::of(body, games)?;
    let mut unsaid = Vec::new();
    let memory = memory(body, choice.game, machine, &mut unsaid)?;
    let ports = body.ports.clone().unwrap_or_else(|| choice.game.ports.clone());
    let console = console(body, choice.game, machine, &ports)?;
    let numbers = Numbers { memory, ports: &ports, console: &console };
    let variables = variables(body, &choice, machine, settings, &numbers, &mut unsaid);
    furnish::furnishing(body, &choice, machine, &variables, settings)
}

/// Everything needed to launch, prove, stop and judge the workload.
pub fn resolve(body: &ConfigBody, games: &Games, machine: &Machine, settings: &Settings) -> Result<Resolved, Refusal> {
    let choice = Choice::of(body, games)?;
    let mut warnings = general_warnings(body, settings);
    let root = choice.server_root(body, settings);
    let memory = memory(body, choice.game, machine, &mut warnings)?;
    let ports = body.ports.clone().unwrap_or_else(|| choice.game.ports.clone());
    let console = console(body, choice.game, machine, &ports)?;
    let user = user(body, choice.game, machine, settings, &mut warnings)?;
    let variables = variables(
        body,
        &choice,
        machine,
        settings,
        &Numbers { memory, ports: &ports, console: &console },
        &mut warnings,
    );
    let stop = ladder::resolve(body.stop.as_ref().unwrap_or(&choice.game.stop))?;
    warnings.extend(ladder::budget_warning(&stop, settings.stop.grace));
    let spec = WorkloadSpec {
        game: choice.game.id.clone(),
        variant: choice.name.to_owned(),
        argv: choice.argv(body, &variables)?,
        env: environment(body, choice.game, &variables, user.as_deref().unwrap_or(&machine.account), machine)?,
        requires: choice.requires(&variables),
        signatures: choice.joined(&choice.game.signatures, |v| &v.signatures),
        watched_files: choice.joined(&choice.game.watched_files, |v| &v.watched_files),
        ready: ready::resolve(body.ready.as_ref().unwrap_or(&choice.game.ready), &ports, settings.ready.within)?,
        stop_commands: ladder::commands(&stop, &choice.game.stop_commands),
        max_processes: Some(settings.game.max_processes),
        memory_bytes: body.memory_mb.map(|mb| mb * MIB),
        dump_signal: choice.game.dump_signal,
        ports: held_ports(ports, &console),
        cwd: root,
        user,
        stop,
        console,
    };
    Ok(Resolved { spec, warnings })
}

/// The definition a body picks.
struct Choice<'a> {
    game: &'a GameDefinition,
    /// Empty for a game without variants.
    name: &'a str,
    variant: Option<&'a Variant>,
}

impl<'a> Choice<'a> {
    fn of(body: &ConfigBody, games: &'a Games) -> Result<Choice<'a>, Refusal> {
        let game = games.0.get(&body.game).ok_or_else(|| {
            unusable("game", format!("{:?} is not known; allowed: {}", body.game, checks::listed(games.0.keys())))
        })?;
        let wanted = body.variant.as_deref().or(game.default_variant.as_deref());
        match wanted {
            None => Ok(Choice { game, name: "", variant: None }),
            Some(name) => match game.variants.get_key_value(name) {
                Some((name, variant)) => Ok(Choice { game, name, variant: Some(variant) }),
                None if game.variants.is_empty() && name == NO_VARIANT => Ok(Choice { game, name: "", variant: None }),
                None if game.variants.is_empty() => {
                    Err(unusable("variant", format!("{} has no variants; leave it out", game.id)))
                }
                None => {
                    let allowed = checks::listed(game.variants.keys());
                    Err(unusable("variant", format!("{} has no variant {name:?}; allowed: {allowed}", game.id)))
                }
            },
        }
    }

    fn is_custom(&self) -> bool {
        self.game.launch.argv.is_empty()
    }

    fn server_root(&self, body: &ConfigBody, settings: &Settings) -> PathBuf {
        let base = settings.root.join("opt/zlh").join(&self.game.id);
        if self.is_custom() {
            return custom::server_root(base, body.workdir.as_deref());
        }
        base.join(self.folder()).join(world(body))
    }

    /// What stands for the variant in paths.
    fn folder(&self) -> &str {
        if self.name.is_empty() { NO_VARIANT } else { self.name }
    }

    fn entries(&self) -> &[String] {
        match self.variant {
            Some(variant) if !variant.entry.is_empty() => &variant.entry,
            _ => &self.game.launch.entry,
        }
    }

    /// The file the launch starts from; the first pattern itself as long as nothing is installed.
    fn entry(&self, machine: &Machine) -> Option<String> {
        let found = |glob: &String| machine.files.get(glob).and_then(|files| files.last()).cloned();
        self.entries().iter().find_map(found).or_else(|| self.entries().first().cloned())
    }

    fn argv(&self, body: &ConfigBody, variables: &Variables) -> Result<Vec<String>, Refusal> {
        if self.is_custom() {
            return custom::argv(body);
        }
        let own = self.variant.map(|v| v.arguments.as_slice()).unwrap_or_default();
        self.game.launch.argv.iter().chain(own).map(|text| variables.expand(text)).collect()
    }

    fn requires(&self, variables: &Variables) -> Vec<String> {
        let mut all = self.joined(&self.game.launch.requires, |v| &v.requires);
        all.extend(variables.get("entry").map(str::to_owned));
        all
    }

    fn joined(&self, game: &[String], of: impl Fn(&'a Variant) -> &'a Vec<String>) -> Vec<String> {
        let mut all = game.to_vec();
        all.extend(self.variant.map(of).into_iter().flatten().cloned());
        all
    }
}

fn world(body: &ConfigBody) -> &str {
    body.world.as_deref().unwrap_or("world")
}

fn general_warnings(body: &ConfigBody, settings: &Settings) -> Vec<Warning> {
    let mut out = Vec::new();
    if !body.unknown.is_empty() {
        out.push(warning("unknown_fields", format!("ignored in /config: {}", checks::listed(&body.unknown))));
    }
    if let Some(own) = settings.vmid.filter(|own| *own != body.vmid) {
        out.push(warning("vmid_mismatch", format!("/config says vmid {}, this agent was told {own}", body.vmid)));
    }
    out
}

/// MiB the workload may count on: what was asked for, but never more than the container has.
fn memory(
    body: &ConfigBody,
    game: &GameDefinition,
    machine: &Machine,
    warnings: &mut Vec<Warning>,
) -> Result<Option<u64>, Refusal> {
    let limit = machine.memory_limit_bytes.map(|bytes| bytes / MIB);
    if let (Some(asked), Some(rule)) = (body.memory_mb, game.memory)
        && asked < rule.least_mb
    {
        return Err(unusable("memory_mb", format!("{} needs at least {}", game.id, rule.least_mb)));
    }
    if let (Some(asked), Some(limit)) = (body.memory_mb, limit)
        && asked > limit
    {
        let text = format!("memory_mb is {asked}, but this container has {limit} MiB; {limit} is used");
        warnings.push(warning("memory_exceeds_limit", text));
    }
    let wanted = body.memory_mb.or(game.memory.map(|rule| rule.default_mb));
    Ok(wanted.map(|mb| limit.map_or(mb, |limit| mb.min(limit))))
}

fn console(
    body: &ConfigBody,
    game: &GameDefinition,
    machine: &Machine,
    ports: &[u16],
) -> Result<ConsoleInput, Refusal> {
    match &game.console {
        ConsoleKind::Pty => Ok(ConsoleInput::Pty),
        ConsoleKind::Fifo { path } => Ok(ConsoleInput::Fifo { path: path.clone() }),
        ConsoleKind::Econ => {
            let next = || ports.first().and_then(|first| first.checked_add(1));
            let port = ports.get(1).copied().or_else(next).ok_or_else(|| {
                unusable("ports", format!("{} needs a second port for its console; name it as ports[1]", game.id))
            })?;
            let password = match &body.admin_pass {
                Some(secret) => checks::plain_password("admin_pass", &secret.0)?,
                None => machine.secret.clone(),
            };
            Ok(ConsoleInput::Econ { port, password })
        }
    }
}

/// The console's port is waited for like the game's own.
fn held_ports(mut ports: Vec<u16>, console: &ConsoleInput) -> Vec<u16> {
    if let ConsoleInput::Econ { port, .. } = console
        && !ports.contains(port)
    {
        ports.push(*port);
    }
    ports
}

fn user(
    body: &ConfigBody,
    game: &GameDefinition,
    machine: &Machine,
    settings: &Settings,
    warnings: &mut Vec<Warning>,
) -> Result<Option<String>, Refusal> {
    let asked = body.user.as_ref().or(game.user.as_ref());
    if !machine.is_root {
        return match asked {
            Some(name) if body.user.is_some() && *name != machine.account => {
                let detail = format!("the agent is not root and can only use its own account, {:?}", machine.account);
                Err(unusable("user", detail))
            }
            _ => Ok(None),
        };
    }
    let name = asked.unwrap_or(&settings.game.user);
    if name == "root" {
        let text = "the workload runs as root: a hole in it is a hole in the whole container".to_owned();
        warnings.push(warning("runs_as_root", text));
    }
    Ok(Some(name.clone()))
}

/// What was decided before the texts are filled in.
struct Numbers<'a> {
    memory: Option<u64>,
    ports: &'a [u16],
    console: &'a ConsoleInput,
}

fn variables(
    body: &ConfigBody,
    choice: &Choice<'_>,
    machine: &Machine,
    settings: &Settings,
    numbers: &Numbers<'_>,
    warnings: &mut Vec<Warning>,
) -> Variables {
    let mut out = Variables::default();
    out.set("root", Some(choice.server_root(body, settings).to_string_lossy().into_owned()));
    out.set("world", Some(world(body).to_owned()));
    out.set("variant", Some(choice.name.to_owned()));
    out.set("version", body.version.clone());
    out.set("entry", choice.entry(machine));
    out.set("port", numbers.ports.first().map(u16::to_string));
    out.set("memory_mb", numbers.memory.map(|mb| mb.to_string()));
    out.set("heap_mb", numbers.memory.map(|mb| runtime::heap_mb(mb).to_string()));
    if let ConsoleInput::Econ { port, password } = numbers.console {
        out.set("econ_port", Some(port.to_string()));
        out.set("econ_password", Some(password.clone()));
    }
    if let Some(rule) = &choice.game.runtime {
        let program = runtime::program(rule, body, machine, settings, warnings);
        out.set(&rule.name, Some(program));
    }
    out
}

fn environment(
    body: &ConfigBody,
    game: &GameDefinition,
    variables: &Variables,
    account: &str,
    machine: &Machine,
) -> Result<BTreeMap<String, String>, Refusal> {
    let root = variables.get("root").unwrap_or("/");
    let timezone = if machine.timezone.is_empty() { "UTC" } else { &machine.timezone };
    let base = [
        ("PATH", PATH),
        ("HOME", root),
        ("USER", account),
        ("LOGNAME", account),
        ("SHELL", "/bin/sh"),
        ("TERM", "xterm-256color"),
        ("LANG", "C.UTF-8"),
        ("TZ", timezone),
    ];
    let mut env: BTreeMap<String, String> = base.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    for (name, text) in &game.launch.env {
        env.insert(name.clone(), variables.expand(text)?);
    }
    env.extend(body.env.clone());
    Ok(env)
}

#[cfg(test)]
mod tests;
