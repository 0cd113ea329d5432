//! Thousands of simulated agents on one gateway: what it costs, and how old a status is when it is shown.
//!
//! ```text
//! cargo run --release --example fleet -- [AGENTS] [SECONDS] [redis://host:port]      (10000 agents, 30 s, no Redis)
//! ```
//! The agents are another process, so that the figures are the gateway's own: each has an address of its own in 127/8 and
//! a connection of its own, and says something new every 5 s: 600 bytes, and 2 KB more if it once crashed, as one in ten
//! did. With Redis it is told as well how long the gateway's client takes to read all of it. Prints one JSON object.
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::IpAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, interval, sleep},
};
use zlh::{
    actors::{
        gateway_root::Collectors,
        root::{Root, actor_rule},
        sharing::Sharing,
        statuses::Statuses,
    },
    host::status_cache::StatusCache,
    model::{
        gateway::{ContainerType, Server, Servers, UserId},
        ids::Vmid,
        settings::Secret,
        time::WallTime,
    },
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How often an agent speaks.
const HEARTBEAT: Duration = Duration::from_secs(5);
const LOG_TAIL: &str =
    "[12:34:56] [Server thread/INFO]: Saving worlds for level 'ServerLevel[world]'/minecraft:overworld";

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let descriptors = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, most) = nix::sys::resource::getrlimit(descriptors)?;
    nix::sys::resource::setrlimit(descriptors, most, most)?;
    let agents = args.first().filter(|first| *first != "agents").map_or(Ok(10_000), |text| text.parse::<u32>())?;
    if most < u64::from(agents) + 100 {
        return Err(
            format!("{agents} agents need as many open files; this process may have {most} (ulimit -Hn)").into()
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if args.first().is_some_and(|first| first == "agents") {
        return runtime.block_on(be_agents());
    }
    let seconds = args.get(1).map_or(Ok(30), |text| text.parse())?;
    runtime.block_on(be_gateway(agents, seconds, args.get(2).cloned()))
}

/// Milliseconds of the wall clock, which both processes share.
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

async fn be_agents() -> Result<(), Failure> {
    let socket = TcpListener::bind("0.0.0.0:0").await?;
    println!("{}", socket.local_addr()?.port());
    let mut accepted = 0u64;
    loop {
        let (stream, _) = socket.accept().await?;
        accepted += 1;
        let crashed = accepted.is_multiple_of(10);
        tokio::spawn(async move {
            if let Err(error) = be_agent(stream, crashed).await {
                eprintln!("an agent's connection ended: {error}");
            }
        });
    }
}

async fn be_agent(mut stream: TcpStream, crashed: bool) -> Result<(), Failure> {
    let tail = if crashed { vec![LOG_TAIL; 20] } else { Vec::new() };
    let mut request = [0; 2048];
    let asked = stream.read(&mut request).await?;
    if asked == 0 {
        return Ok(());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await?;
    let mut beat = interval(HEARTBEAT);
    for revision in 1u64.. {
        beat.tick().await;
        let said = now();
        let status = serde_json::json!({
            "vmid": 5072, "instanceId": "simulated", "revision": revision, "timestamp": said / 1000, "saidAt": said as u64,
            "containerType": "game", "agentVersion": "v0.1.0", "state": "running", "processRunning": true, "pid": 4121,
            "ready": true, "readySource": "minecraft_ping", "readyError": "", "installStep": "", "provisioningComplete": true,
            "crashCount": u8::from(crashed), "lastCrashClassification": null, "restartAttempt": 0, "operationInProgress": false,
            "usage": {"cpuPercent": 12.5, "memoryBytes": 1u64 << 30, "memoryLimitBytes": 1u64 << 31}, "error": null,
            "players": {"online": 3, "max": 20}, "warnings": [], "lastCrashLogTail": tail,
        });
        stream.write_all(format!("id: {revision}\nevent: status\ndata: {status}\n\n").as_bytes()).await?;
    }
    Ok(())
}

async fn be_gateway(agents: u32, seconds: u32, redis: Option<String>) -> Result<(), Failure> {
    let mut others = Command::new(std::env::current_exe()?).arg("agents").stdout(Stdio::piped()).spawn()?;
    let measured = measure(agents, seconds, redis, &mut others).await;
    others.kill()?;
    others.wait()?;
    println!("{}", measured?);
    Ok(())
}

async fn measure(
    agents: u32,
    seconds: u32,
    redis: Option<String>,
    others: &mut std::process::Child,
) -> Result<serde_json::Value, Failure> {
    let mut port = String::new();
    BufReader::new(others.stdout.take().ok_or("no output")?).read_line(&mut port)?;
    let (_servers, watched) = watch::channel(registry(agents, port.trim().parse()?));
    let statuses = Statuses::default();
    let redis = redis.map(Secret);
    let sharing = Sharing::new(redis.clone(), statuses.clone(), watched.clone());
    let collectors = Collectors::new(watched, sharing.shards(), statuses.clone(), Arc::new(sharing.clone()))?;
    let empty = resident()?;
    let root = Root::spawn(vec![sharing.child(), collectors.child()], actor_rule()).await?;
    let began = Instant::now();
    while (1..=agents).any(|n| statuses.read(Vmid(n)).is_none()) {
        if began.elapsed() > Duration::from_secs(120) {
            return Err("not all agents were heard within two minutes".into());
        }
        sleep(Duration::from_millis(100)).await;
    }
    let all_heard = began.elapsed();
    let (cpu, at) = (used()?, Instant::now());
    let mut lags = Vec::new();
    let mut watched: Vec<_> = (0..200).map(|i| statuses.watch(Vmid(1 + i * agents.max(200) / 200 % agents))).collect();
    while at.elapsed() < Duration::from_secs(seconds.into()) {
        for status in &mut watched {
            if status.has_changed()? {
                let cached = status.borrow_and_update().clone().ok_or("a status was taken back")?;
                let fields: serde_json::Value = serde_json::from_slice(&cached.json)?;
                lags.push((cached.last_seen.0 as u64).saturating_sub(fields["saidAt"].as_u64().unwrap_or_default()));
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    let share = (used()? - cpu).as_secs_f64() / at.elapsed().as_secs_f64() * 100.0;
    lags.sort_unstable();
    let lag = |share: usize| lags.get(lags.len().saturating_sub(1) * share / 100).copied();
    let memory = resident()?;
    let read = match redis {
        Some(url) => Some(read_all(&url, agents).await?),
        None => None,
    };
    root.shut_down(sharing.leave()).await;
    Ok(serde_json::json!({
        "agents": agents, "seconds": seconds, "allHeardMs": all_heard.as_millis() as u64, "cpuPercentOfOneCore": share,
        "residentMiB": memory >> 20, "kibPerAgent": (memory.saturating_sub(empty) >> 10) as f64 / f64::from(agents),
        "lagMs": {"p50": lag(50), "p99": lag(99), "max": lag(100)}, "samples": lags.len(), "fullReadMs": read,
    }))
}

/// Milliseconds of the middle one of nine readings of all entries, as another gateway does it.
async fn read_all(url: &Secret, agents: u32) -> Result<f64, Failure> {
    let mut cache = StatusCache::connect(url).await?;
    let vmids: Vec<Vmid> = (1..=agents).map(Vmid).collect();
    let mut times = Vec::new();
    for _ in 0..9 {
        let began = Instant::now();
        let found = cache.read(&vmids).await?.iter().flatten().count();
        times.push(began.elapsed().as_secs_f64() * 1e3);
        if found < vmids.len() {
            return Err(format!("Redis holds {found} of {agents} entries").into());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn registry(agents: u32, port: u16) -> Arc<Servers> {
    let server = |n: u32| Server {
        vmid: Vmid(n),
        name: format!("agent-{n}"),
        container_type: ContainerType::Game,
        owner: UserId("nobody".into()),
        address: IpAddr::from([127, 1 + (n >> 16) as u8, (n >> 8) as u8, n as u8]),
        agent_port: port,
        ide_port: 8080,
        agent_token: None,
        created_at: WallTime(0),
    };
    let by_vmid: BTreeMap<Vmid, Arc<Server>> = (1..=agents).map(|n| (Vmid(n), Arc::new(server(n)))).collect();
    Arc::new(Servers { by_vmid })
}

/// Processor time of this process.
fn used() -> Result<Duration, Failure> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

/// Bytes of memory of this process.
fn resident() -> Result<u64, Failure> {
    Ok(procfs::process::Process::myself()?.statm()?.resident * procfs::page_size())
}
