//! Logins, cookies, other sites' pages, paces, the audit log.
use super::*;

async fn login(f: &Fixture, name: &str, password: &str) -> reqwest::Response {
    f.post("/api/auth/login").json(&json!({"username": name, "password": password})).send().await.unwrap()
}

#[tokio::test]
async fn a_login_gives_a_token_and_a_cookie_and_logout_ends_both() {
    let f = Fixture::new().await;
    let response = login(&f, "ann", PASSWORD).await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["user"]["username"], "ann");
    let me = || f.get("/api/auth/me").header("cookie", format!("zlh_session=stale; {cookie}"));
    assert_eq!(answer(me()).await.1["username"], "ann");
    let out = f.post("/api/auth/logout").bearer_auth(body["token"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(out.status(), 204);
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(code(me()).await, problem(401, "unauthorized"));
}

#[tokio::test]
async fn who_tries_often_waits_and_a_name_tells_nothing() {
    let f = Fixture::with(|s| {
        s.login.burst = 8;
        s.login.refill = Duration::from_secs(3600);
    })
    .await;
    for (name, password) in [("ann", "wrong password"), ("nobody", "wrong password"), ("ann", ""), ("ANN", PASSWORD)] {
        let response = login(&f, name, password).await;
        let (status, body) = (response.status(), response.json::<Value>().await.unwrap());
        assert_eq!((status.as_u16(), &body["code"]), (401, &"wrong_credentials".into()), "{name}");
    }
    let mut refused = None;
    for _ in 0..10 {
        let response = login(&f, "ann", "wrong password").await;
        if response.status() == 429 {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("never refused");
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 60);
    assert_eq!(login(&f, "ann", PASSWORD).await.status(), 429, "also with the right password");
    assert_eq!(login(&f, "bob", PASSWORD).await.status(), 200, "another name");
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_sender_has_tries_of_their_own() {
    let f = Fixture::with(|s| {
        s.login.burst = 2;
        s.login.refill = Duration::from_secs(3600);
        s.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let tried = async |forwarded: &str| {
        let wrong = json!({"username": "ann", "password": "wrong password"});
        f.post("/api/auth/login").header("x-forwarded-for", forwarded).json(&wrong).send().await.unwrap().status()
    };
    for forwarded in ["198.51.100.1", "6.6.6.6, 198.51.100.1"] {
        assert_eq!(tried(forwarded).await, 401);
    }
    assert_eq!(tried("7.7.7.7, 198.51.100.1").await, 429, "what a client writes before its address changes nothing");
    assert_eq!(tried("198.51.100.2").await, 401, "another sender");
    let (_, body) = answer(f.get("/api/audit").by(&f.root)).await;
    let peers: Vec<&str> = body["entries"].as_array().unwrap().iter().filter_map(|e| e["peer"].as_str()).collect();
    assert_eq!(peers, ["198.51.100.1", "198.51.100.1", "198.51.100.2"]);
}

#[tokio::test]
async fn a_foreign_page_cannot_use_a_cookie() {
    let f = Fixture::with(|s| s.public_url = Some("https://portal.example".into())).await;
    let own = format!("http://{}", f.at);
    let cookie = format!("__Host-zlh_session={}", f.ann.secret.0);
    let asked = |origin: Option<&str>, site: Option<&str>| {
        let mut request = f.post("/api/servers/5001/start").header("cookie", &cookie);
        for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    };
    for (origin, site, status) in [
        (Some(own.as_str()), None, 200),
        (Some("https://portal.example"), Some("same-origin"), 200),
        (None, None, 200),
        (None, Some("same-site"), 403),
        (None, Some("cross-site"), 403),
        (Some("https://portal.example"), Some("cross-site"), 403),
        (Some("https://evil.example"), None, 403),
        (Some("null"), None, 403),
        (Some("http://portal.example"), None, 403),
        (Some("https://portal.example.evil"), None, 403),
        (Some("https://portal.example:8443"), None, 403),
        (Some("https://evilportal.example"), None, 403),
    ] {
        assert_eq!(answer(asked(origin, site)).await.0, status, "{origin:?} {site:?}");
    }
    // A token is no cookie: no browser adds it by itself.
    let request = f.post("/api/servers/5001/start").by(&f.ann).header("origin", "https://evil.example");
    assert_eq!(answer(request).await.0, 200);
    // Reading changes nothing, and no other page can read the answer.
    assert_eq!(
        answer(f.get("/api/auth/me").header("cookie", &cookie).header("origin", "https://evil.example")).await.0,
        200
    );
    // A cookie of the name that plain http uses is not looked at over https.
    let plain = format!("zlh_session={}", f.ann.secret.0);
    assert_eq!(answer(f.get("/api/auth/me").header("cookie", plain)).await.0, 401);
}

#[tokio::test]
async fn one_person_cannot_crowd_out_the_others() {
    let f = Fixture::with(|s| {
        s.requests.burst = 5;
        s.requests.per_second = 1;
    })
    .await;
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(answer(f.get("/api/auth/me").by(&f.ann)).await.0);
    }
    assert_eq!(statuses[..5], [200; 5]);
    let refused = f.get("/api/auth/me").by(&f.ann).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(answer(f.get("/api/auth/me").by(&f.bob)).await.0, 200);
}

#[tokio::test]
async fn deeds_are_noted_without_secrets() {
    let f = Fixture::new().await;
    answer(f.post("/api/servers/5001/start").by(&f.ann)).await;
    answer(f.post("/api/servers/5009/stop").by(&f.ann)).await;
    answer(f.post("/api/servers/6001/kill").by(&f.bob)).await;
    login(&f, "eve\n<script>", "hunter2hunter2").await;
    let (_, body) = answer(f.get("/api/audit?limit=10").by(&f.root)).await;
    let deeds: Vec<String> = body["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            format!(
                "{} {} {}",
                e["actor"].as_str().unwrap(),
                e["action"].as_str().unwrap(),
                e["outcome"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        deeds,
        [
            "ann POST /api/servers/5001/start 200",
            "ann POST /api/servers/5009/stop 502",
            "eve\u{fffd}<script> login 401",
        ]
    );
    for secret in [&f.ann.secret.0, "hunter2", AGENT_TOKEN, PASSWORD] {
        assert!(!body.to_string().contains(secret));
    }
    let directory = f.gateway.doorkeeper.directory();
    let chain = directory.database().verify_audit(&directory.keyring()).await.unwrap();
    assert_eq!((chain.entries, chain.broken_at, chain.end), (3, None, crate::host::database::End::Sound));
}

#[tokio::test]
async fn people_are_managed_by_admins_and_tokens_by_their_owners() {
    let f = Fixture::new().await;
    let new = json!({"username": "cid", "password": "long enough", "role": "owner"});
    assert_eq!(answer(f.post("/api/users").by(&f.root).json(&new)).await.0, 201);
    assert_eq!(code(f.post("/api/users").by(&f.root).json(&new)).await, problem(409, "exists"));
    let short = json!({"username": "dan", "password": "short"});
    assert_eq!(answer(f.post("/api/users").by(&f.root).json(&short)).await.1["field"], "password");
    assert_eq!(code(f.request(Method::DELETE, "/api/users/ann").by(&f.root)).await, problem(409, "owns_servers"));
    assert_eq!(f.request(Method::DELETE, "/api/users/cid").by(&f.root).send().await.unwrap().status(), 204);
    let wish = json!({"name": "ci", "scopes": ["read", "admin"]});
    let (status, made) = answer(f.post("/api/tokens").by(&f.ann).json(&wish)).await;
    assert_eq!((status, &made["kind"], &made["username"]), (201, &"token".into(), &"ann".into()));
    let with = |method, path: &str| f.request(method, path).bearer_auth(made["token"].as_str().unwrap());
    let more = json!({"name": "more", "scopes": ["power"]});
    assert_eq!(code(with(Method::POST, "/api/tokens").json(&more)).await, problem(403, "wrong_scope"));
    let monitoring = json!({"name": "m", "scopes": [], "audience": "monitoring"});
    assert_eq!(code(f.post("/api/tokens").by(&f.ann).json(&monitoring)).await, problem(403, "not_allowed"));
    let path = format!("/api/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(code(f.request(Method::DELETE, &path).by(&f.bob)).await, problem(404, "no_such_token"));
    assert_eq!(f.request(Method::DELETE, &path).by(&f.ann).send().await.unwrap().status(), 204);
    assert_eq!(code(with(Method::GET, "/api/auth/me")).await, problem(401, "unauthorized"));
    let suspend = json!({"suspended": true});
    assert_eq!(
        answer(f.request(Method::PATCH, "/api/users/ann").by(&f.root).json(&suspend)).await.1["suspended"],
        true
    );
    assert_eq!(code(f.get("/api/auth/me").by(&f.ann)).await, problem(401, "unauthorized"));
    let change = json!({"oldPassword": "wrong password", "newPassword": "another password"});
    assert_eq!(code(f.post("/api/auth/password").by(&f.bob).json(&change)).await, problem(401, "wrong_credentials"));
    let change = json!({"oldPassword": PASSWORD, "newPassword": "another password"});
    assert_eq!(f.post("/api/auth/password").by(&f.bob).json(&change).send().await.unwrap().status(), 204);
    assert_eq!(code(f.get("/api/auth/me").by(&f.bob)).await, problem(401, "unauthorized"), "all sessions ended");
    assert_eq!(login(&f, "bob", "another password").await.status(), 200);
}

#[tokio::test]
async fn monitoring_sees_agents_and_figures_but_no_secret() {
    let f = Fixture::new().await;
    let monitor = f.token(&f.root, &[], Audience::Monitoring).await;
    let (status, groups) = answer(f.get("/exporters").by(&monitor)).await;
    assert_eq!((status, groups.as_array().unwrap().len()), (200, 3));
    let dev = groups.as_array().unwrap().iter().find(|g| g["labels"]["vmid"] == "6001").unwrap();
    assert_eq!(dev["targets"], json!([f.agent.at.to_string()]));
    assert_eq!(dev["labels"]["container_type"], "dev");
    assert!(!groups.to_string().contains(AGENT_TOKEN));
    let text = f.get("/metrics").by(&monitor).send().await.unwrap().text().await.unwrap();
    for line in ["zlh_gateway_servers 3", "zlh_gateway_users 3", "zlh_gateway_requests_total{listener=\"api\"} "] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(code(f.get("/api/dev/runtimes").by(&f.ann)).await, problem(503, "no_catalog"));
}
