//! Who (kind of credential, its state) × every route × whose server: nothing opens that should not.
use super::*;
use crate::{
    http::gateway::ROUTES,
    model::{gateway::Access, time::WallTime},
};

struct Caller {
    name: &'static str,
    secret: Option<String>,
    /// Whom the gateway should take it for.
    is: Is,
}

#[derive(Clone, Copy, PartialEq)]
enum Is {
    Nobody,
    /// A stranger to all servers here.
    Stranger,
    Owner(&'static [Scope]),
    Admin,
    Monitor,
}

async fn callers(fixture: &Fixture) -> Vec<Caller> {
    let doorkeeper = &fixture.gateway.doorkeeper;
    let ann = fixture.gateway.doorkeeper.anyone(&[&fixture.ann.secret.0]).await.unwrap();
    let token = fixture.token(&fixture.ann, Scope::ALL, Audience::Api).await;
    let revoked = fixture.token(&fixture.ann, Scope::ALL, Audience::Api).await;
    doorkeeper.revoke(&revoked.credential.id).await.unwrap();
    let past = TokenWish {
        name: "t".into(),
        scopes: Scope::ALL.to_vec(),
        audience: Audience::Api,
        expires_at: Some(WallTime(1)),
    };
    let expired = doorkeeper.make_token(&fixture.ann.user, past).await.unwrap();
    let ide = doorkeeper.issue_ide_token(&ann, DEV).unwrap().text;
    let unused = doorkeeper.issue_ide_token(&ann, DEV).unwrap().text;
    let pass = doorkeeper.redeem_ide_token(&unused, DEV).await.unwrap();
    let cookie = doorkeeper.ide_cookie(&pass).unwrap().text;
    let few: &[Scope] = &[Scope::Read, Scope::Console];
    let monitor = fixture.token(&fixture.root, Scope::ALL, Audience::Monitoring).await;
    let some = |name, secret: &str, is| Caller { name, secret: Some(secret.to_owned()), is };
    vec![
        Caller { name: "nobody", secret: None, is: Is::Nobody },
        some("garbage", "zlhs_garbage", Is::Nobody),
        some("an agent's token", AGENT_TOKEN, Is::Nobody),
        some("an IDE token", &ide, Is::Nobody),
        some("a used IDE token", &unused, Is::Nobody),
        some("an IDE cookie", &cookie, Is::Nobody),
        some("a revoked token", &revoked.secret.0, Is::Nobody),
        some("an expired token", &expired.secret.0, Is::Nobody),
        some("a session cut short", &fixture.ann.secret.0[..fixture.ann.secret.0.len() - 1], Is::Nobody),
        some("a stranger", &fixture.bob.secret.0, Is::Stranger),
        some("the owner", &fixture.ann.secret.0, Is::Owner(Scope::ALL)),
        some("the owner's token", &token.secret.0, Is::Owner(Scope::ALL)),
        some(
            "the owner's small token",
            &fixture.token(&fixture.ann, few, Audience::Api).await.secret.0,
            Is::Owner(few),
        ),
        some("an admin", &fixture.root.secret.0, Is::Admin),
        some("monitoring", &monitor.secret.0, Is::Monitor),
    ]
}

/// Refused with this status, or let through.
fn expected(is: Is, access: Access, here: bool, kind: ContainerType) -> Option<u16> {
    if access == Access::Open {
        return None;
    }
    let (scopes, admin, theirs) = match is {
        Is::Nobody => return Some(401),
        Is::Monitor => return if access == Access::Monitoring { None } else { Some(403) },
        Is::Stranger => (Scope::ALL, false, false),
        Is::Owner(scopes) => (scopes, false, true),
        Is::Admin => (Scope::ALL, true, true),
    };
    let scoped = |scope| if scopes.contains(&scope) { None } else { Some(403) };
    match access {
        Access::Open => None,
        Access::Monitoring | Access::Admin => {
            if admin {
                None
            } else {
                Some(403)
            }
        }
        Access::Person(scope) => scoped(scope),
        Access::Server(_) | Access::Kind(..) if !(here && theirs) => Some(404),
        Access::Server(scope) => scoped(scope),
        Access::Kind(wanted, scope) => scoped(scope).or((wanted != kind).then_some(409)),
    }
}

#[tokio::test]
async fn every_credential_opens_what_it_should_and_nothing_else() {
    let fixture = Fixture::new().await;
    // What would end a caller's own credential, waits for ever, or asks for an IDE token instead, is looked at elsewhere.
    let apart = [
        "/api/auth/logout",
        "/api/auth/password",
        "/api/servers/{id}/events",
        "/api/servers/{id}/console",
        "/api/dev/{id}/ide",
    ];
    let mut cells = 0;
    for caller in callers(&fixture).await {
        for route in ROUTES.iter().filter(|r| !apart.contains(&r.path)) {
            for (vmid, here, kind) in [
                ("5001", true, ContainerType::Game),
                ("6001", true, ContainerType::Dev),
                ("7777", false, ContainerType::Dev),
                ("06001", false, ContainerType::Dev),
            ] {
                let removes = route.path == "/api/servers/{id}" && route.method == Method::DELETE;
                let owners_alone = route.path.ends_with("/ide-token") && caller.is == Is::Admin && vmid == "6001";
                let wanted = expected(caller.is, route.access, here, kind).or(owners_alone.then_some(403));
                if (vmid != "5001" && !route.path.contains("{id}")) || (removes && wanted.is_none()) {
                    continue;
                }
                let path = filled(route.path, vmid);
                let mut request =
                    fixture.request(route.method.clone(), &path).header("content-type", "application/json").body("[]");
                if let Some(secret) = &caller.secret {
                    request = request.bearer_auth(secret);
                }
                let (status, body) = answer(request).await;
                let what = format!("{}: {} {path}: {status} {body}", caller.name, route.method);
                match wanted {
                    Some(refused) => assert_eq!(status, refused, "{what}"),
                    // Whatever it says, it is not the door that says it.
                    None => assert!(!matches!(status, 401 | 403) && (here || status != 200), "{what}"),
                }
                cells += 1;
            }
        }
    }
    assert!(cells > 2000, "{cells}");
}

fn filled(path: &str, vmid: &str) -> String {
    let mut filled = path.replace("{id}", vmid).replace("{*path}", "list");
    for name in ["mod", "backup", "runtime", "part", "crash", "operation", "name", "token"] {
        filled = filled.replace(&format!("{{{name}}}"), "nothing-of-that-name");
    }
    assert!(!filled.contains('{'), "{filled}");
    filled
}
