//! A server eats more memory than it may have: the kernel kills it, and the report says so with certainty.
//!
//!     cargo run --example oom
//!
//! The limit is a real memory cgroup (v1 or v2). A death by SIGKILL alone proves nothing: an operator kills like that as
//! well. What proves it is the kernel's own counter of the game's group. Look at `class`, `confidence` and `hint`.
//! Where no memory cgroup can be made (it takes root and a writable hierarchy) that is said, and the other way to know is
//! shown: the last words of a runtime whose heap is full.
#[path = "common/stage.rs"]
mod stage;

use serde_json::{Value, json};
use stage::{Play, Stage, check};
use std::{process::ExitCode, time::Duration};

const LIMIT_MB: u64 = 64;
/// No restart while the report is looked at.
const PATIENT: [&str; 2] = ["restart.backoff=1h", "restart.jitter=0"];
const HEAP_IS_FULL: &str = "Exception in thread \"Server thread\" java.lang.OutOfMemoryError: Java heap space\n\
    \tat java.base/java.util.Arrays.copyOf(Arrays.java:3537)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    stage::ended(play().await)
}

async fn play() -> Play {
    let stage = Stage::open(&PATIENT)?;
    let game = stage.fake_game();
    // First without appetite: what cannot be limited must not be let loose on this machine.
    configure(&stage, &[&game]).await?;
    let running = stage.follow("running", Duration::from_secs(20), |status| status["state"] == "running").await?;
    let mut warnings = running["warnings"].as_array().into_iter().flatten();
    let unlimited = warnings.find(|warning| warning["code"] == "cgroup_memory_unavailable");
    stage.post("/stop?wait=20s", None).await?;
    match unlimited {
        None => killed_by_the_kernel(&stage, &game).await?,
        Some(why) => {
            println!("No memory cgroup here ({}).\nThe log has to tell it:\n", why["message"]);
            told_by_the_log(&stage, &game).await?;
        }
    }
    println!("\nAs promised: an end for lack of memory is called that, with advice.");
    Ok(())
}

async fn killed_by_the_kernel(stage: &Stage, game: &str) -> Play {
    println!("A server that may have {LIMIT_MB} MB takes 100 MB a second:\n");
    configure(stage, &[game, "--oom", "100MB/s"]).await?;
    let report = crash(stage).await?;
    expect(&report, "code", "kernel.oom")?;
    expect(&report, "confidence", "certain")?;
    check(report["signal"] == 9, format!("the kernel kills with SIGKILL, not like this: {report:#}"))
}

async fn told_by_the_log(stage: &Stage, game: &str) -> Play {
    configure(stage, &[game, "--code", "1", "--last-words", HEAP_IS_FULL]).await?;
    let report = crash(stage).await?;
    expect(&report, "code", "jvm.heap")?;
    check(report["exitCode"] == 1, format!("it was to end with code 1: {report:#}"))
}

async fn configure(stage: &Stage, command: &[&str]) -> Play {
    let ready = json!({"kind": "log", "pattern": "Done", "within": "10s"});
    stage.configure(command, json!({"memory_mb": LIMIT_MB, "ready": ready})).await
}

/// Waits for the death and its report, shows it, and insists on what holds on every machine.
async fn crash(stage: &Stage) -> Play<Value> {
    let understood = |status: &Value| !status["lastCrashClassification"].is_null();
    let status = stage.follow("a crash", Duration::from_secs(20), understood).await?;
    let report = stage.last_crash().await?;
    for key in ["classification", "code", "confidence", "reason", "hint", "exitCode", "signal", "decision"] {
        println!("{key:>15}  {}", report[key].to_string().trim_matches('"'));
    }
    println!("{:>15}  {} MiB", "peak memory", report["peakMemoryBytes"].as_u64().unwrap_or_default() >> 20);
    check(status["lastCrashClassification"] == "oom", format!("the status does not say oom: {status:#}"))?;
    expect(&report, "classification", "oom")?;
    let hint = report["hint"].as_str().unwrap_or_default();
    check(hint.contains("more memory"), format!("the hint does not help: {hint:?}"))?;
    Ok(report)
}

fn expect(report: &Value, key: &str, wanted: &str) -> Play {
    check(report[key] == wanted, format!("{key} is not {wanted}: {report:#}"))
}
