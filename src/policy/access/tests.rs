//! The matrix: access × caller × server, each cell written down.
use super::*;
use crate::model::{
    gateway::{SecretHash, UserId},
    ids::Vmid,
};
use Access::{Admin, Kind, Monitoring, Open, Person, Server as Of};

const NOW: WallTime = WallTime(1_000_000);

fn user(id: &str, role: Role) -> User {
    User { id: UserId(id.into()), name: id.into(), role, epoch: 1, suspended: false, created_at: WallTime(0) }
}

fn credential(user: &str, kind: CredentialKind, scopes: &[Scope], audience: Audience) -> Credential {
    Credential {
        id: format!("{user}-{kind}"),
        kind,
        hash: SecretHash::default(),
        user: UserId(user.into()),
        name: String::new(),
        scopes: scopes.to_vec(),
        audience,
        epoch: 1,
        created_at: WallTime(0),
        expires_at: Some(WallTime(NOW.0 + 1)),
    }
}

fn session(id: &str, role: Role) -> Principal {
    let credential = credential(id, CredentialKind::Session, &[], Audience::Api);
    Principal { user: Arc::new(user(id, role)), credential: Arc::new(credential) }
}

fn token(id: &str, role: Role, scopes: &[Scope], audience: Audience) -> Principal {
    let credential = credential(id, CredentialKind::Token, scopes, audience);
    Principal { user: Arc::new(user(id, role)), credential: Arc::new(credential) }
}

fn server(owner: &str, container_type: ContainerType) -> Server {
    Server {
        vmid: Vmid(6001),
        name: "s".into(),
        container_type,
        owner: UserId(owner.into()),
        address: [10, 0, 0, 1].into(),
        agent_port: 18888,
        ide_port: 8080,
        agent_token: None,
        created_at: WallTime(0),
    }
}

#[test]
fn the_matrix_of_callers_and_routes() {
    let (game, dev) = (ContainerType::Game, ContainerType::Dev);
    let routes = [Open, Person(Scope::Read), Of(Scope::Power), Kind(dev, Scope::Files), Admin, Monitoring];
    let callers = [
        ("nobody", None),
        ("admin", Some(session("root", Role::Admin))),
        ("owner", Some(session("ann", Role::Owner))),
        ("stranger", Some(session("bob", Role::Owner))),
        ("token: read", Some(token("ann", Role::Owner, &[Scope::Read], Audience::Api))),
        ("token: power+files", Some(token("ann", Role::Owner, &[Scope::Power, Scope::Files], Audience::Api))),
        ("token: admin of an owner", Some(token("ann", Role::Owner, &[Scope::Admin], Audience::Api))),
        ("token: admin without the scope", Some(token("root", Role::Admin, &[Scope::Read], Audience::Api))),
        ("token: monitoring", Some(token("ann", Role::Owner, Scope::ALL, Audience::Monitoring))),
    ];
    let (ok, unknown, absent, audience) = (Ok(()), Err(Denial::Unknown), Err(Denial::Absent), Err(Denial::Audience));
    let lacks = |scope| Err(Denial::Scope(scope));
    let not_admin = Err(Denial::NotAdmin);
    let (read, power, files, admin) = (Scope::Read, Scope::Power, Scope::Files, Scope::Admin);
    // Columns as in `routes`, for ann's dev container.
    let table = [
        [ok, unknown, unknown, unknown, unknown, unknown],
        [ok, ok, ok, ok, ok, ok],
        [ok, ok, ok, ok, not_admin, audience],
        [ok, ok, absent, absent, not_admin, audience],
        [ok, ok, lacks(power), lacks(files), not_admin, audience],
        [ok, lacks(read), ok, ok, not_admin, audience],
        [ok, lacks(read), lacks(power), lacks(files), not_admin, audience],
        [ok, ok, lacks(power), lacks(files), lacks(admin), audience],
        [ok, audience, audience, audience, audience, ok],
    ];
    for ((name, caller), row) in callers.iter().zip(table) {
        for (route, expected) in routes.iter().zip(row) {
            let verdict = judge(*route, caller.as_ref(), Some(&server("ann", dev)));
            assert_eq!(verdict, expected, "{name} {route:?}");
            // A server that is not there looks the same as another's.
            if expected == absent {
                assert_eq!(judge(*route, caller.as_ref(), None), absent, "{name} {route:?}");
            }
        }
    }
    let ann = session("ann", Role::Owner);
    let verdict = judge(Kind(dev, Scope::Files), Some(&ann), Some(&server("ann", game)));
    assert_eq!(verdict, Err(Denial::WrongType(dev)));
    let bob = session("bob", Role::Owner);
    assert_eq!(judge(Kind(dev, Scope::Files), Some(&bob), Some(&server("ann", game))), absent, "tells no type");
}

fn world(change: impl FnOnce(&mut User, &mut Credential, &mut Server)) -> (People, Servers) {
    let mut user = user("ann", Role::Owner);
    let mut credential = credential("ann", CredentialKind::Session, &[], Audience::Api);
    let mut server = server("ann", ContainerType::Dev);
    change(&mut user, &mut credential, &mut server);
    let (mut people, mut servers) = (People::default(), Servers::default());
    people.users.insert(user.id.clone(), Arc::new(user));
    people.insert(credential);
    servers.by_vmid.insert(server.vmid, Arc::new(server));
    (people, servers)
}

fn pass() -> IdePass {
    IdePass {
        user: UserId("ann".into()),
        vmid: Vmid(6001),
        epoch: 1,
        credential: "ann-session".into(),
        expires_at: WallTime(NOW.0 + 1),
    }
}

#[test]
fn a_pass_ends_with_anything_it_stands_on() {
    type Change = fn(&mut User, &mut Credential, &mut Server);
    let changes: [(&str, Change, Result<(), IdeDenial>); 9] = [
        ("nothing", |_, _, _| {}, Ok(())),
        ("suspended", |u, _, _| u.suspended = true, Err(IdeDenial::Revoked)),
        ("new epoch", |u, _, _| u.epoch = 2, Err(IdeDenial::Revoked)),
        ("logged out", |_, c, _| c.id = "other".into(), Err(IdeDenial::Revoked)),
        ("session over", |_, c, _| c.expires_at = Some(NOW), Err(IdeDenial::Revoked)),
        ("another's session", |_, c, _| c.user = UserId("bob".into()), Err(IdeDenial::Revoked)),
        ("given away", |_, _, s| s.owner = UserId("bob".into()), Err(IdeDenial::Revoked)),
        ("a game now", |_, _, s| s.container_type = ContainerType::Game, Err(IdeDenial::Revoked)),
        ("another number", |_, _, s| s.vmid = Vmid(6002), Err(IdeDenial::Revoked)),
    ];
    for (name, change, expected) in changes {
        let (people, servers) = world(change);
        assert_eq!(enters(&people, &servers, &pass(), NOW), expected, "{name}");
    }
    let (people, servers) = world(|_, _, _| {});
    assert_eq!(enters(&people, &servers, &pass(), WallTime(NOW.0 + 1)), Err(IdeDenial::Expired));
}

#[test]
fn a_credential_holds_until_its_time_its_user_or_its_epoch_ends() {
    let holds = |change: fn(&mut User, &mut Credential, &mut Server), now| {
        let (people, _) = world(change);
        let credential = people.by_id.values().next().unwrap();
        bearer(&people, credential, WallTime(now)).is_some()
    };
    assert!(holds(|_, _, _| {}, NOW.0) && !holds(|_, _, _| {}, NOW.0 + 1));
    assert!(holds(|_, c, _| c.expires_at = None, i64::MAX));
    assert!(!holds(|u, _, _| u.suspended = true, NOW.0));
    assert!(!holds(|u, _, _| u.epoch += 1, NOW.0));
    assert!(!holds(|_, c, _| c.user = UserId("gone".into()), NOW.0));
    let (people, _) = world(|_, _, _| {});
    let revoked = credential("ann", CredentialKind::Token, &[], Audience::Api);
    assert!(bearer(&people, &revoked, NOW).is_none(), "no longer in the list");
}
