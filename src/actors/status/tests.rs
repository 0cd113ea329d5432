//! The aggregator in virtual time: revisions, samples, rebirth.
use super::*;
use crate::{
    actors::root::{Root, actor_rule},
    model::{ids::InstanceId, phase::State as Shown},
};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tokio::time::Instant;

struct Scripted {
    began: Instant,
    memory: AtomicU64,
    samples: AtomicU64,
}

impl Gauges for Scripted {
    fn now(&self) -> (BootTime, WallTime) {
        let since = self.began.elapsed();
        (BootTime(since), WallTime(1_000_000 + since.as_millis() as i64))
    }

    fn usage(&self, _: Option<i32>) -> BoxFuture<'static, Usage> {
        self.samples.fetch_add(1, SeqCst);
        let usage = Usage { memory_bytes: self.memory.load(SeqCst), ..Usage::default() };
        Box::pin(async move { usage })
    }

    /// A limit that cannot be set is known once the first bytes are in use.
    fn warnings(&self) -> Vec<Warning> {
        let known = self.memory.load(SeqCst) > 0;
        known.then(|| Warning { code: "cgroup_memory_unavailable".into(), message: "".into() }).into_iter().collect()
    }
}

async fn up() -> (Arc<Scripted>, Status, Root) {
    let gauges = Arc::new(Scripted { began: Instant::now(), memory: AtomicU64::new(0), samples: AtomicU64::new(0) });
    let identity =
        Identity { vmid: Some(5072), instance: InstanceId("i".into()), agent_version: "v0.1.0".into(), kind: None };
    let status = Status::new(identity, gauges.clone(), Duration::from_secs(5)).unwrap();
    let root = Root::spawn(vec![status.child()], actor_rule()).await.unwrap();
    (gauges, status, root)
}

fn part(state: Shown) -> GamePart {
    GamePart { state, ..GamePart::default() }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_one_revision_and_its_json_is_ready() {
    let (_, status, _root) = up().await;
    let mut reader = status.reader();
    let first = reader.current().snapshot.revision.0;
    status.publish_game(part(Shown::Starting));
    let seen = reader.past(first).await;
    assert_eq!((seen.snapshot.state, seen.snapshot.revision.0), (Shown::Starting, first + 1));
    let json: serde_json::Value = serde_json::from_slice(&seen.json).unwrap();
    assert_eq!(
        (&json["state"], &json["revision"], &json["vmid"]),
        (&"starting".into(), &(first + 1).into(), &5072.into())
    );
    status.publish_game(part(Shown::Starting));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(reader.current().snapshot.revision.0, first + 1, "the same again is no change");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_it_to_catch_up_sees_what_was_said() {
    let (_, status, _root) = up().await;
    status.slot.filled().await;
    let reader = status.reader();
    for state in [Shown::Starting, Shown::Running, Shown::Stopping] {
        status.publish_game(part(state));
        assert_ne!(reader.current().snapshot.state, state, "nobody has had a chance to publish it");
        status.caught_up().await;
        assert_eq!(reader.current().snapshot.state, state);
    }
}

#[tokio::test(start_paused = true)]
async fn usage_is_sampled_every_interval_and_no_more() {
    let (gauges, status, _root) = up().await;
    tokio::time::sleep(Duration::from_secs(52)).await;
    assert_eq!(gauges.samples.load(SeqCst), 11);
    gauges.memory.store(7, SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let shown = status.reader().current();
    assert_eq!(shown.snapshot.usage.memory_bytes, 7);
    assert_eq!(shown.snapshot.warnings[0].code, "cgroup_memory_unavailable", "as soon as the machine says so");
}

#[tokio::test(start_paused = true)]
async fn a_reborn_aggregator_goes_on_counting_and_forgets_no_part() {
    let (_, status, _root) = up().await;
    let mut reader = status.reader();
    status.publish_game(part(Shown::Running));
    let before = reader.past(0).await.snapshot.revision.0;
    status.slot.cast(Message::Panic);
    status.publish_game(GamePart { crash_count: 1, ..part(Shown::Running) });
    let seen = reader.past(before).await;
    assert_eq!((seen.snapshot.revision.0, seen.snapshot.crash_count), (before + 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_check_says_since_when_it_holds() {
    let (_, status, _root) = up().await;
    let mut reader = status.reader();
    let agent_check = |p: &Published| p.checks[0].clone();
    assert!(!agent_check(&reader.current()).ok);
    tokio::time::sleep(Duration::from_secs(3)).await;
    status.publish_game(part(Shown::Idle));
    let seen = reader.past(0).await;
    assert_eq!((agent_check(&seen).ok, agent_check(&seen).at), (true, WallTime(1_003_000)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    status.publish_game(part(Shown::Running));
    let seen = reader.past(seen.snapshot.revision.0).await;
    assert_eq!(agent_check(&seen).at, WallTime(1_003_000));
}
