//! The init: real PID 1 of a namespace, with an agent whose deeds the test decides.
use super::harness::{eventually, send, status_field};
use crate::support::install;
use std::{
    path::Path,
    process::{Child, Command},
};

/// Starts a copy of the binary as PID 1, then puts `agent` where it was installed: as after an upgrade, the init
/// starts what lies at that path now.
fn init_with(home: &Path, agent: &str) -> Child {
    let installed = home.join("zlh");
    install(Path::new(env!("CARGO_BIN_EXE_zlh")), &installed);
    let [text, fake] = ["text", "fake"].map(|name| home.join(name));
    std::fs::write(&text, format!("#!/bin/sh\ncd '{}'\n{agent}", home.display())).unwrap();
    install(&text, &fake);
    let swap = format!("exec 9<'{0}/zlh'; mv '{0}/fake' '{0}/zlh'; exec /proc/self/fd/9 agent --flag", home.display());
    Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", &swap])
        .spawn()
        .unwrap()
}

/// The init's number as seen from here: the only child of `unshare`.
fn init_of(unshare: &Child) -> i32 {
    let parent = unshare.id().to_string();
    eventually("the init", || children_of(&parent).first().copied())
}

fn children_of(parent: &str) -> Vec<i32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| status_field(*pid, "PPid").as_deref() == Some(parent))
        .collect()
}

/// The init's last word, in time.
fn end_of(unshare: &mut Child) -> Option<i32> {
    eventually("the end", || unshare.try_wait().unwrap()).code()
}

fn lines(home: &Path) -> Vec<String> {
    std::fs::read_to_string(home.join("deeds")).unwrap_or_default().lines().map(String::from).collect()
}

#[test]
fn it_restarts_the_agent_reaps_orphans_forwards_signals_and_ends_with_it() {
    let home = tempfile::tempdir().unwrap();
    let agent = "echo \"start $PPID $ZLH_UNDER_INIT $*\" >> deeds\n\
        case $(grep -c start deeds) in\n\
        1) kill -KILL $$ ;;\n\
        2) exit 70 ;;\n\
        esac\n\
        for i in 1 2 3 4 5 6 7 8 9 10; do (setsid sh -c 'sleep 0.01 & exit' &); done\n\
        trap 'echo usr1 >> deeds' USR1\n\
        trap 'echo term >> deeds; exit 5' TERM\n\
        echo ready >> deeds\n\
        while :; do sleep 0.05; done";
    let mut unshare = init_with(home.path(), agent);
    eventually("the third agent", || lines(home.path()).contains(&"ready".into()).then_some(()));
    assert_eq!(lines(home.path())[..3], vec!["start 1 1 agent --flag"; 3]);
    let init = init_of(&unshare);
    eventually("only the agent is left", || {
        let children = children_of(&init.to_string());
        (children.len() == 1).then_some(())
    });
    send(init, libc::SIGUSR1);
    eventually("forwarded", || lines(home.path()).contains(&"usr1".into()).then_some(()));
    send(init, libc::SIGTERM);
    assert_eq!(end_of(&mut unshare), Some(5));
    assert_eq!(lines(home.path()).last().map(String::as_str), Some("term"));
}

#[test]
fn an_agent_that_dies_of_the_forwarded_signal_is_not_started_again() {
    let home = tempfile::tempdir().unwrap();
    let mut unshare = init_with(home.path(), "echo start >> deeds\nexec sleep 1000");
    eventually("up", || (!lines(home.path()).is_empty()).then_some(()));
    let init = init_of(&unshare);
    eventually("it sleeps", || {
        let agent = *children_of(&init.to_string()).first()?;
        status_field(agent, "Name").filter(|name| name == "sleep")
    });
    send(init, libc::SIGTERM);
    assert_eq!(end_of(&mut unshare), Some(128 + libc::SIGTERM));
    assert_eq!(lines(home.path()), ["start"]);
}

#[test]
fn a_wrong_configuration_is_final() {
    for code in [0, 2, 78] {
        let home = tempfile::tempdir().unwrap();
        let mut unshare = init_with(home.path(), &format!("echo start >> deeds\nexit {code}"));
        assert_eq!(end_of(&mut unshare), Some(code));
        assert_eq!(lines(home.path()), ["start"]);
    }
}
