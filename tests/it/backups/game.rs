//! Of a server root: a fake game that says what Minecraft says.
use super::{SOON, create, ended, id, list, look};
use crate::support::{Agent, Sandbox, eventually, free_port};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::PathBuf,
};

/// `java` is a script that becomes the fake game.
fn config(sandbox: &Sandbox) -> Value {
    let port = free_port();
    let java = sandbox.root().parent().unwrap().join("bin/java");
    let game = sandbox.fake_game();
    let (game, marker) = (game.display(), sandbox.marker());
    let script = format!("#!/bin/sh\nZLH_TEST_ID={marker} exec {game} --protocol minecraft --port {port}\n");
    fs::write(&java, script).unwrap();
    fs::set_permissions(&java, fs::Permissions::from_mode(0o755)).unwrap();
    json!({
        "vmid": 5072, "game": "minecraft", "variant": "vanilla", "version": "1.21.4", "world": "w", "ports": [port],
        "memory_mb": 1024, "java_path": java,
    })
}

fn server_root(sandbox: &Sandbox) -> PathBuf {
    sandbox.root().join("opt/zlh/minecraft/vanilla/w")
}

async fn running(sandbox: &Sandbox, flags: &[&str]) -> Agent {
    let root = server_root(sandbox);
    fs::create_dir_all(root.join("world/region")).unwrap();
    for (path, text) in [("server.jar", "jar"), ("world/level.dat", "level"), ("world/region/r.0.0.mca", "chunks")] {
        fs::write(root.join(path), text).unwrap();
    }
    let agent = sandbox.agent(flags);
    agent.configure(&config(sandbox)).await;
    agent.until_state("running", SOON).await;
    // As if the server had made them itself.
    let owner = fs::metadata(&root).unwrap();
    for path in ["server.jar", "world", "world/level.dat", "world/region", "world/region/r.0.0.mca"] {
        chown(root.join(path), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    agent
}

async fn console(agent: &Agent) -> String {
    agent.get("/console/log?from=0&limit=1000000").await.body
}

/// Positions of these texts after one another.
fn in_order(log: &str, texts: &[&str]) -> bool {
    let mut rest = log;
    texts.iter().all(|text| match rest.find(text) {
        Some(at) => {
            rest = &rest[at + text.len()..];
            true
        }
        None => false,
    })
}

#[tokio::test]
async fn a_running_game_saves_holds_its_writes_and_goes_on() {
    let sandbox = Sandbox::new();
    let agent = running(&sandbox, &[]).await;
    let backup = create(&agent, "game").await;
    assert_eq!(backup["source"], "opt/zlh/minecraft/vanilla/w");
    eventually("writes that are held and released in order", SOON, async || {
        let said = ["saving is now disabled", "Saving the game", "Saved the game", "saving is now enabled"];
        in_order(&console(&agent).await, &said).then_some(())
    })
    .await;
    let root = server_root(&sandbox);
    let restore = format!("/game/backups/restore?id={}&wait=60s", id(&backup));
    let refused = agent.post(&restore).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "not_stopped"));
    agent.post("/stop?wait=30s").await;
    let whole = look(&root.join("world"));
    fs::write(root.join("world/level.dat"), "griefed").unwrap();
    fs::remove_file(root.join("world/region/r.0.0.mca")).unwrap();
    fs::write(root.join("server.jar"), "a newer one").unwrap();
    let restored = agent.post(&restore).await;
    assert_eq!(restored.status, 200, "{restored:?}");
    assert_eq!(look(&root.join("world")), whole);
    assert_eq!(fs::read_to_string(root.join("server.jar")).unwrap(), "a newer one", "the server itself is left alone");
    agent.post("/start").await;
    agent.until_state("running", SOON).await;
    agent.finish().await;
}

#[tokio::test]
async fn a_game_that_never_says_that_it_has_saved_is_not_copied_and_writes_again() {
    let sandbox = Sandbox::new();
    let agent = running(&sandbox, &["--set", "backups.hold_within=300ms"]).await;
    // As if the console's line were lost: the word that answers is printed by nobody.
    let log = console(&agent).await;
    assert!(!log.contains("Saved the game"));
    agent.post_json("/console/command", &json!({"command": "crash hang"})).await;
    let end = ended(&agent, &agent.post("/game/backups").await).await;
    assert!(end["error"].as_str().unwrap().contains("backups.hold_within"), "{end}");
    assert!(list(&agent, "game").await.is_empty());
    agent.finish().await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn an_agent_that_dies_while_writes_are_held_has_them_released_by_the_next() {
    use crate::support::eventually_now;
    let sandbox = Sandbox::new();
    let agent = running(&sandbox, &[]).await;
    agent.kill_9();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_zlh"));
    let fail = [("ZLH_FAIL", "backup.held")];
    let mut agent = Agent::spawn(program, &sandbox, &["--allow-unauthenticated"], &fail);
    assert!(agent.listens());
    agent.until_state("running", SOON).await;
    let ordered = agent.try_call(reqwest::Method::POST, "/game/backups", None).await;
    assert!(ordered.is_err() || ordered.is_ok_and(|reply| reply.status == 202));
    assert!(eventually_now(SOON, || agent.ended()).is_some(), "the point never struck");
    let agent = sandbox.agent(&[]);
    eventually("a game that writes again", SOON, async || {
        let said = ["saving is now disabled", "Saved the game", "saving is now enabled"];
        in_order(&console(&agent).await, &said).then_some(())
    })
    .await;
    eventually("a backup that has failed", SOON, async || {
        let operations = agent.get("/operations").await.json()["operations"].clone();
        let mut backups = operations.as_array().unwrap().iter().filter(|o| o["kind"] == "backup");
        backups.any(|backup| backup["state"] == "failed").then_some(())
    })
    .await;
    assert_eq!(agent.status().await["state"], "running", "the game has not noticed");
    create(&agent, "game").await;
    agent.finish().await;
}
