//! Minetest: no console, ends by SIGTERM, prints its ready line before it has its port.
use crate::{
    it::support::Sandbox,
    play::{
        PATIENCE, Verdict, account, agent_with_backoff, ask_udp, config, configured, crash_report, free_port,
        server_file, shown, stop,
    },
};
use serde_json::json;
use std::net::{Ipv4Addr, UdpSocket};

/// The protocol's first packet, and what every answer begins with.
const HELLO: [u8; 8] = [0x4f, 0x45, 0x74, 0x03, 0, 0, 0, 1];
const MAGIC: [u8; 4] = [0x4f, 0x45, 0x74, 0x03];

fn mod_file(sandbox: &Sandbox, file: &str, text: &str) {
    server_file(sandbox, "minetest", &format!("worlds/world/worldmods/bad/{file}"), text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_its_protocol_and_ends_in_order() {
    let (sandbox, port) = (Sandbox::new(), free_port());
    // Told, but not fatal: the server runs without this mod.
    mod_file(&sandbox, "init.lua", "");
    mod_file(&sandbox, "mod.conf", "name = bad\ndepends = economy\n");
    let agent = sandbox.agent(&[]);
    let status = configured(&agent, &config("minetest", port)).await;
    assert_eq!((&status["readySource"], account(&status)), (&json!("udp"), "game".into()), "{status:#}");
    let answer = ask_udp(port, &HELLO).await;
    assert_eq!((answer.len(), &answer[..4]), (14, &MAGIC[..]));
    shown(&agent, "has unsatisfied dependencies").await;
    assert_eq!(agent.status().await["state"], "running");
    stop(&agent).await;
    shown(&agent, "got SIGTERM").await;
    assert!(sandbox.root().join("opt/zlh/minetest/default/world/worlds/world/env_meta.txt").exists(), "it saved");
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_mod_is_named() {
    let (sandbox, port) = (Sandbox::new(), free_port());
    let agent = agent_with_backoff(&sandbox, "1h");
    mod_file(&sandbox, "init.lua", "error('boom')\n");
    agent.configure(&config("minetest", port)).await;
    let at_load =
        Verdict { exit: 1, classification: "mod_or_plugin_error", code: "mod.load", rule: "MT01", hint: "mod bad" };
    let report = crash_report(&agent, 1).await;
    at_load.check(&report);
    assert_eq!(report["suspectedMod"], "bad", "{report:#}");
    let failed = agent.until_state("error", PATIENCE).await;
    assert!(failed["error"].to_string().contains("The mod bad failed to load"), "{failed:#}");

    mod_file(&sandbox, "init.lua", "minetest.register_globalstep(function() error('boom') end)\n");
    agent.configure(&config("minetest", port)).await;
    let running = Verdict { code: "mod.runtime", rule: "MT03", hint: "failed while the server ran", ..at_load };
    running.check(&crash_report(&agent, 2).await);
    agent.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_ready_line_is_not_believed_when_the_port_is_taken() {
    let (sandbox, port) = (Sandbox::new(), free_port());
    let foreign = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    // It lives on for a while after that line: 0.4 s on a quiet machine.
    let agent = sandbox.agent(&["--set", "ready.settle=5s", "--set", "restart.backoff=1h"]);
    // A custom program without declared ports: only its own words can be read.
    let body = json!({
        "vmid": 1, "game": "custom", "workdir": "minetest",
        "command": ["minetestserver", "--world", "w", "--gameid", "minetest_game", "--logfile", "", "--port", port.to_string()],
        "ready": {"kind": "log", "pattern": "listening on", "within": "30s"},
    });
    agent.configure(&body).await;
    let taken = Verdict {
        exit: 1,
        classification: "nonzero_exit",
        code: "env.port_in_use",
        rule: "E01",
        hint: "holds the port",
    };
    let report = crash_report(&agent, 1).await;
    taken.check(&report);
    assert!(report["logTail"].to_string().contains("listening on"), "{report:#}");
    assert_eq!(report["wasReady"], false, "{report:#}");
    drop(foreign);
    agent.post("/start").await;
    agent.until_state("running", PATIENCE).await;
    agent.finish().await;
}
