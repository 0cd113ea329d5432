//! The same tests on SQLite and on a real PostgreSQL.
use super::*;
use crate::{
    host::keyring::Keyring,
    model::{
        gateway::{Audience, ContainerType, Credential, CredentialKind, Role, Scope, Server, UserId},
        ids::Vmid,
        settings::Secret,
        time::WallTime,
    },
};
use cluster::Cluster;
use tempfile::TempDir;

mod cluster;

const NOW: WallTime = WallTime(1_790_000_000_000);

async fn sqlite() -> (Database, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::sqlite(&folder.path().join("gateway.sqlite")).await.unwrap();
    (database, folder)
}

/// On a database of its own, of either kind.
async fn on_both(test: impl AsyncFn(&Database)) {
    let (database, folder) = sqlite().await;
    println!("on SQLite");
    test(&database).await;
    drop(folder);
    let cluster = Cluster::start();
    let database = Database::postgres(&cluster.url()).await.unwrap();
    println!("on PostgreSQL");
    test(&database).await;
    database.close().await;
}

fn id(name: &str) -> UserId {
    UserId(format!("id-{name}"))
}

async fn add(database: &Database, name: &str) {
    let new = NewUser { id: id(name), name, role: Role::Owner, password: "hash", now: NOW };
    database.add_user(new).await.unwrap();
}

fn credential(n: u8, user: &str) -> Credential {
    Credential {
        id: format!("c{n}"),
        kind: CredentialKind::Session,
        hash: [n; 32],
        user: id(user),
        name: "login".into(),
        scopes: vec![Scope::Read, Scope::Power],
        audience: Audience::Api,
        epoch: 0,
        created_at: WallTime(NOW.0 + i64::from(n)),
        expires_at: Some(WallTime(NOW.0 + 10_000)),
    }
}

#[tokio::test]
async fn people_come_and_go() {
    on_both(async |database| {
        add(database, "ann").await;
        add(database, "bob").await;
        let again = NewUser { id: id("x"), name: "ann", role: Role::Admin, password: "", now: NOW };
        assert!(matches!(database.add_user(again).await, Err(Error::Exists)));
        assert_eq!(database.password_of("ann").await.unwrap(), Some((id("ann"), "hash".into())));
        assert_eq!(database.password_of("ANN").await.unwrap(), None);
        let before = database.revisions().await.unwrap();
        assert!(database.set_role(&id("ann"), Role::Admin).await.unwrap());
        assert!(database.suspend(&id("ann"), true).await.unwrap());
        assert!(database.set_password(&id("ann"), "other").await.unwrap());
        assert!(!database.set_role(&id("nobody"), Role::Admin).await.unwrap());
        let after = database.revisions().await.unwrap();
        assert!(after.people > before.people && after.servers == before.servers, "readers are told");
        let people = database.people(NOW).await.unwrap();
        let ann = people.named("ann").unwrap();
        assert_eq!((ann.role, ann.suspended, ann.epoch, ann.created_at), (Role::Admin, true, 2, NOW));
        assert!(database.remove_user(&id("bob")).await.unwrap() && !database.remove_user(&id("bob")).await.unwrap());
        assert_eq!(database.people(NOW).await.unwrap().users.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn credentials_end_by_number_time_and_epoch() {
    on_both(async |database| {
        add(database, "ann").await;
        for n in 1..=4 {
            database.add_credential(NewCredential { credential: credential(n, "ann"), keep: 3 }).await.unwrap();
        }
        let people = database.people(NOW).await.unwrap();
        let mut ids: Vec<&String> = people.by_id.keys().collect();
        ids.sort();
        assert_eq!(ids, ["c2", "c3", "c4"], "the oldest made room");
        assert_eq!(*people.credentials[&[3; 32]], credential(3, "ann"));
        let forever = Credential {
            id: "t".into(),
            kind: CredentialKind::Token,
            hash: [9; 32],
            expires_at: None,
            ..credential(9, "ann")
        };
        database.add_credential(NewCredential { credential: forever, keep: 1 }).await.unwrap();
        assert_eq!(database.people(WallTime(NOW.0 + 10_000)).await.unwrap().by_id.len(), 1, "time is over at its end");
        assert!(database.remove_credential("c2").await.unwrap() && !database.remove_credential("c2").await.unwrap());
        assert!(database.revoke_all(&id("ann")).await.unwrap());
        let people = database.people(NOW).await.unwrap();
        assert!(people.by_id.is_empty() && people.named("ann").unwrap().epoch == 1);
        let stranger = NewCredential { credential: credential(7, "nobody"), keep: 1 };
        assert!(matches!(database.add_credential(stranger).await, Err(Error::Referred)));
    })
    .await;
}

#[tokio::test]
async fn the_registry_keeps_tokens_closed() {
    on_both(async |database| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let keyring = Keyring::open(&path).unwrap();
        add(database, "ann").await;
        let server = Server {
            vmid: Vmid(6001),
            name: "Ann's ⛏".into(),
            container_type: ContainerType::Dev,
            owner: id("ann"),
            address: "10.0.0.7".parse().unwrap(),
            agent_port: 18888,
            ide_port: 8080,
            agent_token: Some(Secret("agent-secret".into())),
            created_at: NOW,
        };
        database.add_server(&server, &keyring).await.unwrap();
        assert!(matches!(database.add_server(&server, &keyring).await, Err(Error::Exists)));
        assert_eq!(**database.servers(&keyring).await.unwrap().one(Vmid(6001)).unwrap(), server);
        let rows = database.rows("SELECT agent_token FROM servers", &[]).await.unwrap();
        assert!(!rows[0].text(0).unwrap().contains("agent-secret"));
        assert!(matches!(database.remove_user(&id("ann")).await, Err(Error::Referred)), "she owns a server");
        let changed =
            Server { name: "b".into(), address: "fd00::1".parse().unwrap(), agent_token: None, ..server.clone() };
        assert!(database.update_server(&changed, &keyring).await.unwrap());
        assert_eq!(**database.servers(&keyring).await.unwrap().one(Vmid(6001)).unwrap(), changed);
        assert!(database.update_server(&server, &keyring).await.unwrap());
        let rotated = Keyring::rotate(&path).unwrap();
        assert_eq!(database.close_tokens_anew(&rotated).await.unwrap(), 1);
        assert_eq!(**database.servers(&rotated).await.unwrap().one(Vmid(6001)).unwrap(), server);
        let old = database.servers(&keyring).await.unwrap();
        assert_eq!(old.one(Vmid(6001)).unwrap().agent_token, None, "the old key alone opens nothing any more");
        assert!(
            database.remove_server(Vmid(6001)).await.unwrap() && !database.remove_server(Vmid(6001)).await.unwrap()
        );
    })
    .await;
}

#[tokio::test]
async fn a_token_is_used_once() {
    on_both(async |database| {
        let end = WallTime(NOW.0 + 1000);
        let tries = futures_util::future::join_all((0..20).map(|_| database.use_once("j1", end, NOW))).await;
        assert_eq!(tries.into_iter().filter(|first| *first.as_ref().unwrap()).count(), 1);
        assert!(database.use_once("j2", end, NOW).await.unwrap());
        assert!(!database.use_once("j2", end, WallTime(end.0 - 1)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_key_is_taken_once_and_remembers_its_answer() {
    on_both(async |database| {
        let user = id("ann");
        let (forget, stale) = (WallTime(NOW.0 - 1000), WallTime(NOW.0 - 100));
        let take =
            async |print: &str, at| database.take_key(&user, "k", print, WallTime(at), forget, stale).await.unwrap();
        let tries = futures_util::future::join_all((0..20).map(|_| take("f", NOW.0))).await;
        assert_eq!(tries.iter().filter(|known| **known == Known::New).count(), 1);
        assert!(tries.iter().all(|known| matches!(known, Known::New | Known::AtWork)));
        assert_eq!(take("g", NOW.0).await, Known::Other);
        let answer =
            StoredAnswer { status: 202, headers: "[[\"location\",\"/x\"]]".into(), body: "{\"ok\":true}".into() };
        database.keep_answer(&user, "k", &answer).await.unwrap();
        assert_eq!(take("f", NOW.0).await, Known::Answered(answer));
        assert_eq!(
            database.take_key(&id("bob"), "k", "f", NOW, forget, stale).await.unwrap(),
            Known::New,
            "another's key"
        );
        database.drop_key(&user, "k").await.unwrap();
        assert_eq!(take("f", NOW.0 - 200).await, Known::New);
        assert_eq!(take("f", NOW.0).await, Known::New, "who took it at that time must be dead");
    })
    .await;
}

fn keys() -> (tempfile::TempDir, Keyring) {
    let folder = tempfile::tempdir().unwrap();
    let keyring = Keyring::open(&folder.path().join("gateway.key")).unwrap();
    (folder, keyring)
}

fn deed(n: u64) -> NewEntry {
    NewEntry {
        at: WallTime(NOW.0 + i64::try_from(n).unwrap()),
        actor: "ann".into(),
        peer: "10.0.0.1".into(),
        action: format!("POST /api/servers/{n}/start"),
        object: "c1".into(),
        outcome: "202".into(),
    }
}

#[tokio::test]
async fn the_audit_log_shows_every_change() {
    on_both(async |database| {
        let (_folder, keyring) = keys();
        for n in 1..=12 {
            database.append_audit(&deed(n), 1000, &keyring).await.unwrap();
        }
        let sound = database.verify_audit(&keyring).await.unwrap();
        assert_eq!((sound.entries, sound.broken_at, sound.end), (12, None, End::Sound));
        assert!(database.has_audit(&sound.head.unwrap().1).await.unwrap() && !database.has_audit("00").await.unwrap());
        let newest = database.audit_newest(2).await.unwrap();
        assert_eq!(
            newest.iter().map(|e| (e.seq, e.entry.clone())).collect::<Vec<_>>(),
            [(11, deed(11)), (12, deed(12))]
        );
        for (sql, at) in [
            ("UPDATE audit SET outcome = '200' WHERE seq = 5", 5),
            ("UPDATE audit SET actor = 'an', peer = 'n10.0.0.1' WHERE seq = 4", 4),
            ("DELETE FROM audit WHERE seq = 3", 4),
            ("UPDATE audit SET action = 'x' WHERE seq = 1", 1),
        ] {
            database.execute(sql, &[]).await.unwrap();
            assert_eq!(database.verify_audit(&keyring).await.unwrap().broken_at, Some(at), "{sql}");
        }
        for n in 13..=300 {
            database.append_audit(&deed(n), 20, &keyring).await.unwrap();
        }
        let kept = database.verify_audit(&keyring).await.unwrap();
        assert_eq!((kept.entries, kept.broken_at), (300 - (256 - 20), None), "the oldest are gone, the rest is sound");
        assert_eq!(kept.end, End::Sound);
    })
    .await;
}

#[tokio::test]
async fn newest_entries_that_were_cut_off_show() {
    on_both(async |database| {
        let ((_folder, keyring), (_other, stranger)) = (keys(), keys());
        let end = async || database.verify_audit(&keyring).await.unwrap().end;
        assert_eq!(end().await, End::Sound, "an empty log");
        for n in 1..=6 {
            database.append_audit(&deed(n), 1000, &keyring).await.unwrap();
        }
        let forged = stranger.seal("audit log ends with 5 00");
        for (sql, values, wanted) in [
            ("DELETE FROM audit WHERE seq = 6", vec![], End::CutOff(6)),
            ("UPDATE audit_end SET seq = 5", vec![], End::Forged),
            ("UPDATE audit_end SET hash = (SELECT hash FROM audit WHERE seq = 5)", vec![], End::Forged),
            ("UPDATE audit_end SET seal = $1", vec![forged.into()], End::KeyGone),
            ("DELETE FROM audit_end", vec![], End::Unsealed),
        ] {
            database.execute(sql, &values).await.unwrap();
            assert_eq!(end().await, wanted, "{sql}");
        }
        database.append_audit(&deed(7), 1000, &keyring).await.unwrap();
        assert_eq!(end().await, End::Sound);
    })
    .await;
}

#[tokio::test]
async fn writers_do_not_lose_each_other() {
    on_both(async |database| {
        let (_folder, keyring) = keys();
        let keyring = &keyring;
        let writers = (0..8).map(|n| async move {
            for m in 0..5 {
                database.append_audit(&deed(n * 10 + m), 1000, keyring).await.unwrap();
                add(database, &format!("u{n}-{m}")).await;
            }
        });
        futures_util::future::join_all(writers).await;
        let chain = database.verify_audit(keyring).await.unwrap();
        assert_eq!((chain.entries, chain.broken_at, chain.end), (40, None, End::Sound));
        assert_eq!(database.people(NOW).await.unwrap().users.len(), 40);
        assert_eq!(database.revisions().await.unwrap().people, 40);
    })
    .await;
}
