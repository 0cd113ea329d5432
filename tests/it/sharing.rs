//! Several gateways, one real Redis: who listens to whom, what is shown, and what happens when one of them dies.
mod killed;

use crate::support::{eventually, free_port};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
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

const WITHIN: Duration = Duration::from_secs(120);
const AGENTS: u32 = 128;

/// A real redis-server on a port of its own; killed when dropped.
struct Redis {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Redis {
    fn start() -> Redis {
        let port = free_port();
        let mut redis = Redis { folder: tempfile::tempdir().unwrap(), port, child: None };
        redis.again();
        redis
    }

    /// On the same port, empty.
    fn again(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &self.port.to_string()]);
        command.arg("--dir").arg(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server is installed by 'make realparts'"));
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn url(&self) -> Secret {
        Secret(format!("redis://127.0.0.1:{}", self.port))
    }

    /// By its own command-line client.
    fn ask(&self, words: &[&str]) -> String {
        let out = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(words).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    async fn client(&self) -> StatusCache {
        eventually("Redis answers", WITHIN, async || StatusCache::connect(&self.url()).await.ok()).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Many agents behind one listener: each address of 127.0.0.0/8 is another. Revisions rise for ever.
struct Agents {
    port: u16,
    revision: Arc<AtomicU64>,
    listeners: Arc<AtomicUsize>,
}

impl Agents {
    async fn start() -> Agents {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (revision, listeners) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicUsize::new(0)));
        let (shown, counted) = (revision.clone(), listeners.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (shown, counted) = (shown.clone(), counted.clone());
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    if stream.read(&mut head).await.is_err() {
                        return;
                    }
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
                    let mut alive = stream.write_all(head.as_bytes()).await.is_ok();
                    counted.fetch_add(1, SeqCst);
                    while alive {
                        let revision = shown.load(SeqCst);
                        let status = json!({"instanceId": "one-life", "revision": revision, "timestamp": revision, "state": "running"});
                        let event = format!("id: {revision}\nevent: status\ndata: {status}\n\n");
                        alive = stream.write_all(event.as_bytes()).await.is_ok();
                        let closed = tokio::time::timeout(Duration::from_millis(200), stream.read_u8()).await;
                        alive &= closed.is_err();
                    }
                    counted.fetch_sub(1, SeqCst);
                });
            }
        });
        Agents { port, revision, listeners }
    }

    fn servers(&self) -> Arc<Servers> {
        let server = |n: u32| Server {
            vmid: Vmid(n),
            name: format!("agent-{n}"),
            container_type: ContainerType::Game,
            owner: UserId("nobody".into()),
            address: IpAddr::from([127, 1, (n >> 8) as u8, n as u8]),
            agent_port: self.port,
            ide_port: 8080,
            agent_token: None,
            created_at: WallTime(0),
        };
        let by_vmid: BTreeMap<Vmid, Arc<Server>> = (1..=AGENTS).map(|n| (Vmid(n), Arc::new(server(n)))).collect();
        Arc::new(Servers { by_vmid })
    }
}

struct Gateway {
    root: Root,
    statuses: Statuses,
    sharing: Sharing,
    _servers: watch::Sender<Arc<Servers>>,
}

impl Gateway {
    async fn start(agents: &Agents, redis: Option<&Redis>) -> Gateway {
        let (servers, watched) = watch::channel(agents.servers());
        let statuses = Statuses::default();
        let sharing = Sharing::new(redis.map(Redis::url), statuses.clone(), watched.clone());
        let collectors =
            Collectors::new(watched, sharing.shards(), statuses.clone(), Arc::new(sharing.clone())).unwrap();
        let root = Root::spawn(vec![sharing.child(), collectors.child()], actor_rule()).await.unwrap();
        Gateway { root, statuses, sharing, _servers: servers }
    }

    fn status(&self, n: u32) -> Option<Value> {
        self.statuses.read(Vmid(n)).map(|cached| serde_json::from_slice(&cached.json).unwrap())
    }

    /// How many agents it shows at `revision` or later.
    fn shows(&self, revision: u64) -> usize {
        let at = |n: &u32| {
            self.status(*n).is_some_and(|s| s["hostOnline"] == true && s["revision"].as_u64() >= Some(revision))
        };
        (1..=AGENTS).filter(at).count()
    }

    fn shards(&self) -> usize {
        self.sharing.shards().borrow().len()
    }

    /// In order, as a gateway goes down that is told to.
    async fn end(self) {
        self.root.shut_down(self.sharing.leave()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_a_gateway_hears_all_and_notices_who_is_silent() {
    let agents = Agents::start().await;
    let gateway = Gateway::start(&agents, None).await;
    eventually("all are shown", WITHIN, async || (gateway.shows(1) == AGENTS as usize).then_some(())).await;
    let seen = gateway.status(5).unwrap();
    assert!(seen["lastSeen"].as_i64().unwrap() > 1_700_000_000_000 && seen["agentError"].is_null(), "{seen}");
    agents.revision.store(1_000, SeqCst);
    eventually("what is new is shown", WITHIN, async || (gateway.shows(1_000) == AGENTS as usize).then_some(())).await;
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_share_and_one_takes_over_from_the_other() {
    let (redis, agents) = (Redis::start(), Agents::start().await);
    redis.client().await;
    let (first, second) = (Gateway::start(&agents, Some(&redis)).await, Gateway::start(&agents, Some(&redis)).await);
    eventually("they share evenly", WITHIN, async || (first.shards() == 32 && second.shards() == 32).then_some(()))
        .await;
    let all = AGENTS as usize;
    eventually("both show all", WITHIN, async || (first.shows(1) == all && second.shows(1) == all).then_some(())).await;
    eventually("each agent has one listener", WITHIN, async || (agents.listeners.load(SeqCst) == all).then_some(()))
        .await;
    agents.revision.store(1_000, SeqCst);
    eventually("both follow", WITHIN, async || (first.shows(1_000) == all && second.shows(1_000) == all).then_some(()))
        .await;
    second.end().await;
    assert_eq!(redis.ask(&["ZCARD", "zlh:gateways"]), "1", "who leaves is no more among those alive");
    let alive = redis.ask(&["ZRANGE", "zlh:gateways", "0", "-1"]);
    for shard in 0..64 {
        let holder = redis.ask(&["GET", &format!("zlh:lease:{shard}")]);
        assert!(holder.is_empty() || holder == alive, "shard {shard} waits for {holder}, and only {alive} is there");
    }
    agents.revision.store(2_000, SeqCst);
    eventually("the survivor hears all", WITHIN, async || (first.shows(2_000) == all).then_some(())).await;
    first.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_statuses_go_on_and_come_back_to_it() {
    let (mut redis, agents) = (Redis::start(), Agents::start().await);
    redis.client().await;
    let gateway = Gateway::start(&agents, Some(&redis)).await;
    let all = AGENTS as usize;
    eventually("all are shown", WITHIN, async || (gateway.shows(1) == all).then_some(())).await;
    redis.kill();
    agents.revision.store(1_000, SeqCst);
    eventually("without Redis too", WITHIN, async || (gateway.shows(1_000) == all).then_some(())).await;
    redis.again();
    let mut client = redis.client().await;
    let vmids: Vec<Vmid> = (1..=AGENTS).map(Vmid).collect();
    eventually("Redis has them all again", WITHIN, async || {
        let entries = client.read(&vmids).await.unwrap();
        let new = |json: &Option<Vec<u8>>| {
            json.as_ref().is_some_and(|json| String::from_utf8_lossy(json).contains("\"revision\":1000,"))
        };
        entries.iter().all(new).then_some(())
    })
    .await;
    gateway.end().await;
}

/// Looks at what each gateway shows, all the time: it may never go back, and what nobody heard for long may not look fresh.
async fn watch(gateways: [Statuses; 2], over: Arc<AtomicUsize>) -> usize {
    let mut newest = [[0u64; AGENTS as usize + 1]; 2];
    let mut looks = 0;
    while over.load(SeqCst) == 0 {
        for (gateway, newest) in gateways.iter().zip(&mut newest) {
            for n in 1..=AGENTS {
                let Some(cached) = gateway.read(Vmid(n)) else { continue };
                let shown: Value = serde_json::from_slice(&cached.shown()).unwrap();
                let revision = shown["revision"].as_u64().unwrap();
                assert!(revision >= newest[n as usize], "{n} went back to {shown}");
                newest[n as usize] = revision;
                let age = now_ms() - shown["lastSeen"].as_i64().unwrap();
                // Redis keeps an entry for 15 s, and who follows shows it for at most as long again.
                assert!(shown["hostOnline"] == false || age < 30_000, "{n} looks fresh at {age} ms: {shown}");
                looks += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    looks
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_under_load_makes_nothing_go_back_and_nothing_stale_look_fresh() {
    let (mut redis, agents) = (Redis::start(), Agents::start().await);
    redis.client().await;
    let (first, second) = (Gateway::start(&agents, Some(&redis)).await, Gateway::start(&agents, Some(&redis)).await);
    let all = AGENTS as usize;
    let over = Arc::new(AtomicUsize::new(0));
    let watched = tokio::spawn(watch([first.statuses.clone(), second.statuses.clone()], over.clone()));
    let revision = agents.revision.clone();
    // The agents have something new all the time.
    let mut pace = tokio::time::interval(Duration::from_millis(20));
    let load = tokio::spawn(async move {
        loop {
            pace.tick().await;
            revision.fetch_add(1, SeqCst);
        }
    });
    eventually("both show all", WITHIN, async || (first.shows(1) == all && second.shows(1) == all).then_some(())).await;
    for _ in 0..2 {
        redis.kill();
        let later = agents.revision.load(SeqCst) + 1;
        let show = async || (first.shows(later) == all && second.shows(later) == all).then_some(());
        eventually("without Redis each hears all by itself", WITHIN, show).await;
        redis.again();
        let share = async || (first.shards() == 32 && second.shards() == 32).then_some(());
        eventually("they share again", WITHIN, share).await;
        let later = agents.revision.load(SeqCst) + 1;
        let show = async || (first.shows(later) == all && second.shows(later) == all).then_some(());
        eventually("and follow each other", WITHIN, show).await;
    }
    over.store(1, SeqCst);
    assert!(watched.await.unwrap() > 1000, "somebody looked");
    load.abort();
    second.end().await;
    first.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_entry_never_replaces_a_newer_one_in_redis() {
    let redis = Redis::start();
    let mut cache = redis.client().await;
    let entry = |life: &str, revision: u64, made: i64, seen: i64| {
        let json = format!(
            r#"{{"hostOnline":true,"instanceId":"{life}","revision":{revision},"timestamp":{made},"lastSeen":{seen},"error":null,"agentError":null}}"#
        );
        [(Vmid(7), bytes::Bytes::from(json))]
    };
    for (written, refused) in [
        (entry("a", 5, 100, 1), 0),
        (entry("a", 6, 101, 2), 0),
        (entry("a", 6, 101, 3), 0),
        (entry("a", 6, 101, 2), 1),
        (entry("a", 5, 102, 9), 1),
        (entry("b", 1, 99, 9), 1),
        (entry("b", 1, 103, 9), 0),
        (entry("a", 7, 102, 9), 1),
    ] {
        assert_eq!(cache.write(&written).await.unwrap(), refused, "{written:?}");
        let there = cache.read(&[Vmid(7), Vmid(8)]).await.unwrap();
        assert_eq!(there[0].as_deref() == Some(&written[0].1[..]), refused == 0, "{written:?}");
        assert_eq!(there[1], None);
    }
    cache.write(&[(Vmid(9), bytes::Bytes::from_static(b"written by another program"))]).await.unwrap();
    let [(_, ours)] = entry("a", 1, 1, 1);
    assert_eq!(cache.write(&[(Vmid(9), ours)]).await.unwrap(), 0, "what is no entry is replaced");
}
