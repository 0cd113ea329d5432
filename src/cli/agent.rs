//! Composition root of `zlh agent`: settings, doors to the machine, actors, listener; then it waits to be told to stop.
mod backing;
mod dev;
mod furnishing;
mod gauges;
mod installing;
mod judging;
pub mod logging;
mod probing;
mod resolving;
mod saving;
pub mod updating;
mod world;

use super::args::AgentArgs;
use crate::{
    actors::{
        addons::Addons,
        backup::Vault,
        code_server::{CodeServer, idle::IdleStop},
        container::Container,
        dev_provision::DevProvision,
        game_server::{GameServer, world::World},
        installer::Installer,
        root::{Child, Rest, Root, actor_rule},
        status::Status,
        terminal::Terminal,
        updater::Updater,
    },
    config::{self, Origins, Sources},
    host::{keeper_client::KeeperClient, listener, process, resident, rest, store::StoreError},
    http::{
        agent::{Agent, Build},
        hosts::Hosts,
        server,
    },
    keeper::init,
    model::{
        dev::Addon,
        ids::InstanceId,
        settings::{OnAgentStop, Settings},
    },
    policy::{game_server::command::Leaving, status::Identity},
};
use backing::MachineBackups;
use dev::{
    DevWorld,
    addon::{AddonWorld, Keepers},
    counting::EditorCounters,
    editor,
    services::Services,
    shells::Shells,
};
use gauges::MachineGauges;
use installing::MachineWorkshop;
use std::{io, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use updating::{Files, Handover, Life, MachineDepot};
use world::MachineWorld;

/// EX_SOFTWARE: the actors gave up; whoever supervises the agent starts a new one, and keepers make that harmless.
const EXIT_BROKEN: u8 = 70;
/// EX_CONFIG.
pub const EXIT_CONFIG: u8 = 78;
/// Threads for blocking calls (disk, /proc) leave after this long without work.
const IDLE_THREAD: Duration = Duration::from_secs(5);
const BLOCKING_THREADS: usize = 8;
/// What an ordered stop may take beyond the workload's own grace.
const FAREWELL_SLACK: Duration = Duration::from_secs(5);

/// The version as the wire writes it.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Runs the agent until it is told to stop.
pub fn run(args: AgentArgs) -> ExitCode {
    let settings = match config::load(sources(&args)) {
        Ok((settings, origins)) => {
            logging::start(args.log_format);
            log_settings(&origins);
            settings
        }
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("error: {fault}"));
            return EXIT_CONFIG.into();
        }
    };
    let life = updating::at_start(&settings);
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(settings.runtime.worker_threads)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(IDLE_THREAD)
        .enable_all()
        .build();
    let settings = Arc::new(settings);
    let lived = match runtime {
        Ok(runtime) => runtime.block_on(live(settings.clone(), life)),
        Err(e) => Err(Failure::Start(format!("cannot start the runtime: {e}"))),
    };
    let lived = lived.and_then(|next| match next {
        None => Ok(()),
        Some(next) => Err(Failure::Broken(format!(
            "cannot execute {}: {}",
            next.program.display(),
            updating::hand_over(&settings, &next)
        ))),
    });
    match lived {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.code()
        }
    }
}

fn sources(args: &AgentArgs) -> Sources {
    let text = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
    let flags = [
        ("root", args.root.as_ref().map(text)),
        ("listen", args.listen.map(|at| at.to_string())),
        ("vmid", args.vmid.map(|n| n.to_string())),
        ("artifacts_url", args.artifacts_url.clone()),
        ("token_file", args.token_file.as_ref().map(text)),
        ("allow_unauthenticated", args.allow_unauthenticated.then(|| "true".to_owned())),
    ];
    let given = flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    Sources::of_process(args.settings.config.clone(), args.settings.set.clone(), given)
}

fn log_settings(origins: &Origins) {
    for table in config::table() {
        let origin = origins.of(table.key);
        if origin != config::Origin::Default {
            tracing::debug!(key = table.key, %origin, "setting");
        }
    }
}

/// Why the agent ends other than by being told to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Start(String),
    #[error("the agent's actors gave up: {0}")]
    Broken(String),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Failure::Start(_) => ExitCode::FAILURE,
            Failure::Broken(_) => EXIT_BROKEN.into(),
        }
    }
}

fn cannot<E: std::fmt::Display>(what: &str) -> impl Fn(E) -> Failure {
    move |e| Failure::Start(format!("cannot {what}: {e}"))
}

/// Until it is told to stop, or which program comes next.
async fn live(settings: Arc<Settings>, life: Life) -> Result<Option<Handover>, Failure> {
    let mut stop = Stop::listen().map_err(cannot("listen for signals"))?;
    // An adopted run whose keeper died becomes our child, so that its exit status is not lost.
    process::set_child_subreaper().map_err(cannot("become a subreaper"))?;
    let listener = listener::listen(settings.listen)
        .await
        .map_err(|e| Failure::Start(format!("cannot listen on {}: {e}", settings.listen)))?;
    let address = listener.local_addr().map_err(cannot("read the listener's address"))?;
    let Actors { status, container, addons, installer, updater, handover, children } = actors(&settings)?;
    let workloads = Workloads {
        game: container.game.clone(),
        code_server: container.code_server.clone(),
        addons,
        backups: container.backups.clone(),
    };
    let rest: Rest = Arc::new(|time| Box::pin(rest::rest(time)));
    let mut root = Root::spawn_resting(children, actor_rule(), rest).await.map_err(cannot("start the root actor"))?;
    let (drain, drained) = watch::channel(false);
    let (container, installer, updates) = (Arc::new(container), Arc::new(installer), Arc::new(updater.clone()));
    let hosts = hosts(&settings, address);
    let face = Agent::new(status.reader(), container, installer, updates, &settings, hosts, build()).face();
    let server = tokio::spawn(serve(listener, face, settings.clone(), drained));
    tokio::spawn(resident::travel_light());
    println!("listening agent http://{address}");
    life.expect_watchdog();
    if life.on_trial {
        tokio::spawn(updating::stand_trial(settings.clone(), status, address, updater, handover.clone()));
    }
    let mut next = handover.subscribe();
    let next = tokio::select! {
        () = stop.asked() => None,
        why = root.failed() => return Err(Failure::Broken(why)),
        Ok(next) = next.wait_for(Option::is_some) => next.clone(),
    };
    match &next {
        None => {
            tracing::info!("asked to stop");
            life.ends_by_order().await;
            root.shut_down(farewell(leaving(&settings), &settings, &workloads)).await;
        }
        Some(next) => {
            tracing::info!(program = %next.program.display(), "handing over to another version");
            root.shut_down(farewell(Leaving::Leave, &settings, &workloads)).await;
        }
    }
    drain.send_replace(true);
    server.await.map_err(cannot("end the server in order"))?;
    Ok(next)
}

/// Everybody who remembers something, not yet alive.
struct Actors {
    status: Status,
    container: Container,
    addons: Addons,
    installer: Installer,
    updater: Updater,
    handover: watch::Sender<Option<Handover>>,
    /// In the order they are born.
    children: Vec<Child>,
}

/// All concerns of a container, wired to this machine.
fn actors(settings: &Arc<Settings>) -> Result<Actors, Failure> {
    backing::recover(settings);
    let keeper = KeeperClient::new(world::plan(settings).map_err(cannot("find the program's own file"))?)
        .map_err(cannot("prepare the keeper"))?;
    let editors_keeper = editor::keeper(settings).map_err(cannot("prepare the editor's keeper"))?;
    let keepers = Keepers::new(settings).map_err(cannot("prepare the addons' keepers"))?;
    let gauges = Arc::new(MachineGauges::new(settings, [keeper.clone(), editors_keeper.clone()]));
    let state = cannot("open the agent's state folder");
    let kind = dev::saved_kind(settings).map_err(&state)?;
    let identity = Identity {
        vmid: settings.vmid,
        instance: InstanceId(uuid::Uuid::new_v4().to_string()),
        agent_version: VERSION.to_owned(),
        kind,
    };
    let status = Status::new(identity, gauges, settings.status.interval).map_err(cannot("form the first status"))?;
    let workshop = MachineWorkshop::new(settings.clone()).map_err(&state)?;
    let files = Files::open(&settings.root).map_err(cannot("open the folder of releases"))?;
    let depot = MachineDepot::new(settings.clone(), workshop.catalogs(), files);
    let handover = depot.handover();
    let updater = Updater::new(Arc::new(depot), settings.clone(), status.clone(), updating::running());
    let installer = Installer::new(Arc::new(workshop), settings.clone(), status.clone());
    let world = MachineWorld::new(settings.clone(), keeper, installer.clone()).map_err(&state)?;
    let game = GameServer::new(Arc::new(world), settings.clone(), status.clone());
    let counters = EditorCounters::new(settings, editors_keeper.clone());
    let world = editor::Editor::new(settings.clone(), editors_keeper).map_err(&state)?;
    let code_server = CodeServer::new(Arc::new(world), settings.clone(), status.clone());
    let idle = IdleStop::new(Arc::new(counters), code_server.clone());
    let addons = addons(settings, &status, &keepers).map_err(&state)?;
    let services = services(settings, &code_server, &addons, keepers);
    let provision = dev_provision(settings, &status, &installer, services).map_err(&state)?;
    let terminal = Terminal::new(Arc::new(Shells::new(settings.clone())), settings.clone());
    tokio::spawn(tell_shells(installer.clone(), provision.clone()));
    let children =
        [status.child(), installer.child(), game.child(), code_server.child(), provision.child(), terminal.child()];
    let vault = MachineBackups::new(settings.clone(), game.clone(), status.clone()).map_err(&state)?;
    let vault = Vault::new(Arc::new(vault), settings.clone(), status.clone());
    let children = children.into_iter().chain(addons.children());
    let children = children.chain([updater.child(), vault.child()]).chain(idle.child()).collect();
    let container = Container::new(game, provision, code_server, terminal, (vault, status.clone()), kind);
    Ok(Actors { status, container, addons, installer, updater, handover, children })
}

fn addons(settings: &Arc<Settings>, status: &Status, keepers: &Keepers) -> Result<Addons, StoreError> {
    let world = |addon: Addon| -> Result<(Addon, Arc<dyn World>), StoreError> {
        Ok((addon, Arc::new(AddonWorld::new(addon, settings.clone(), keepers.of(addon).clone())?)))
    };
    Ok(Addons::new(vec![world(Addon::Sshd)?, world(Addon::Tailscale)?], settings, status))
}

fn services(settings: &Arc<Settings>, editor: &CodeServer, addons: &Addons, keepers: Keepers) -> Services {
    let root = std::path::absolute(&settings.root).unwrap_or_else(|_| settings.root.clone());
    Services { editor: editor.clone(), addons: addons.clone(), keepers, settings: settings.clone(), root }
}

fn dev_provision(
    settings: &Arc<Settings>,
    status: &Status,
    installer: &Installer,
    services: Services,
) -> Result<DevProvision, StoreError> {
    let world = DevWorld::new(settings.clone(), installer.clone(), services)?;
    let workspace = world.workspace();
    Ok(DevProvision::new(Arc::new(world), settings.clone(), status.clone(), workspace))
}

/// Another version behind `current` needs nothing; another runtime does.
async fn tell_shells(installer: Installer, provision: DevProvision) {
    let mut seen = installer.seen();
    let mut known = seen.borrow().present.current.clone();
    while seen.changed().await.is_ok() {
        let current = seen.borrow_and_update().present.current.clone();
        if std::mem::replace(&mut known, current) != known {
            provision.runtimes_changed();
        }
    }
}

async fn serve(
    listener: TcpListener,
    face: crate::http::agent::AgentFace,
    settings: Arc<Settings>,
    mut drained: watch::Receiver<bool>,
) {
    let traffic = face.traffic();
    let told = async move { _ = drained.wait_for(|drain| *drain).await };
    let cut = server::serve(listener, face, &settings.limits, traffic, told).await;
    if cut > 0 {
        tracing::info!(connections = cut, "connections were cut at the end of the drain");
    }
}

fn hosts(settings: &Settings, address: SocketAddr) -> Hosts {
    let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    Hosts::new(own.into_iter().chain(settings.allowed_hosts.iter().cloned()), [address.ip()])
}

fn build() -> Build {
    Build { version: VERSION.to_owned(), commit: option_env!("ZLH_COMMIT").unwrap_or("unknown").to_owned() }
}

/// What the operator wants for the workload when the agent is told to stop.
fn leaving(settings: &Settings) -> Leaving {
    let container_ends = std::process::id() == 1 || init::is_above(std::env::var_os(init::MARKER).as_deref());
    match settings.on_agent_stop {
        OnAgentStop::Leave => Leaving::Leave,
        OnAgentStop::Stop => Leaving::Stop,
        OnAgentStop::Auto if container_ends => Leaving::Stop,
        OnAgentStop::Auto => Leaving::Leave,
    }
}

/// Whatever is supervised here, and who may hold its writes.
struct Workloads {
    game: GameServer,
    code_server: CodeServer,
    addons: Addons,
    backups: Vault,
}

/// Lets the workloads go, or stops them first.
async fn farewell(leaving: Leaving, settings: &Settings, workloads: &Workloads) {
    let Workloads { game, code_server, addons, backups } = workloads;
    // Before the game: it may have been told to hold its writes.
    backups.shut_down(FAREWELL_SLACK).await;
    let within = settings.stop.grace + FAREWELL_SLACK;
    let game = game.shut_down(leaving, within);
    let (editor, addons) = (code_server.shut_down(leaving, within), addons.shut_down(leaving, within));
    let (game, editor, addons) = tokio::join!(game, editor, addons);
    if let Err(denied) = game.and(editor).and(addons) {
        tracing::error!(?denied, "the workload's actor did not end in order");
    }
}

/// SIGTERM and SIGINT ask the agent to stop.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(super) fn listen() -> io::Result<Stop> {
        Ok(Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
