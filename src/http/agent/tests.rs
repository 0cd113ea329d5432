//! One agent over real sockets: every route, who may ask it, and what it answers.
use super::{ROUTES, openapi};
use crate::{
    actors::game_server::{Accepted, Denied},
    http::{
        auth::Access,
        tests::{BACKUP, CHECKPOINT, DEADLINE, Fixture, TOKEN, bearer, check, crash, operation, until},
    },
    model::{
        container::Kind, install::User, operation::OperationState, phase::State, refusal::Refusal, snapshot::Players,
    },
};
use std::{collections::BTreeSet, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use utoipa::OpenApi;

/// CONTRACT §1.3, as far as this version goes.
const PROMISED: &[(&str, &str)] = &[
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/version"),
    ("GET", "/status"),
    ("GET", "/events"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("POST", "/config"),
    ("POST", "/start"),
    ("POST", "/restart"),
    ("POST", "/stop"),
    ("POST", "/kill"),
    ("GET", "/operations"),
    ("GET", "/operations/{id}"),
    ("DELETE", "/operations/{id}"),
    ("GET", "/dev/runtimes"),
    ("POST", "/dev/codeserver/start"),
    ("POST", "/dev/codeserver/stop"),
    ("POST", "/dev/codeserver/restart"),
    ("GET", "/dev/codeserver/log"),
    ("POST", "/dev/runtimes"),
    ("POST", "/dev/runtimes/gc"),
    ("DELETE", "/dev/runtimes/{runtime}/{version}"),
    ("POST", "/dev/runtimes/{runtime}/activate"),
    ("POST", "/dev/runtimes/{runtime}/rollback"),
    ("POST", "/dev/runtimes/{runtime}/verify"),
    ("POST", "/dev/runtimes/{runtime}/repair"),
    ("GET", "/dev/backups"),
    ("POST", "/dev/backups"),
    ("POST", "/dev/backups/restore"),
    ("DELETE", "/dev/backups/{id}"),
    ("POST", "/dev/backups/{id}/verify"),
    ("GET", "/game/backups"),
    ("POST", "/game/backups"),
    ("POST", "/game/backups/restore"),
    ("DELETE", "/game/backups/{id}"),
    ("POST", "/game/backups/{id}/verify"),
    ("POST", "/agent/update"),
    ("GET", "/agent/update/status"),
    ("GET", "/console/stream"),
    ("GET", "/console/log"),
    ("POST", "/console/command"),
    ("GET", "/crashes"),
    ("GET", "/crashes/{id}"),
    ("GET", "/game/players"),
];

fn set(pairs: impl IntoIterator<Item = (String, String)>) -> BTreeSet<(String, String)> {
    pairs.into_iter().collect()
}

#[test]
fn routes_promise_and_openapi_agree() {
    let promised = set(PROMISED.iter().map(|(m, p)| (m.to_string(), p.to_string())));
    let routed = set(ROUTES.iter().map(|r| (r.method.to_string(), r.path.to_string())));
    assert_eq!(routed, promised);
    let document = serde_json::to_value(openapi::Document::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let documented = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
    });
    assert_eq!(set(documented), promised);
}

#[test]
fn openapi_says_which_routes_are_open() {
    let document = serde_json::to_value(openapi::Document::openapi()).unwrap();
    assert_eq!(document["security"][0]["bearer"], serde_json::json!([]));
    for route in ROUTES {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        let is_open = operation["security"] == serde_json::json!([{}]);
        assert_eq!(is_open, route.access == Access::Open, "{}", route.path);
    }
}

#[tokio::test]
async fn every_route_but_three_wants_the_token() {
    let agent = Fixture::start().await;
    let open: Vec<_> = ROUTES.iter().filter(|r| r.access == Access::Open).map(|r| r.path).collect();
    assert_eq!(open, ["/health", "/ready", "/version"]);
    for route in ROUTES {
        let (method, path) = (route.method.as_str(), route.path);
        for more in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic Og==\r\n"] {
            let reply = agent.call(method, path, more, "").await;
            if route.access == Access::Open {
                assert_eq!(reply.status, 200, "{path}");
                continue;
            }
            assert_eq!((reply.status, reply.problem().as_str()), (401, "unauthorized"), "{path}");
            assert_eq!(reply.headers["www-authenticate"], "Bearer realm=\"zlh\"");
        }
    }
    let in_url = agent.call("GET", "/status?token=correct-horse", "", "").await;
    assert_eq!(in_url.status, 401);
}

#[tokio::test]
async fn what_only_games_have_is_refused_in_a_dev_container() {
    let mut agent = Fixture::start().await;
    let games: Vec<_> = ROUTES.iter().filter(|r| r.needs == Some(Kind::Game)).collect();
    assert!(games.iter().any(|r| r.path == "/start") && games.iter().any(|r| r.path == "/game/players"));
    agent.kind.send_replace(Kind::Dev);
    for route in games {
        let reply = agent.ask(route.method.as_str(), route.path).await;
        assert_eq!((reply.status, reply.problem().as_str()), (409, "not_a_game"), "{}", route.path);
    }
    assert!(agent.calls.try_recv().is_err(), "nobody was asked");
    agent.kind.send_replace(Kind::Game);
    assert_eq!(agent.ask("POST", "/start").await.status, 202);
}

#[tokio::test]
async fn every_route_refuses_a_rebound_name() {
    let agent = Fixture::start().await;
    for route in ROUTES {
        let request = format!(
            "{} {} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n{}\r\n",
            route.method,
            route.path,
            bearer()
        );
        let reply = agent.raw(request).await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "host_not_allowed"), "{}", route.path);
    }
}

#[tokio::test]
async fn orders_about_runtimes_reach_the_installer() {
    let mut agent = Fixture::start().await;
    let version = r#"{"version":"22"}"#;
    let orders = [
        ("POST", "/dev/runtimes", r#"{"runtime":"node","version":"22"}"#, "ensure node 22 true api"),
        ("POST", "/dev/runtimes", r#"{"runtime":"go","version":"1.22","activate":false}"#, "ensure go 1.22 false api"),
        ("POST", "/dev/runtimes/gc", "", "collect api"),
        ("DELETE", "/dev/runtimes/node/20", "", "remove node 20 api"),
        ("POST", "/dev/runtimes/node/activate", version, "activate node 22 api"),
        ("POST", "/dev/runtimes/node/rollback", "", "rollback node api"),
        ("POST", "/dev/runtimes/node/verify", version, "verify node Some(\"22\") api"),
        ("POST", "/dev/runtimes/node/repair", "", "repair node None api"),
    ];
    for (method, path, body, call) in orders {
        let reply = agent.call(method, path, &bearer(), body).await;
        assert_eq!((reply.status, &reply.json()["operationId"]), (202, &"op-2".into()), "{path}");
        assert_eq!(agent.calls.recv().await.unwrap(), call);
    }
    let unknown = agent.post("/dev/runtimes", r#"{"runtime":"node","version":"22","force":true}"#).await;
    assert_eq!((unknown.status, unknown.problem().as_str()), (400, "malformed_body"));
    assert_eq!(agent.ask("DELETE", "/operations/op-9").await.problem(), "no_such_operation");
    agent.publish(|p| p.operations = Arc::new(vec![operation("op-9", OperationState::Running)]));
    assert_eq!(agent.ask("DELETE", "/operations/op-9").await.status, 202);
}

#[tokio::test]
async fn orders_about_backups_reach_their_desk() {
    let mut agent = Fixture::start().await;
    for (kind, word) in [(Kind::Game, "game"), (Kind::Dev, "dev")] {
        agent.kind.send_replace(kind);
        let list = agent.ask("GET", &format!("/{word}/backups")).await.json();
        assert_eq!((&list["backups"][0]["id"], &list["backups"][0]["archiveBytes"]), (&BACKUP.into(), &10.into()));
        assert_eq!(agent.calls.recv().await.unwrap(), format!("backups {word}"));
        for (method, path, status, call) in [
            ("POST", "", 202, format!("back_up {word} api")),
            ("POST", "?wait=1s", 201, format!("back_up {word} api")),
            ("POST", &*format!("/restore?id={BACKUP}"), 202, format!("put_back {word} {BACKUP} api")),
            ("POST", &*format!("/{BACKUP}/verify?wait=5s"), 200, format!("verify {word} {BACKUP} api")),
            ("DELETE", &*format!("/{BACKUP}"), 204, format!("delete {word} {BACKUP} api")),
        ] {
            let reply = agent.ask(method, &format!("/{word}/backups{path}")).await;
            assert_eq!(reply.status, status, "{method} {path}");
            assert_eq!(agent.calls.recv().await.unwrap(), call);
            if status != 204 {
                assert_eq!(reply.json()["operationId"], "op-3");
            }
        }
        let restore = agent.ask("POST", &format!("/{word}/backups/restore?id={BACKUP}&wait=1s")).await;
        let (status, json) = (restore.status, restore.json());
        assert_eq!((status, &json["backup"]["bytes"]), (200, &30.into()));
        assert_eq!((&json["checkpoint"]["id"], &json["checkpoint"]["state"]), (&CHECKPOINT.into(), &"creating".into()));
        agent.calls.recv().await.unwrap();
        for (method, path) in [("POST", "/restore?id=../../etc"), ("DELETE", "/x"), ("POST", "/1/verify")] {
            let reply = agent.ask(method, &format!("/{word}/backups{path}")).await;
            assert_eq!((reply.status, reply.problem().as_str()), (404, "no_such_backup"), "{path}");
        }
        let wrong = agent.ask("POST", &format!("/{word}/backups/restore?id={BACKUP}&force=1")).await;
        assert_eq!((wrong.status, wrong.problem().as_str()), (400, "malformed_query"));
    }
    assert!(agent.calls.try_recv().is_err(), "what is no id reaches nobody");
    agent.publish(|p| p.operations = Arc::new(vec![operation("op-3", OperationState::Running)]));
    assert_eq!(agent.ask("DELETE", "/operations/op-3").await.status, 202);
    assert!(agent.calls.try_recv().is_err(), "the installer was not asked");
}

#[tokio::test]
async fn what_the_desk_of_backups_refuses_says_why() {
    let agent = Fixture::start().await;
    for (refusal, status, code) in [
        (Refusal::NotStopped, 409, "not_stopped"),
        (Refusal::BackupDamaged { fault: "a byte".into() }, 409, "backup_damaged"),
        (Refusal::DiskFull { needed: 500, free: 7 }, 507, "disk_full"),
    ] {
        _ = agent.verdict.send_replace(Err(Denied::Refused(refusal)));
        let reply = agent.ask("POST", &format!("/game/backups/restore?id={BACKUP}")).await;
        assert_eq!((reply.status, reply.problem().as_str()), (status, code));
        if status == 507 {
            assert_eq!(reply.json()["limit"], 500);
            assert!(reply.json()["detail"].as_str().unwrap().contains("7 bytes are free"));
        }
    }
}

#[tokio::test]
async fn what_the_installer_refuses_says_why() {
    let agent = Fixture::start().await;
    let users = vec![User { pid: 4121, name: "node".into() }];
    _ = agent.ordered.send_replace(Err(Denied::Refused(Refusal::InUse { what: "node 20".into(), users })));
    let reply = agent.ask("DELETE", "/dev/runtimes/node/20").await;
    assert_eq!((reply.status, reply.problem().as_str()), (409, "in_use"));
    assert_eq!(reply.json()["users"], serde_json::json!([{"pid": 4121, "name": "node"}]));
    assert_eq!(reply.json()["detail"], "node 20 is in use by 4121 (node).");
    let absent = Refusal::NotInstalled { what: "node 19".into(), installed: vec!["20".into(), "22".into()] };
    _ = agent.ordered.send_replace(Err(Denied::Refused(absent)));
    let reply = agent.post("/dev/runtimes/node/activate", r#"{"version":"19"}"#).await;
    assert_eq!((reply.status, reply.problem().as_str()), (404, "not_installed"));
    assert_eq!(reply.json()["detail"], "node 19 is not installed here; installed versions: 20, 22.");
    let list = agent.ask("GET", "/dev/runtimes").await.json();
    assert_eq!(list["installed"][0]["inUseBy"][0]["pid"], 7);
    assert_eq!(list["availableError"], "http://artifacts/ cannot be reached");
}

#[tokio::test]
async fn health_version_and_readiness() {
    let agent = Fixture::start().await;
    let health = agent.call("GET", "/health", "", "").await;
    assert_eq!((health.status, health.text()), (200, "ok"));
    let version = agent.call("GET", "/version", "", "").await.json();
    assert_eq!(version, serde_json::json!({"version": "v0.1.0", "commit": "abc123"}));
    let ready = agent.call("GET", "/ready", "", "").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    agent.publish(|p| p.checks = Arc::new(vec![check("process", true), check("ping", false)]));
    let not_ready = agent.call("GET", "/ready", "", "").await;
    assert_eq!(not_ready.status, 503);
    let json = not_ready.json();
    assert_eq!((&json["ready"], &json["reason"]), (&false.into(), &"ping: no answer on 25565".into()));
    assert_eq!(json["checks"][1]["ok"], false);
}

#[tokio::test]
async fn status_is_served_as_published_and_304_when_known() {
    let agent = Fixture::start().await;
    let first = agent.ask("GET", "/status").await;
    assert_eq!(first.status, 200);
    assert_eq!(first.body, agent.status.borrow().json);
    assert_eq!(
        (first.headers["etag"].as_str(), first.headers["content-type"].as_str()),
        ("\"inst-1\"", "application/json")
    );
    for known in ["\"inst-1\"", "W/\"inst-1\"", "\"x\", \"inst-1\"", "*"] {
        let reply = agent.call("GET", "/status", &format!("{}If-None-Match: {known}\r\n", bearer()), "").await;
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{known}");
    }
    agent.publish(|p| p.snapshot.state = State::Running);
    let changed = agent.call("GET", "/status", &format!("{}If-None-Match: \"inst-1\"\r\n", bearer()), "").await;
    assert_eq!((changed.status, &changed.json()["state"]), (200, &"running".into()));
    let head = agent.ask("HEAD", "/status").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn status_waits_for_the_next_revision() {
    let agent = Fixture::with(|s| s.limits.max_wait = Duration::from_millis(100)).await;
    let at_once = agent.ask("GET", "/status?wait=30s&since=0").await;
    assert_eq!(at_once.json()["revision"], 1);
    let earlier_life = agent.ask("GET", "/status?wait=30s&since=99").await;
    assert_eq!(earlier_life.json()["revision"], 1);
    let capped = agent.ask("GET", "/status?wait=30s&since=1").await;
    assert_eq!((capped.status, &capped.json()["revision"]), (200, &1.into()));
    let wrong = agent.ask("GET", "/status?wait=soon").await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (400, "malformed_query"));

    let agent = Fixture::start().await;
    let (reply, ()) = tokio::join!(agent.ask("GET", "/status?wait=9s&since=1"), async {
        until("the poller waits", || agent.status.receiver_count() > 1).await;
        agent.publish(|_| {});
    });
    assert_eq!(reply.json()["revision"], 2);
}

#[tokio::test]
async fn power_verbs_answer_as_old_callers_expect() {
    let mut agent = Fixture::start().await;
    for verb in ["start", "restart"] {
        let reply = agent.ask("POST", &format!("/{verb}")).await;
        assert_eq!(reply.status, 202);
        assert_eq!(reply.json(), serde_json::json!({"ok": true, "state": "starting", "operationId": "op-1"}));
        assert_eq!(agent.calls.recv().await.unwrap(), format!("{verb} api"));
    }
    for verb in ["stop", "kill"] {
        let reply = agent.ask("POST", &format!("/{verb}")).await;
        assert_eq!((reply.status, reply.body.len(), reply.headers["operation-id"].as_str()), (204, 0, "op-1"));
    }
    drop(agent.verdict.send_replace(Ok(Accepted { operation: None, state: State::Running })));
    let again = agent.ask("POST", "/start").await;
    assert_eq!((again.status, again.json()), (200, serde_json::json!({"ok": true, "state": "running"})));
    assert_eq!(agent.ask("POST", "/stop").await.headers.get("operation-id"), None);
}

#[tokio::test]
async fn denials_become_problems() {
    let agent = Fixture::start().await;
    let cases = [
        (Denied::Refused(Refusal::NoConfig), 409, "no_config"),
        (Denied::Refused(Refusal::NotRunning), 409, "not_running"),
        (
            Denied::Refused(Refusal::Unusable { field: "version".into(), detail: "9 is unknown".into() }),
            422,
            "unusable",
        ),
        (Denied::Refused(Refusal::Recovering), 503, "recovering"),
        (Denied::Busy, 503, "busy"),
        (Denied::Gone, 503, "restarting"),
    ];
    for (denied, status, code) in cases {
        drop(agent.verdict.send_replace(Err(denied)));
        for path in ["/start", "/stop", "/kill", "/restart"] {
            let reply = agent.ask("POST", path).await;
            assert_eq!((reply.status, reply.problem().as_str()), (status, code));
            assert_eq!(reply.headers.contains_key("retry-after"), status == 503);
        }
    }
}

#[tokio::test]
async fn stop_waits_until_it_is_down() {
    let agent = Fixture::start().await;
    agent.publish(|p| p.operations = Arc::new(vec![operation("op-1", OperationState::Running)]));
    let (reply, ()) = tokio::join!(agent.ask("POST", "/stop?wait=9s"), async {
        until("the caller waits", || agent.status.receiver_count() > 1).await;
        agent.publish(|_| {});
        agent.publish(|p| p.operations = Arc::new(vec![operation("op-1", OperationState::Done)]));
    });
    assert_eq!((reply.status, reply.headers["operation-id"].as_str()), (204, "op-1"));
    agent.publish(|p| {
        let mut failed = operation("op-1", OperationState::Failed);
        failed.error = Some("a process does not die".into());
        p.operations = Arc::new(vec![failed]);
    });
    let failed = agent.ask("POST", "/stop?wait=9s").await;
    assert_eq!((failed.status, failed.problem().as_str()), (500, "operation_failed"));
    assert_eq!(failed.json()["detail"], "a process does not die");
    agent.publish(|p| p.operations = Arc::default());
    let too_short = agent.ask("POST", "/stop?wait=20ms").await;
    assert_eq!((too_short.status, &too_short.json()["operationId"]), (202, &"op-1".into()));
}

#[tokio::test]
async fn config_passes_through_what_it_does_not_know() {
    let mut agent = Fixture::start().await;
    let reply = agent.post("/config", r#"{"vmid":5072,"oldField":true}"#).await;
    assert_eq!((reply.status, &reply.json()["operationId"]), (202, &"op-1".into()));
    assert_eq!(agent.calls.recv().await.unwrap(), r#"configure {"oldField":true,"vmid":5072} api"#);
    for (body, code) in
        [("[]", "malformed_body"), ("", "malformed_body"), ("{\"a\":", "malformed_body"), ("nul", "malformed_body")]
    {
        let reply = agent.post("/config", body).await;
        assert_eq!((reply.status, reply.problem().as_str()), (400, code), "{body}");
    }
    let form = format!("{}Content-Type: text/plain\r\n", bearer());
    let reply = agent.call("POST", "/config", &form, "{}").await;
    assert_eq!((reply.status, reply.problem().as_str()), (415, "unsupported_media_type"));
    let charset = format!("{}Content-Type: application/json; charset=utf-8\r\n", bearer());
    assert_eq!(agent.call("POST", "/config", &charset, "{}").await.status, 202);
}

#[tokio::test]
async fn bodies_are_bounded_whole_or_in_chunks() {
    let agent = Fixture::with(|s| {
        s.limits.body_bytes = 1000;
        s.limits.body_timeout = Duration::from_millis(100);
    })
    .await;
    let long = agent.post("/config", &format!("{{\"a\":\"{}\"}}", "x".repeat(2000))).await;
    assert_eq!((long.status, long.problem().as_str(), &long.json()["limit"]), (413, "too_large", &1000.into()));
    let head =
        format!("POST /config HTTP/1.1\r\nHost: {}\r\n{}Transfer-Encoding: chunked\r\n\r\n", agent.addr, bearer());
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let chunked = agent.raw(format!("{head}{}", chunk.repeat(3))).await;
    assert_eq!((chunked.status, chunked.problem().as_str()), (413, "too_large"));
    let slow = agent.raw(format!("{head}1\r\n{{\r\n")).await;
    assert_eq!((slow.status, slow.problem().as_str()), (408, "request_timeout"));
}

#[tokio::test]
async fn commands_are_one_clean_line() {
    let mut agent = Fixture::start().await;
    let reply = agent.post("/console/command", r#"{"command":"say hi \u00fc"}"#).await;
    assert_eq!(reply.status, 202);
    assert_eq!(agent.calls.recv().await.unwrap(), "command say hi \u{fc}");
    let long = serde_json::json!({"command": "x".repeat(1025)}).to_string();
    for (body, code) in [
        (r#"{"command":"say\nstop"}"#, "invalid_command"),
        (r#"{"command":"a\u001b[2J"}"#, "invalid_command"),
        (r#"{"command":"a\u0085b"}"#, "invalid_command"),
        (r#"{"command":" "}"#, "invalid_command"),
        (long.as_str(), "invalid_command"),
        (r#"{"command":1}"#, "malformed_body"),
        (r#"{"command":"a","command":"b"}"#, "malformed_body"),
        ("{}", "malformed_body"),
    ] {
        let reply = agent.post("/console/command", body).await;
        assert_eq!((reply.status, reply.problem().as_str()), (400, code), "{body}");
    }
    let unknown = agent.post("/console/command", r#"{"command":"a","colour":"red"}"#).await;
    assert!(unknown.status == 400 && unknown.json()["detail"].as_str().unwrap().contains("`colour`"));
    let chatty = agent.post("/console/command", &format!("{{\"{}\":1}}", "\u{fc}".repeat(5000))).await;
    assert!(chatty.body.len() < 1500, "what was sent is not sent back at any length");
    let longest = serde_json::json!({"command": "x".repeat(1024)}).to_string();
    assert_eq!(agent.post("/console/command", &longest).await.status, 202);
    drop(agent.verdict.send_replace(Err(Denied::Refused(Refusal::NotRunning))));
    assert_eq!(agent.post("/console/command", r#"{"command":"stop"}"#).await.problem(), "not_running");
}

#[tokio::test]
async fn operations_crashes_and_players() {
    let agent = Fixture::start().await;
    agent.publish(|p| {
        p.operations = Arc::new(vec![operation("b", OperationState::Running), operation("a", OperationState::Done)]);
        p.crashes = Arc::new(vec![Arc::new(crash("c1"))]);
    });
    assert_eq!(agent.ask("GET", "/operations").await.json()["operations"][0]["id"], "b");
    let one = agent.ask("GET", "/operations/a").await.json();
    assert_eq!((&one["state"], one.get("deadline")), (&"done".into(), None));
    assert_eq!(agent.ask("GET", "/operations/zz").await.problem(), "no_such_operation");
    assert_eq!(agent.ask("GET", "/crashes").await.json()["crashes"][0]["classification"], "oom");
    assert_eq!(agent.ask("GET", "/crashes/c1").await.json()["logTail"][0], "last line");
    assert_eq!(agent.ask("GET", "/crashes/c2").await.problem(), "no_such_crash");
    assert_eq!(agent.ask("GET", "/game/players").await.problem(), "players_unknown");
    agent.players.send_replace(Some(Players { online: 1, max: 20, players: vec!["Alice".into()] }));
    let players = agent.ask("GET", "/game/players").await.json();
    assert_eq!(players, serde_json::json!({"online": 1, "max": 20, "players": ["Alice"]}));
}

#[tokio::test]
async fn while_the_past_is_not_known_no_operation_is_denied() {
    let agent = Fixture::start().await;
    agent.publish(|p| p.recovering = true);
    let reply = agent.ask("GET", "/operations/a").await;
    assert_eq!((reply.status, reply.problem().as_str()), (503, "recovering"));
    let read = async {
        agent.publish(|p| (p.recovering, p.operations) = (false, Arc::new(vec![operation("a", OperationState::Done)])));
    };
    let (reply, ()) = tokio::join!(agent.ask("GET", "/operations/a"), read);
    assert_eq!(reply.json()["id"], "a");
    assert_eq!(agent.ask("GET", "/operations/b").await.problem(), "no_such_operation");
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let agent = Fixture::start().await;
    for path in ["/", "/nothing", "/status/", "//status", "/operations/a/b", "/%2e%2e/status"] {
        let reply = agent.ask("GET", path).await;
        assert_eq!((reply.status, reply.problem().as_str()), (404, "not_found"), "{path}");
    }
    let reply = agent.ask("DELETE", "/status").await;
    assert_eq!((reply.status, reply.problem().as_str()), (405, "method_not_allowed"));
    assert_eq!(reply.headers["allow"], "GET,HEAD");
    assert_eq!(agent.ask("GET", "/start").await.headers["allow"], "POST");
    let bad = agent.ask("GET", "/operations/%ff").await;
    assert_eq!((bad.status, bad.problem().as_str()), (400, "malformed"));
}

#[tokio::test]
async fn a_panicking_handler_is_one_bad_answer() {
    let agent = Fixture::start().await;
    let reply = agent.post("/console/command", r#"{"command":"panic"}"#).await;
    assert_eq!((reply.status, reply.problem().as_str()), (500, "internal"));
    assert_eq!(agent.ask("GET", "/status").await.status, 200);
}

#[tokio::test]
async fn a_foreign_page_cannot_change_anything() {
    let agent = Fixture::start().await;
    let foreign = format!("{}Origin: http://evil.example\r\n", bearer());
    let reply = agent.call("POST", "/kill", &foreign, "").await;
    assert_eq!((reply.status, reply.problem().as_str()), (403, "foreign_origin"));
    let own = format!("{}Origin: http://{}\r\n", bearer(), agent.addr);
    assert_eq!(agent.call("POST", "/kill", &own, "").await.status, 204);
    let reply = agent.call("GET", "/status", &foreign, "").await;
    assert_eq!((reply.status, reply.headers.get("access-control-allow-origin")), (200, None));
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let agent = Fixture::start().await;
    agent.publish(|p| {
        p.snapshot.state = State::Crashed;
        p.snapshot.crash_count = 3;
        p.crashes = Arc::new(vec![Arc::new(crash("c1"))]);
    });
    let reply = agent.ask("GET", "/metrics").await;
    assert!(reply.headers["content-type"].starts_with("application/openmetrics-text"));
    let text = reply.text();
    for line in [
        "zlh_state{state=\"crashed\"} 1",
        "zlh_state{state=\"running\"} 0",
        "zlh_crashes_total 3",
        "zlh_crash_reports{classification=\"oom\"} 1",
        "zlh_crash_reports{classification=\"nonzero_exit\"} 0",
        "zlh_agent_info{version=\"v0.1.0\",commit=\"abc123\",vmid=\"5072\"} 1",
        "zlh_http_connections 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

/// Reads a stream of events until `done` says so.
async fn events(agent: &Fixture, more: &str, mut done: impl FnMut(&str) -> bool) -> String {
    let mut stream = agent.connect().await;
    let request = format!("GET /events HTTP/1.1\r\nHost: {}\r\n{}{more}\r\n", agent.addr, bearer());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    let reading = async {
        let mut buf = [0; 4096];
        while !done(&seen) {
            let n = stream.read(&mut buf).await.unwrap();
            assert!(n > 0, "ended early: {seen}");
            seen.push_str(std::str::from_utf8(&buf[..n]).unwrap());
        }
    };
    timeout(DEADLINE, reading).await.expect("the events come");
    seen
}

#[tokio::test]
async fn events_tell_of_every_change() {
    let agent = Fixture::start().await;
    let mut step = 0;
    let seen = events(&agent, "", |seen| {
        if step == 0 && seen.contains("id: 1\nevent: status\ndata: {") {
            step = 1;
            agent.publish(|p| {
                p.operations = Arc::new(vec![operation("a", OperationState::Running)]);
                p.crashes = Arc::new(vec![Arc::new(crash("c1"))]);
            });
        }
        if step == 1 && seen.contains("event: crash") {
            step = 2;
            agent.publish(|p| p.operations = Arc::new(vec![operation("a", OperationState::Done)]));
        }
        step == 2 && seen.contains("\"state\":\"done\"")
    })
    .await;
    assert!(seen.contains("text/event-stream") && seen.contains("id: 2\nevent: status"));
    assert_eq!(seen.matches("event: crash").count(), 1);
    assert_eq!(seen.matches("event: operation").count(), 2);
    assert!(!seen.contains("last line"), "long texts stay in /crashes");
}

#[tokio::test]
async fn events_beat_without_change_and_catch_up_after_a_break() {
    let agent = Fixture::with(|s| s.status.interval = Duration::from_millis(10)).await;
    events(&agent, "", |seen| seen.matches("id: 1\nevent: status").count() >= 3).await;
    agent.publish(|p| {
        p.operations = Arc::new(vec![operation("a", OperationState::Done)]);
        p.crashes = Arc::new(vec![Arc::new(crash("c1"))]);
    });
    let behind = events(&agent, "Last-Event-ID: 1\r\n", |seen| seen.contains("event: crash")).await;
    assert!(behind.contains("event: operation"));
    let up_to_date =
        events(&agent, "Last-Event-ID: 2\r\n", |seen| seen.matches("id: 2\nevent: status").count() >= 2).await;
    assert!(!up_to_date.contains("event: operation") && !up_to_date.contains("event: crash"));
}

#[tokio::test]
async fn a_listener_that_never_reads_is_cut_off() {
    let agent = Fixture::with(|s| s.limits.stall = Duration::from_millis(100)).await;
    let mut stream = agent.connect().await;
    let request = format!("GET /events HTTP/1.1\r\nHost: {}\r\n{}\r\n", agent.addr, bearer());
    stream.write_all(request.as_bytes()).await.unwrap();
    until("the listener is there", || agent.status.receiver_count() > 1).await;
    until("the server closes the connection", || {
        agent.publish(|p| p.snapshot.error = Some("x".repeat(200_000)));
        agent.traffic.open.load(Relaxed) == 0
    })
    .await;
}

/// Where the log of a test goes.
struct Lines(std::sync::mpsc::Sender<Vec<u8>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes.to_vec()).unwrap();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn secrets_are_in_no_answer_and_no_log() {
    let (lines, logged) = std::sync::mpsc::channel();
    let log = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || Lines(lines.clone()));
    let agent = Fixture::start().await;
    {
        let _logging = tracing::subscriber::set_default(log.finish());
        for route in ROUTES.iter().filter(|r| !r.path.contains("events")) {
            // Another test may have met a log line first, when nobody listened yet; that verdict is cached.
            tracing::callsite::rebuild_interest_cache();
            let reply = agent.ask(route.method.as_str(), route.path).await;
            assert!(!String::from_utf8_lossy(&reply.body).contains(TOKEN), "{}", route.path);
        }
        agent.call("GET", "/status", &format!("Authorization: Bearer {TOKEN}x\r\n"), "").await;
    }
    let log: Vec<u8> = logged.try_iter().flatten().collect();
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("GET path=\"/status\" status=401"), "errors are logged: {log}");
    assert!(!log.contains(TOKEN), "{log}");
}
