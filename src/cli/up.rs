//! Composition root of `zlh up`: gateway, artifact server and an agent on this machine, everything on loopback by
//! default, all state under one folder. What a newcomer runs first.
//!
//! The gateway lives in this process, the other two are children in its process group: Ctrl-C reaches all, and the kernel
//! ends them if this process is killed.
mod child;

use super::{
    agent::logging,
    args::up::UpArgs,
    gateway::{Failure, Running, absolute, block_on, cannot, desk, say},
};
use crate::{
    actors::{
        doorkeeper::{Doorkeeper, Note},
        registry::{Changes, Refused, Wish},
    },
    config::{self, Sources},
    host::keyring,
    model::{
        gateway::{ContainerType, Role, settings::GatewaySettings},
        ids::Vmid,
        settings::Secret,
    },
    policy::code_server::is_shunned,
};
use child::Child;
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// The container that this machine is to its own gateway.
const VMID: Vmid = Vmid(1);
const ADMIN: &str = "admin";
/// Where the editor listens if the port for it cannot be: the agent's usual 8080 is the gateway's here.
const EDITOR_PORT: u16 = 18080;

pub fn run(args: UpArgs) -> ExitCode {
    let data = PathBuf::from(absolute(&args.data.clone().unwrap_or_else(default_data)));
    let settings = match settings(&args, &data) {
        Ok(settings) => settings,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("error: {fault}"));
            return super::agent::EXIT_CONFIG.into();
        }
    };
    logging::start(args.log_format);
    match block_on(settings.runtime.worker_threads, up(settings, data)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn default_data() -> PathBuf {
    match std::env::var_os("HOME") {
        Some(home) if nix::unistd::getuid().as_raw() != 0 => Path::new(&home).join(".local/share/zlh"),
        _ => PathBuf::from("/var/lib/zlh"),
    }
}

fn settings(args: &UpArgs, data: &Path) -> Result<GatewaySettings, Vec<config::Fault>> {
    let api = args.listen;
    // Any free port for one means any for both.
    let ide = SocketAddr::new(api.ip(), if api.port() == 0 { 0 } else { api.port().saturating_add(1) });
    let flags = vec![
        ("data", data.join("gateway").to_string_lossy().into_owned()),
        ("listen", api.to_string()),
        ("ide_listen", ide.to_string()),
    ];
    // The agent on this machine is what it is for.
    let set = [vec!["agents.allow_loopback=true".to_owned()], args.set.clone()].concat();
    config::gateway::load(&Sources::of_process(None, set, flags)).map(|(settings, _)| settings)
}

/// After the two of the gateway, unless any would do for them or browsers shun it.
fn editor_port(api: u16) -> u16 {
    let next = api.checked_add(2).filter(|port| api != 0 && !is_shunned(*port));
    next.unwrap_or(EDITOR_PORT)
}

async fn up(mut settings: GatewaySettings, data: PathBuf) -> Result<(), Failure> {
    let mut stop = super::agent::Stop::listen().map_err(cannot("listen for signals"))?;
    make_folders(&data).map_err(cannot(format!("make {}", data.display())))?;
    let token = agent_token(&data.join("agent.token")).map_err(cannot("keep the agent's token"))?;
    let mut artifacts = Child::start("artifacts", &artifact_words(&data)).await?;
    settings.artifacts_url = Some(artifacts.url());
    let editor = editor_port(settings.listen.port());
    let mut agent = Child::start("agent", &agent_words(&data, &artifacts.url(), editor)).await?;
    let mut running = Running::start(Arc::new(settings)).await?;
    let login = first_login(&running.gateway.doorkeeper).await?;
    enrol(&running, agent.at, editor, token).await?;
    running.announce();
    announce(&running, login.as_deref(), &data);
    let ended = tokio::select! {
        biased;
        () = stop.asked() => Ok(()),
        why = running.root.failed() => Err(Failure(format!("the gateway's actors gave up: {why}"))),
        ended = artifacts.ended() => ended,
        ended = agent.ended() => ended,
    };
    let stopped = running.stop().await;
    tokio::join!(agent.stop(), artifacts.stop());
    ended.and(stopped)
}

fn make_folders(data: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    // Games run as another user and must get through to their own folder.
    builder.mode(0o755).create(data.join("agent"))?;
    builder.mode(0o755).create(data.join("artifacts"))
}

fn artifact_words(data: &Path) -> Vec<String> {
    let store = data.join("artifacts").to_string_lossy().into_owned();
    ["artifacts", "--store", &store, "serve", "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec()
}

fn agent_words(data: &Path, artifacts: &str, editor: u16) -> Vec<String> {
    let path = |name: &str| data.join(name).to_string_lossy().into_owned();
    let (root, token, vmid) = (path("agent"), path("agent.token"), VMID.to_string());
    let words = ["agent", "--root", &root, "--listen", "127.0.0.1:0", "--vmid", &vmid, "--token-file", &token];
    let editor = format!("codeserver.port={editor}");
    // The editor asks for no password, the gateway is its door: nobody else on the network may come to it.
    let sets = ["--set", "on_agent_stop=stop", "--set", "codeserver.bind=127.0.0.1", "--set", &editor];
    words.into_iter().chain(["--artifacts-url", artifacts]).chain(sets).map(str::to_owned).collect()
}

/// The token that only this gateway and this agent know; made once.
fn agent_token(path: &Path) -> io::Result<Secret> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Secret(text.trim().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let text = keyring::secret_text()?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(text.as_bytes())?;
            Ok(Secret(text))
        }
        Err(e) => Err(e),
    }
}

/// The password of a first administrator, if there was nobody yet.
async fn first_login(doorkeeper: &Doorkeeper) -> Result<Option<String>, Failure> {
    if !doorkeeper.directory().people().users.is_empty() {
        return Ok(None);
    }
    let password = keyring::secret_text().map_err(cannot("make a password"))?;
    doorkeeper.add_user(ADMIN, Role::Admin, password.clone()).await.map_err(desk::refused(ADMIN))?;
    let note = Note { actor: "zlh up".into(), peer: None, action: "user add".into(), object: ADMIN.into() };
    doorkeeper.note(note, 200).await;
    Ok(Some(password))
}

/// Puts the agent of this machine into the registry, or corrects where it and its editor are now.
async fn enrol(running: &Running, at: SocketAddr, editor: u16, token: Secret) -> Result<(), Failure> {
    let registry = &running.gateway.registry;
    let people = running.gateway.doorkeeper.directory().people();
    let changes = Changes {
        address: Some(at.ip().to_string()),
        agent_port: Some(at.port()),
        ide_port: Some(editor),
        agent_token: Some(token.clone()),
        ..Changes::default()
    };
    let done = match registry.change(VMID, changes).await {
        Err(Refused::Absent) => {
            let admin = people.users.values().find(|user| user.role == Role::Admin);
            let wish = Wish {
                vmid: VMID.0,
                name: "this machine".into(),
                container_type: ContainerType::Game,
                owner: admin.map_or_else(|| ADMIN.to_owned(), |user| user.name.clone()),
                address: at.ip().to_string(),
                agent_port: at.port(),
                ide_port: editor,
                agent_token: Some(token),
            };
            registry.add(wish).await
        }
        done => done,
    };
    done.map(|_| ()).map_err(|refused| Failure(format!("the agent cannot be registered: {refused:?}")))
}

fn announce(running: &Running, login: Option<&str>, data: &Path) {
    say(&format!("portal http://{}/", running.api));
    if let Some(password) = login {
        say(&format!("first login: {ADMIN} {password} (shown this once)"));
    }
    say(&format!("this machine is server {VMID}; all state is in {}; Ctrl-C ends everything", data.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_editor_is_on_the_port_after_the_gateways_two() {
        // Any port; the last ones; one that browsers shun.
        for (api, editor) in [(8080, 8082), (0, EDITOR_PORT), (65534, EDITOR_PORT), (5058, EDITOR_PORT)] {
            assert_eq!(editor_port(api), editor, "{api}");
        }
    }
}
