//! IDE tokens and cookies, from the route that gives them to what ends them.
use super::*;
use crate::{
    host::clock,
    model::{
        gateway::{Access, IdeDenial},
        time::WallTime,
    },
};

async fn ask(f: &Fixture, who: &Made) -> (u16, Value) {
    answer(f.post("/api/dev/6001/ide-token").by(who)).await
}

#[tokio::test]
async fn the_owner_gets_a_token_that_opens_once() {
    let f = Fixture::new().await;
    let (status, body) = ask(&f, &f.ann).await;
    let token = body["token"].as_str().unwrap();
    assert_eq!((status, &body["expiresIn"]), (200, &300.into()));
    assert_eq!(body["url"], format!("http://127.0.0.1:8081/api/dev/6001/ide?token={token}"));
    let doorkeeper = &f.gateway.doorkeeper;
    assert_eq!(doorkeeper.redeem_ide_token(token, Vmid(6002)).await, Err(IdeDenial::OtherContainer));
    assert_eq!(doorkeeper.check_ide_cookie(token, DEV), Err(IdeDenial::Invalid), "a token is no cookie");
    let pass = doorkeeper.redeem_ide_token(token, DEV).await.unwrap();
    assert_eq!(doorkeeper.redeem_ide_token(token, DEV).await, Err(IdeDenial::Used));
    let cookie = doorkeeper.ide_cookie(&pass).unwrap().text;
    let entered = doorkeeper.check_ide_cookie(&cookie, DEV).unwrap();
    assert_eq!((&entered.user, entered.vmid), (&f.ann.user.id, DEV));
    assert_eq!(doorkeeper.check_ide_cookie(&cookie, GAME), Err(IdeDenial::OtherContainer));
    assert_eq!(doorkeeper.redeem_ide_token(&cookie, DEV).await, Err(IdeDenial::Invalid), "a cookie is no token");
}

#[tokio::test]
async fn nobody_else_gets_one() {
    let f = Fixture::new().await;
    assert_eq!(ask(&f, &f.bob).await.0, 404);
    assert_eq!(ask(&f, &f.root).await.1["code"], "ide_denied", "an admin is no owner");
    let game = answer(f.post("/api/dev/5001/ide-token").by(&f.ann)).await;
    assert_eq!((game.0, &game.1["code"]), (409, &"not_a_dev_container".into()));
    let few = f.token(&f.ann, &[Scope::Read], Audience::Api).await;
    assert_eq!(ask(&f, &few).await.0, 403);
}

#[tokio::test]
async fn a_logout_a_new_owner_and_a_new_password_end_it() {
    let f = Fixture::new().await;
    let doorkeeper = f.gateway.doorkeeper.clone();
    let enter = async |who: &Made| {
        let (_, body) = ask(&f, who).await;
        let pass = doorkeeper.redeem_ide_token(body["token"].as_str().unwrap(), DEV).await.unwrap();
        (doorkeeper.ide_cookie(&pass).unwrap().text, pass)
    };
    let (cookie, pass) = enter(&f.ann).await;
    let (_, unused) = ask(&f, &f.ann).await;
    let over = tokio::spawn({
        let (doorkeeper, pass) = (doorkeeper.clone(), pass.clone());
        async move { doorkeeper.until_ide_over(&pass).await }
    });
    doorkeeper.revoke(&f.ann.credential.id).await.unwrap();
    tokio::time::timeout(DEADLINE, over).await.expect("an open stream goes on after the logout").unwrap();
    assert_eq!(doorkeeper.check_ide_cookie(&cookie, DEV), Err(IdeDenial::Revoked));
    assert_eq!(doorkeeper.ide_cookie(&pass).unwrap_err(), IdeDenial::Revoked, "no renewal");
    let unused = doorkeeper.redeem_ide_token(unused["token"].as_str().unwrap(), DEV).await;
    assert_eq!(unused, Err(IdeDenial::Revoked));
    let again = doorkeeper.login("ann", PASSWORD.into(), [127, 0, 0, 1].into()).await.unwrap();
    let (cookie, _) = enter(&again).await;
    let give = |owner: &str| f.request(Method::PATCH, "/api/servers/6001").by(&f.root).json(&json!({"owner": owner}));
    answer(give("bob")).await;
    assert_eq!(doorkeeper.check_ide_cookie(&cookie, DEV), Err(IdeDenial::Revoked));
    answer(give("ann")).await;
    assert!(doorkeeper.check_ide_cookie(&cookie, DEV).is_ok());
    doorkeeper.set_password("ann", "a new password".into()).await.unwrap();
    assert_eq!(doorkeeper.check_ide_cookie(&cookie, DEV), Err(IdeDenial::Revoked));
}

#[tokio::test]
async fn open_streams_end_with_their_credentials_time() {
    let f = Fixture::new().await;
    let doorkeeper = f.gateway.doorkeeper.clone();
    let end = WallTime(clock::wall_time().0 + 2000);
    let wish =
        TokenWish { name: "short".into(), scopes: vec![Scope::Ide], audience: Audience::Api, expires_at: Some(end) };
    let short = doorkeeper.make_token(&f.ann.user, wish).await.unwrap();
    let (_, body) = ask(&f, &short).await;
    let pass = doorkeeper.redeem_ide_token(body["token"].as_str().unwrap(), DEV).await.unwrap();
    let access = Access::Server(Scope::Ide);
    let caller = doorkeeper.anyone(&[&short.secret.0]).await;
    let admitted = doorkeeper.admit(caller, access, Some(DEV)).unwrap();
    let both = async { tokio::join!(doorkeeper.until_ide_over(&pass), doorkeeper.until_over(access, &admitted)) };
    // Long before a stream would look for any other reason than the end that it knows.
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("streams outlive their credential");
    assert!(clock::wall_time() >= end, "and not before");
}

#[tokio::test]
async fn urls_follow_how_browsers_come() {
    let host = Fixture::with(|s| {
        s.ide_host_suffix = Some("ide.example".into());
        s.public_url = Some("https://portal.example".into());
    })
    .await;
    let url = ask(&host, &host.ann).await.1["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://dev-6001.ide.example/api/dev/6001/ide?token="), "{url}");
    let path = Fixture::with(|s| s.ide_public_url = Some("https://ide.example".into())).await;
    let url = ask(&path, &path.ann).await.1["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://ide.example/api/dev/6001/ide?token="), "{url}");
}
