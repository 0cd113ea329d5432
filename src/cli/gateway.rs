//! Composition root of `zlh gateway`: settings, database, actors, two listeners; then it waits to be told to stop.
mod carriers;
pub mod desk;

use super::{
    agent::{EXIT_CONFIG, VERSION, logging},
    args::gateway::GatewayArgs,
};
use crate::{
    actors::{
        directory::Directory,
        doorkeeper::Doorkeeper,
        gateway_root::Collectors,
        registry::Registry,
        root::{Child, Root, actor_rule},
        runtime_catalog::RuntimeCatalog,
        sharing::Sharing,
        statuses::Statuses,
        velocity::Velocity,
    },
    config::{self, Sources},
    host::{artifacts::ArtifactServer, database::Database, listener, velocity::Bridge},
    http::{
        agent::Build,
        gateway::{Gateway, GatewayFace},
        server::{self, Traffic, connection::Face},
    },
    model::{
        gateway::settings::GatewaySettings,
        settings::{Install, Limits},
    },
};
use std::{
    fs::DirBuilder,
    io::Write,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use tokio::{net::TcpListener, runtime, sync::watch, task::JoinHandle};

/// Runs the gateway until it is told to stop, or does what the subcommand says.
pub fn run(args: GatewayArgs) -> ExitCode {
    let (settings, origins) = match config::gateway::load(&sources(&args)) {
        Ok(loaded) => loaded,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("error: {fault}"));
            return EXIT_CONFIG.into();
        }
    };
    let done = match args.verb {
        Some(verb) => desk::run(verb, &settings, &origins),
        None => {
            logging::start(args.log_format);
            serve_all(settings).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::FAILURE
    })
}

fn sources(args: &GatewayArgs) -> Sources {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let flags = [
        ("data", args.data.as_deref().map(absolute)),
        ("listen", args.listen.map(|at| at.to_string())),
        ("ide_listen", args.ide_listen.map(|at| at.to_string())),
        ("database", args.database.clone()),
        ("redis", args.redis.clone()),
        ("artifacts_url", args.artifacts_url.clone()),
        ("public_url", args.public_url.clone()),
        ("ide_public_url", args.ide_public_url.clone()),
        ("ide_host_suffix", args.ide_host_suffix.clone()),
    ];
    let given = flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    Sources::of_process(args.config.as_ref().map(text).map(PathBuf::from), args.set.clone(), given)
}

/// People write `--data ./x`; the settings keep where that was.
pub fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

/// For whoever reads our output. One who stopped reading is no reason to stop serving.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        tracing::warn!(%error, text, "standard output takes nothing any more");
    }
}

/// Why the gateway does not start, or ends other than by being told to.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

pub fn cannot<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(E) -> Failure {
    move |e| Failure(format!("cannot {what}: {e}"))
}

/// Runs to its end what a subcommand or the server is.
pub fn block_on<T>(threads: usize, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(cannot("start the runtime"))?.block_on(work)
}

fn serve_all(settings: GatewaySettings) -> Result<(), Failure> {
    block_on(settings.runtime.worker_threads, async {
        let mut stop = super::agent::Stop::listen().map_err(cannot("listen for signals"))?;
        let mut running = Running::start(Arc::new(settings)).await?;
        running.announce();
        let broken = tokio::select! {
            () = stop.asked() => None,
            why = running.root.failed() => Some(why),
        };
        match broken {
            None => {
                tracing::info!("asked to stop");
                running.stop().await
            }
            Some(why) => Err(Failure(format!("the gateway's actors gave up: {why}"))),
        }
    })
}

/// Opens the database that the settings name, and brings its tables up to date.
pub async fn database(settings: &GatewaySettings) -> Result<Database, Failure> {
    make_folder(&settings.data).map_err(cannot(format!("make {}", settings.data.display())))?;
    match &settings.database {
        Some(url) => Database::postgres(&url.0).await.map_err(cannot("use the PostgreSQL database")),
        None => {
            let path = settings.data.join("gateway.sqlite");
            Database::sqlite(&path).await.map_err(cannot(format!("use {}", path.display())))
        }
    }
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { Ok(()) } else { DirBuilder::new().recursive(true).mode(0o700).create(path) }
}

pub fn key_file(settings: &GatewaySettings) -> PathBuf {
    settings.key_file.clone().unwrap_or_else(|| settings.data.join("gateway.key"))
}

/// A gateway that accepts connections.
pub struct Running {
    pub root: Root,
    sharing: Sharing,
    pub gateway: Arc<Gateway>,
    pub api: SocketAddr,
    pub ide: SocketAddr,
    drain: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
}

impl Running {
    pub async fn start(settings: Arc<GatewaySettings>) -> Result<Running, Failure> {
        let api = listen(settings.listen).await?;
        let ide = listen(settings.ide_listen).await?;
        let (api_at, ide_at) = (address(&api)?, address(&ide)?);
        let database = database(&settings).await?;
        let directory = Directory::open(database, key_file(&settings), settings.refresh).await;
        let directory = directory.map_err(cannot("read people and servers"))?;
        let statuses = Statuses::default();
        let sharing = Sharing::new(settings.redis.clone(), statuses.clone(), directory.watch_servers());
        let children = children(&directory, &statuses, &sharing, &settings)?;
        let root = Root::spawn(children, actor_rule()).await.map_err(cannot("start the root actor"))?;
        let registry = registry(&directory, &settings, api_at, ide_at);
        let doorkeeper = Doorkeeper::new(directory, settings.clone());
        let catalog = RuntimeCatalog::new(artifact_server(&settings)?);
        let gateway =
            Arc::new(Gateway::new(doorkeeper, registry, catalog, statuses, settings.clone(), ide_at, build()));
        let (drain, drained) = watch::channel(false);
        let limits = settings.limits.for_server();
        let carriers = carriers::start(ide, &gateway.tunnel, settings.tunnel.threads, &limits, &drained);
        let servers = vec![
            spawn(api, GatewayFace::new(&gateway), &limits, gateway.traffic.clone(), &drained),
            carriers.map_err(cannot("start the tunnel's threads"))?,
        ];
        Ok(Running { root, sharing, gateway, api: api_at, ide: ide_at, drain, servers })
    }

    /// One line a listener, once it accepts connections.
    pub fn announce(&self) {
        say(&format!("listening gateway http://{}\nlistening ide http://{}", self.api, self.ide));
    }

    pub async fn stop(self) -> Result<(), Failure> {
        self.drain.send_replace(true);
        for server in self.servers {
            server.await.map_err(cannot("end a server in order"))?;
        }
        self.root.shut_down(self.sharing.leave()).await;
        self.gateway.doorkeeper.directory().database().close().await;
        Ok(())
    }
}

fn children(
    directory: &Directory,
    statuses: &Statuses,
    sharing: &Sharing,
    settings: &GatewaySettings,
) -> Result<Vec<Child>, Failure> {
    let (servers, shards) = (directory.watch_servers(), sharing.shards());
    let collectors = Collectors::new(servers, shards, statuses.clone(), Arc::new(sharing.clone()))
        .map_err(cannot("start a thread that listens to agents"))?;
    let mut children = vec![directory.child(), sharing.child(), collectors.child()];
    let velocity = &settings.velocity;
    if let (Some(url), Some(file)) = (&velocity.url, &velocity.secret_file) {
        let bridge = Bridge::new(url, file).map_err(cannot("register servers with the proxy"))?;
        children.push(Velocity::new(directory.clone(), statuses.clone(), bridge, velocity.interval).child());
    }
    Ok(children)
}

/// A gateway that only this machine can reach may reach agents on this machine.
fn registry(directory: &Directory, settings: &GatewaySettings, api: SocketAddr, ide: SocketAddr) -> Registry {
    let here = [api, ide].iter().all(|at| at.ip().to_canonical().is_loopback());
    let loopback = settings.agents.allow_loopback.unwrap_or(here);
    Registry::new(directory.clone(), loopback, settings.agents.allow_link_local, vec![api, ide])
}

/// Catalogs are read for a person who waits: once, and soon or not at all.
fn artifact_server(settings: &GatewaySettings) -> Result<Option<ArtifactServer>, Failure> {
    let forward = &settings.forward;
    let install = Install { backoff: Vec::new(), connect_timeout: forward.connect, ..Install::default() };
    let server = settings.artifacts_url.as_deref().map(|url| ArtifactServer::new(url, &[], &install));
    server.transpose().map_err(cannot("use artifacts_url"))
}

async fn listen(at: SocketAddr) -> Result<TcpListener, Failure> {
    listener::listen(at).await.map_err(cannot(format!("listen on {at}")))
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(cannot("read a listener's address"))
}

fn spawn<F: Face>(
    listener: TcpListener,
    face: F,
    limits: &Limits,
    traffic: Arc<Traffic>,
    drained: &watch::Receiver<bool>,
) -> JoinHandle<()> {
    let (limits, mut drained) = (limits.clone(), drained.clone());
    tokio::spawn(async move {
        let told = async move { _ = drained.wait_for(|drain| *drain).await };
        tell_cut(server::serve(listener, face, &limits, traffic, told).await);
    })
}

fn tell_cut(connections: usize) {
    if connections > 0 {
        tracing::info!(connections, "connections were cut at the end of the drain");
    }
}

fn build() -> Build {
    Build { version: VERSION.to_owned(), commit: option_env!("ZLH_COMMIT").unwrap_or("unknown").to_owned() }
}
