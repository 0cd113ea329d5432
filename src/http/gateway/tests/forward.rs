//! What agents see of a request, and callers of an answer.
use super::*;
use std::sync::atomic::Ordering::SeqCst;

const FILES: &str = "/api/game/servers/5001/files";

#[tokio::test]
async fn an_agent_sees_the_request_and_nothing_of_ours() {
    let f = Fixture::new().await;
    let request = f
        .request(Method::PUT, &format!("{FILES}/write?path=config%2Fa.toml&x=%20"))
        .by(&f.ann)
        .header("cookie", "zlh_session=secret; other=1")
        .header("referer", "http://portal/?token=secret")
        .header("x-forwarded-for", "1.2.3.4")
        .header("x-real-ip", "1.2.3.4")
        .header("forwarded", "for=1.2.3.4")
        .header("sec-fetch-site", "same-origin")
        .header("connection", "keep-alive, x-hop")
        .header("x-hop", "1")
        .header("if-match", "\"e\"")
        .body("text");
    let (status, seen) = answer(request).await;
    assert_eq!(
        (status, &seen["method"], &seen["target"]),
        (200, &"PUT".into(), &"/game/files/write?path=config%2Fa.toml&x=%20".into())
    );
    assert_eq!((&seen["body"], &seen["headers"]["if-match"]), (&"text".into(), &"\"e\"".into()));
    assert_eq!(seen["headers"]["authorization"], format!("Bearer {AGENT_TOKEN}"));
    assert_eq!(seen["headers"]["host"], f.agent.at.to_string());
    for gone in ["cookie", "referer", "x-forwarded-for", "x-real-ip", "forwarded", "x-hop", "sec-fetch-site", "origin"]
    {
        assert_eq!(seen["headers"][gone], Value::Null, "{gone}");
    }
    assert!(!seen.to_string().contains(&f.ann.secret.0), "the caller's token");
}

#[tokio::test]
async fn every_family_leads_to_its_own_part_of_the_agent() {
    let f = Fixture::new().await;
    for (method, path, target) in [
        (Method::POST, "/api/servers/5001/start", "/start"),
        (Method::POST, "/api/servers/5001/game/restart", "/restart"),
        (Method::POST, "/api/servers/5001/stop?wait=60s", "/stop?wait=60s"),
        (Method::GET, "/api/servers/5001/crashes/abc", "/crashes/abc"),
        (Method::GET, "/api/game/servers/5001/players", "/game/players"),
        (Method::PATCH, "/api/game/servers/5001/mods/fabric-api", "/game/mods/fabric-api"),
        (Method::POST, "/api/game/servers/5001/backups/b1/verify", "/game/backups/b1/verify"),
        (Method::POST, "/api/game/servers/5001/files/tus/", "/game/files/tus/"),
        (Method::GET, "/api/dev/6001/files/list?path=a", "/dev/files/list?path=a"),
        (Method::DELETE, "/api/dev/6001/runtimes/node/22", "/dev/runtimes/node/22"),
        (Method::POST, "/api/dev/6001/runtimes/node/activate", "/dev/runtimes/node/activate"),
        (Method::POST, "/api/dev/6001/codeserver/start", "/dev/codeserver/start"),
    ] {
        let (status, seen) = answer(f.request(method.clone(), path).by(&f.ann)).await;
        assert_eq!(
            (status, seen["target"].as_str(), seen["method"].as_str()),
            (200, Some(target), Some(method.as_str())),
            "{path}"
        );
    }
}

#[tokio::test]
async fn no_path_leads_beside_its_part() {
    let f = Fixture::new().await;
    let before = f.agent.state.requests.load(SeqCst);
    for rest in [
        "%2e%2e/%2e%2e/config",
        "..%2f..%2fconfig",
        "a/%2e%2e/b",
        "a%5cb",
        "a%00b",
        "a//b",
        "%252e%252e/x",
        "./%2e/x%0d%0ay",
    ] {
        let raw = format!("{FILES}/{rest}");
        let status = raw_status(&f, &raw).await;
        assert!(matches!(status, 400 | 404), "{rest}: {status}");
    }
    assert_eq!(f.agent.state.requests.load(SeqCst), before, "no agent heard of it");
}

/// Without a client that tidies the path first.
async fn raw_status(f: &Fixture, path: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(f.at).await.unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        f.at, f.ann.secret.0
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_agents_verdict_passes_and_its_absence_has_names() {
    let f = Fixture::with(|s| s.forward.idle = Duration::from_millis(300)).await;
    for status in [404, 409, 412, 422, 503, 507] {
        let asked = f.post(&format!("/api/servers/5001/start?status={status}")).by(&f.ann);
        assert_eq!(code(asked).await, problem(status, "of_the_agent"));
    }
    assert_eq!(code(f.post("/api/servers/5009/start").by(&f.ann)).await, problem(502, "agent_unreachable"));
    assert_eq!(code(f.get(&format!("{FILES}/silent")).by(&f.ann)).await, problem(504, "agent_timeout"));
    let hops = f.get("/api/servers/5001/status").by(&f.ann);
    assert_eq!(code(hops).await, problem(503, "no_status"));
}

#[tokio::test]
async fn what_a_container_says_does_nothing_to_the_portal() {
    let f = Fixture::new().await;
    let response = f.get(&format!("{FILES}/evil")).by(&f.ann).send().await.unwrap();
    let headers = response.headers();
    assert_eq!((response.status().as_u16(), headers["x-kept"].to_str().unwrap()), (201, "yes"));
    for gone in ["set-cookie", "location", "access-control-allow-origin", "x-secret-hop", "refresh"] {
        assert!(!headers.contains_key(gone), "{gone}: {headers:?}");
    }
    assert_eq!(headers["content-security-policy"], "sandbox; default-src 'none'");
    assert_eq!(headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn big_bodies_stream_both_ways_and_a_slow_reader_stops_the_agent() {
    let f = Fixture::new().await;
    let chunk = bytes::Bytes::from(vec![1u8; 1 << 20]);
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(
        (0..8).map(move |_| Ok::<_, std::io::Error>(chunk.clone())),
    ));
    let upload = f.post(&format!("{FILES}/upload?path=mods/a.jar")).by(&f.ann).body(body);
    let (status, seen) = answer(upload).await;
    assert_eq!((status, &seen["length"], &seen["headers"]["content-length"]), (200, &json!(8 << 20), &Value::Null));
    let mut download = f.http.get(f.url(&format!("{FILES}/endless"))).by(&f.ann).send().await.unwrap();
    assert_eq!(download.chunk().await.unwrap().map(|c| c[0]), Some(7));
    // Nobody reads on: what the agent makes comes to rest at what sockets hold, while others are served.
    let taken = || f.agent.state.chunks.load(SeqCst);
    let (mut last, mut quiet) = (taken(), 0);
    while quiet < 50 {
        assert_eq!(answer(f.get("/api/game/servers/5001/players").by(&f.ann)).await.0, 200);
        quiet = if taken() == last { quiet + 1 } else { 0 };
        last = taken();
        assert!(last < 4000, "the agent is never stopped: {last} chunks");
    }
}

#[tokio::test]
async fn the_same_key_does_nothing_twice() {
    let f = Fixture::new().await;
    let count = || f.agent.state.requests.load(SeqCst);
    let keyed = |key: &str, wish: Value, who: &Made| {
        f.post("/api/servers/6001/provision").by(who).header("idempotency-key", key).json(&wish)
    };
    let wish = json!({"runtime": "node", "version": "22", "enable_code_server": true});
    let (status, first) = answer(keyed("k1", wish.clone(), &f.ann)).await;
    let sent: Value = serde_json::from_str(first["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (status, &first["target"], &sent["vmid"], &sent["container_type"]),
        (200, &"/config".into(), &6001.into(), &"dev".into())
    );
    let before = count();
    let again = keyed("k1", wish.clone(), &f.ann).send().await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    for (name, value) in [
        ("content-type", "application/json"),
        ("location", "/operations/op-1"),
        ("operation-id", "op-1"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
    ] {
        assert_eq!(again.headers()[name], value, "{name}");
    }
    assert!(!again.headers().contains_key("set-cookie"));
    assert_eq!(again.json::<Value>().await.unwrap(), first);
    assert_eq!(code(keyed("k1", json!({"runtime": "go"}), &f.ann)).await, problem(422, "idempotency_key_reused"));
    assert_eq!(count(), before);
    assert_eq!(answer(keyed("k1", wish.clone(), &f.root)).await.0, 200, "another's key of that name");
    assert_eq!(count(), before + 1);
    let busy = || f.post("/api/servers/5001/start?status=409").by(&f.ann).header("idempotency-key", "k2");
    assert_eq!((code(busy()).await, code(busy()).await), (problem(409, "of_the_agent"), problem(409, "of_the_agent")));
    assert_eq!(count(), before + 3, "'try again' is not remembered");
    let bad = keyed("k3", json!({"runtime": "node", "vmid": 1}), &f.ann);
    assert_eq!(code(bad).await, problem(422, "unusable"));
    assert_eq!(count(), before + 3);
}

#[tokio::test]
async fn the_registry_shows_everybody_theirs() {
    let f = Fixture::new().await;
    let list = async |who: &Made| answer(f.get("/api/servers").by(who)).await.1["servers"].as_array().unwrap().len();
    assert_eq!((list(&f.root).await, list(&f.ann).await, list(&f.bob).await), (3, 3, 0));
    let (_, shown) = answer(f.get("/api/servers/6001").by(&f.ann)).await;
    assert!(!shown.to_string().contains(AGENT_TOKEN) && shown["hasAgentToken"] == true, "{shown}");
    let change = |who: &Made, body: Value| f.request(Method::PATCH, "/api/servers/6001").by(who).json(&body);
    assert_eq!(answer(change(&f.ann, json!({"name": "mine"}))).await.1["name"], "mine");
    assert_eq!(code(change(&f.ann, json!({"address": "10.0.0.1"}))).await, problem(403, "not_allowed"));
    assert_eq!(code(change(&f.root, json!({"address": "169.254.169.254"}))).await, problem(422, "unusable"));
    assert_eq!(code(change(&f.root, json!({"adress": "10.0.0.1"}))).await, problem(400, "malformed_body"));
    assert_eq!(answer(change(&f.root, json!({"owner": "bob"}))).await.1["owner"], "bob");
    assert_eq!((list(&f.ann).await, list(&f.bob).await), (2, 1));
    let new = json!({"vmid": 6002, "containerType": "dev", "address": "10.0.0.9", "agentToken": "x"});
    assert_eq!(code(f.post("/api/servers").by(&f.ann).json(&new)).await, problem(403, "not_allowed"));
    assert_eq!(answer(f.post("/api/servers").by(&f.root).json(&new)).await.0, 201);
    assert_eq!(code(f.post("/api/servers").by(&f.root).json(&new)).await, problem(409, "exists"));
    assert_eq!(f.request(Method::DELETE, "/api/servers/6002").by(&f.root).send().await.unwrap().status(), 204);
    assert_eq!(code(f.get("/api/servers/6002").by(&f.root)).await, problem(404, "no_such_server"));
}
