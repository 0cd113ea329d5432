//! The wall clock is set while something is timed: only the time since boot counts, and people are shown the new clock.
use super::{Answer, Rig};
use crate::support::eventually_now;
use nix::time::{ClockId, clock_gettime};
use std::{fs, path::PathBuf, process::Command, time::Duration};

/// Adds what the file `WALL_STEP` holds to the wall clock of the process it is loaded into, and to no other clock.
const STEPPER: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, t);
    const char *path = getenv("WALL_STEP");
    if (result != 0 || id != CLOCK_REALTIME || !path) return result;
    char text[32] = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) { if (read(file, text, 31) > 0) t->tv_sec += atoll(text); close(file); }
    return result;
}
"#;

/// A wall clock of one agent's own.
struct WallClock(PathBuf);

impl WallClock {
    fn of(rig: &mut Rig) -> WallClock {
        let [source, library, step] = ["wall.c", "wall.so", "wall.step"].map(|name| rig.sandbox.root().join(name));
        fs::write(&source, STEPPER).unwrap();
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").status();
        assert!(built.expect("a C compiler, as Rust itself needs one").success());
        rig.env = vec![("LD_PRELOAD", library.display().to_string()), ("WALL_STEP", step.display().to_string())];
        WallClock(step)
    }

    fn step(&self, seconds: i64) {
        let next = self.0.with_extension("next");
        fs::write(&next, seconds.to_string()).unwrap();
        fs::rename(next, &self.0).unwrap();
    }
}

fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).unwrap().into()
}

/// When a process was started, since boot, as the kernel says: in hundredths of a second, rounded down.
fn born(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    Duration::from_millis(after_name.split(' ').nth(19).unwrap().parse::<u64>().unwrap() * 10)
}

const DAY: i64 = 86_400;
/// Long enough to be seen on a busy machine.
const BACKOFF: Duration = Duration::from_secs(6);

/// `also_killed`: the agent dies in the backoff too, and the next one has never seen the old clock.
async fn set_in_the_backoff(step: i64, also_killed: bool) {
    let what = format!("{step} s, agent killed: {also_killed}");
    let mut rig = Rig::new();
    let clock = WallClock::of(&mut rig);
    rig.flags = ["--set", "restart.backoff=6s,6s"].map(String::from).into();
    assert!(rig.up("").await);
    assert!(matches!(rig.ask("/config", Some(rig.config(&[]))).await, Answer::Taken(_)));
    rig.quiet("up", |s| s["state"] == "running").await.expect("it lives");
    let ordered = since_boot();
    assert!(matches!(rig.say("crash exit 7").await, Answer::Taken(_)));
    rig.until("in backoff", |s| s["state"] == "crashed" && s["nextRestartAt"].is_string()).await;
    clock.step(step);
    if also_killed {
        rig.kill_agent();
        assert!(rig.up("").await);
    }
    let status = rig.quiet(&what, |s| s["state"] == "running" && s["crashCount"] == 1).await.expect("it lives");
    let again = born(status["pid"].as_i64().unwrap() as i32);
    assert!(
        again + Duration::from_millis(20) >= ordered + BACKOFF,
        "{what}: started {again:?}, crashed past {ordered:?}"
    );
    let shown = status["timestamp"].as_i64().unwrap();
    let real = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME).unwrap()).as_secs() as i64;
    assert!((shown - real - step).abs() < 600, "{what}: the agent's clock was stepped: {shown} beside {real}");
    assert!(status["uptimeSeconds"].as_u64().unwrap() < 600, "{what}: {status}");
    assert!(matches!(rig.ask("/kill", None).await, Answer::Taken(_)));
    rig.quiet("killed", |s| s["state"] == "idle").await.expect("it lives");
    assert!(rig.leave());
}

#[tokio::test]
async fn a_restart_comes_neither_early_nor_late() {
    for step in [DAY, -DAY] {
        for also_killed in [false, true] {
            set_in_the_backoff(step, also_killed).await;
        }
    }
}

/// Neither the deadline of a start nor the one of its operation passes because somebody has set a clock.
#[tokio::test]
async fn a_start_and_a_stop_under_way_go_on() {
    let mut rig = Rig::new();
    let clock = WallClock::of(&mut rig);
    assert!(rig.up("").await);
    let mut body = rig.config(&["--ready-after", "700ms", "--save-time", "700ms"]);
    body["ready"]["within"] = "60s".into();
    let mut step = DAY;
    for path in ["/config", "/restart", "/stop"] {
        let body = (path == "/config").then(|| body.clone());
        assert!(matches!(rig.ask(path, body).await, Answer::Taken(_)));
        clock.step(step);
        step = -step;
        let state = if path == "/stop" { "idle" } else { "running" };
        rig.quiet(path, |s| s["state"] == state && s["crashCount"] == 0).await.expect("it lives");
        let operations = rig.get("/operations").await.expect("a list");
        assert_eq!(operations["operations"][0]["state"], "done", "{path}: {operations}");
    }
    eventually_now(super::rig::PATIENCE, || rig.games().is_empty().then_some(())).expect("nobody is left");
    assert!(rig.leave());
}
