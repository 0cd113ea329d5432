//! From a bare root to a running server, out of an artifact server: published with the publisher's own tool, installed,
//! repaired, upgraded. Java is the real one; the Minecraft servers are small ones of the tests' own
//! (`tests/real/ping-server`), because the real ones may not be shipped.
use crate::{
    it::support::{Agent, Sandbox, install},
    parts::{jar, part, runtime},
    play::{PATIENCE, free_port},
    shop::{Nginx, Shop},
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, process::Command};

fn agent(sandbox: &Sandbox, shop: &Shop) -> Agent {
    sandbox.agent(&["--artifacts-url", &shop.url])
}

fn minecraft(variant: &str, version: &str, port: u16) -> Value {
    json!({"vmid": 5072, "game": "minecraft", "variant": variant, "version": version, "ports": [port], "memory_mb": 1024})
}

fn root_of(sandbox: &Sandbox, game: &str) -> PathBuf {
    sandbox.root().join("opt/zlh").join(game).join("world")
}

/// Sends a body and waits for the state it must lead to.
async fn configure(agent: &Agent, body: &Value, state: &str) -> Value {
    agent.configure(body).await;
    settle(agent, state).await
}

async fn settle(agent: &Agent, state: &str) -> Value {
    let ended = |status: &Value| status["state"] == state || status["state"] == "error";
    let status = agent.until(&format!("state {state}, or an error"), PATIENCE, ended).await;
    assert_eq!(status["state"], state, "{status:#}");
    status
}

async fn stop(agent: &Agent) {
    let reply = agent.post("/stop?wait=60s").await;
    assert_eq!(reply.status.as_u16(), 204, "{reply:?}");
}

#[tokio::test]
async fn paper_comes_with_its_java_and_is_repaired_and_upgraded() {
    let sandbox = Sandbox::new();
    let shop = Shop::open(&sandbox);
    shop.add("game-java", "21", &runtime("JRE_21"));
    shop.add("minecraft/paper", "1.21.4", &jar("server.jar"));
    let (agent, port) = (agent(&sandbox, &shop), free_port());
    let status = configure(&agent, &minecraft("paper", "1.21.4", port), "running").await;
    assert_eq!(status["readySource"], "minecraft_ping");
    let log = agent.get("/console/log?from=0").await.body;
    assert!(log.contains("on Java 21."), "the installed one, not the machine's:\n{log}");

    let root = root_of(&sandbox, "minecraft/paper");
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    assert_eq!(read("eula.txt"), "eula=true\n");
    fs::write(root.join("server.properties"), "#mine\npvp=false\nserver-port=1\n").unwrap();
    fs::write(root.join("server.jar"), "damaged").unwrap();
    assert_eq!(agent.post("/restart").await.status.as_u16(), 202);
    let over = |status: &Value| status["operationInProgress"] == false && status["state"] == "running";
    agent.until("restarted", PATIENCE, over).await;
    assert_eq!(read("server.properties"), format!("#mine\npvp=false\nserver-port={port}\n"));
    assert_eq!(fs::read(root.join("server.jar")).unwrap(), fs::read(jar("server.jar")).unwrap(), "repaired");
    assert_eq!(read("world/level.dat"), "saved");

    let next = sandbox.root().with_file_name("next.jar");
    fs::copy(jar("server.jar"), &next).unwrap();
    fs::write(sandbox.root().with_file_name("news.txt"), "1.21.5").unwrap();
    let mut news = Command::new("jar");
    news.arg("--update").arg("--file").arg(&next).args(["-C", sandbox.marker(), "news.txt"]);
    assert!(news.status().unwrap().success());
    shop.add("minecraft/paper", "1.21.5", &next);
    stop(&agent).await;
    configure(&agent, &minecraft("paper", "1.21.5", port), "running").await;
    assert_eq!(fs::read(root.join("server.jar")).unwrap(), fs::read(&next).unwrap(), "upgraded");
    assert_eq!(read("world/level.dat"), "saved", "the world is the owner's");
    stop(&agent).await;
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn forge_is_made_by_its_own_installer_and_fabric_finds_its_mods() {
    let sandbox = Sandbox::new();
    let shop = Shop::open(&sandbox);
    shop.add("game-java", "21", &runtime("JRE_21"));
    shop.add("minecraft/forge", "1.20.6", &jar("forge-installer.jar"));
    shop.add("minecraft/fabric", "1.21.4", &jar("server.jar"));
    let beside = shop.store.join("minecraft/fabric/1.21.4");
    fs::write(beside.join("fabric-api.jar"), "api").unwrap();
    let (agent, port) = (agent(&sandbox, &shop), free_port());
    configure(&agent, &minecraft("forge", "1.20.6", port), "running").await;
    let forge = root_of(&sandbox, "minecraft/forge");
    assert!(forge.join("libraries/net/minecraftforge/forge/1.20.1-47.2.0/unix_args.txt").exists());
    stop(&agent).await;

    configure(&agent, &minecraft("fabric", "1.21.4", free_port()), "running").await;
    let fabric = root_of(&sandbox, "minecraft/fabric");
    assert!(fabric.join("fabric-server.jar").exists(), "the name its launcher needs");
    assert_eq!(fs::read_to_string(fabric.join("mods/fabric-api.jar")).unwrap(), "api");
    assert!(!fabric.join("mods/fabricproxy-lite.jar").exists(), "the artifact server has none");
    stop(&agent).await;
    assert!(agent.terminate().success());
}

#[tokio::test]
async fn an_installer_that_fails_shows_its_last_words() {
    let sandbox = Sandbox::new();
    let shop = Shop::open(&sandbox);
    shop.add("game-java", "21", &runtime("JRE_21"));
    // A server is no installer: it ends with an exception about the EULA's file or a port, not with a server root.
    shop.add("minecraft/neoforge", "1.21.4", &jar("server.jar"));
    let agent = agent(&sandbox, &shop);
    let status = configure(&agent, &minecraft("neoforge", "1.21.4", free_port()), "error").await;
    let why = status["error"].as_str().unwrap();
    assert!(why.contains("lacks") && why.contains("unix_args.txt"), "{why}");
    assert!(agent.terminate().success());
}

/// A Node.js that lies where only root may look is copied to where the agent keeps its own.
fn lend_node(sandbox: &Sandbox) {
    let node = part("NODE");
    if !node.starts_with("/usr") {
        let bin = sandbox.root().join("opt/zlh/runtimes/node/22/bin");
        fs::create_dir_all(&bin).unwrap();
        install(&node, &bin.join("node"));
    }
}

#[tokio::test]
async fn flying_squid_is_installed_from_an_archive() {
    let sandbox = Sandbox::new();
    let shop = Shop::open(&sandbox);
    shop.add("flying-squid/default", "1.12.0", &part("SQUID"));
    plays(&sandbox, &shop.url).await;
}

#[tokio::test]
async fn flying_squid_is_installed_from_nginx_too() {
    let sandbox = Sandbox::new();
    let shop = Shop::open(&sandbox);
    shop.add("flying-squid/default", "1.12.0", &part("SQUID"));
    let nginx = Nginx::serve(&shop.store);
    plays(&sandbox, &nginx.url).await;
}

async fn plays(sandbox: &Sandbox, artifacts: &str) {
    lend_node(sandbox);
    let agent = sandbox.agent(&["--artifacts-url", artifacts]);
    let body =
        json!({"vmid": 1, "game": "flying-squid", "version": "1.12.0", "ports": [free_port()], "memory_mb": 512});
    let status = configure(&agent, &body, "running").await;
    assert_eq!(status["readySource"], "minecraft_ping");
    stop(&agent).await;
    assert!(agent.terminate().success());
}

/// SteamCMD itself fetches from the internet only: a script of its calling convention stands in for it.
#[tokio::test]
async fn a_game_of_steam_is_fetched_by_steamcmd_into_its_root() {
    let sandbox = Sandbox::new();
    let shop = Shop::open(&sandbox);
    let folder = sandbox.root().with_file_name("steamcmd");
    fs::create_dir(&folder).unwrap();
    let server = r#"import socket, sys
port = int(sys.argv[sys.argv.index("-port") + 1])
game = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
game.bind(("127.0.0.1", port))
print("server", *sys.argv[1:], flush=True)
for line in sys.stdin:
    if line.strip() == "quit":
        break
"#;
    let script = format!(
        "#!/bin/sh\n[ \"$1 $3 $4 $5 $6\" = '+force_install_dir +login anonymous +app_update 4020' ] || exit 9\n\
         echo 'Update state (0x61) downloading, progress: 50.00'\n\
         (echo '#!/usr/bin/python3'; cat <<'END'\n{server}END\n) >\"$2/srcds_run\"\n\
         chmod 755 \"$2/srcds_run\"\necho \"Success! App '4020' fully installed.\"\n"
    );
    fs::write(folder.join("steamcmd.sh"), script).unwrap();
    let archive = shop.store.join("steam/steamcmd_linux.tar.gz");
    fs::create_dir(archive.parent().unwrap()).unwrap();
    let packed = Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("--mode=755")
        .arg("-C")
        .arg(&folder)
        .arg("steamcmd.sh")
        .status();
    assert!(packed.unwrap().success());
    let agent = agent(&sandbox, &shop);
    let body = json!({"vmid": 1, "game": "garrysmod", "ports": [free_port()], "memory_mb": 1024,
        "ready": {"kind": "log", "pattern": "^server -norestart"}});
    configure(&agent, &body, "running").await;
    stop(&agent).await;
    assert!(agent.terminate().success());
}
