//! A game that prints without end: the agent stays awake, small and fair.
use super::{SOON, quick, run};
use crate::support::{Agent, Sandbox, strays};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::interval;

const MEGABYTES: usize = 300;

/// Highest resident size of a process in its life, in KiB.
fn peak_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The slowest and the number of all answers until `done`. On a thread of its own: the test itself is busy reading.
fn health_watch(agent: &Agent, done: Arc<AtomicBool>) -> tokio::task::JoinHandle<(Duration, u32)> {
    let url = agent.url("/health");
    let client = reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap();
    tokio::spawn(async move {
        let (mut slowest, mut asked, mut pace) = (Duration::ZERO, 0, interval(Duration::from_millis(3)));
        while !done.load(Relaxed) {
            let began = Instant::now();
            let answer = client.get(&url).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), "ok");
            (slowest, asked) = (slowest.max(began.elapsed()), asked + 1);
            pace.tick().await;
        }
        (slowest, asked)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_megabytes_disturb_nobody() {
    let sandbox = Sandbox::new();
    let agent = quick(&sandbox, &[]);
    run(&agent, &sandbox.fake_game_config(&[])).await;
    let mut reader = agent.console_v1("").await;
    let sleeper = agent.console().await;
    let done = Arc::new(AtomicBool::new(false));
    let watch = health_watch(&agent, done.clone());

    let (began, mut got, mut missed) = (Instant::now(), 0, 0);
    super::command(&agent, &format!("flood {MEGABYTES}")).await;
    while got + missed < MEGABYTES * 1_000_000 {
        assert!(reader.read().await, "the reader was cut off after {got} bytes");
        got += reader.output.len();
        reader.output.clear();
        let gaps = reader.frames.drain(..).filter(|f| f["type"] == "gap");
        missed += gaps.map(|f| (f["to"].as_u64().unwrap() - f["from"].as_u64().unwrap()) as usize).sum::<usize>();
    }
    let took = began.elapsed();
    done.store(true, Relaxed);
    let (slowest, asked) = watch.await.unwrap();

    let keeper = strays(sandbox.marker()).into_iter().find(|s| s.command.contains(" keeper ")).unwrap();
    let (agent_kib, keeper_kib) = (peak_kib(agent.pid() as i32), peak_kib(keeper.pid));
    println!(
        "flood: {MEGABYTES} MB in {took:.1?}, {missed} bytes missed by the reader; /health: slowest of {asked} {slowest:.1?}; \
         peak RSS: agent {agent_kib} KiB, keeper {keeper_kib} KiB"
    );
    // On a machine that others use as well: what is meant is whoever waits for the end of the flood.
    assert!(slowest < Duration::from_secs(10), "/health took {slowest:?}");
    assert!(asked > 20, "it was watched all the time: {asked}");
    assert!(agent_kib < 64 << 10 && keeper_kib < 32 << 10, "agent {agent_kib} KiB, keeper {keeper_kib} KiB");
    let status = agent.status().await;
    assert!(status["state"] == "running" && status["crashCount"] == 0, "{status}");
    drop(sleeper);
    agent.finish().await;
}
