//! Who may do what: one verdict for a route, a caller and the server in the path.
use crate::model::{
    gateway::{
        Access, Audience, Credential, CredentialKind, Denial, IdeDenial, IdePass, People, Principal, Role, Scope,
    },
    gateway::{ContainerType, Server, Servers, User},
    time::WallTime,
};
use std::sync::Arc;

/// The person behind a credential, if both still hold.
pub fn bearer<'a>(people: &'a People, credential: &Credential, now: WallTime) -> Option<&'a Arc<User>> {
    let user = people.users.get(&credential.user)?;
    let in_time = credential.expires_at.is_none_or(|end| now < end);
    let known = people.by_id.contains_key(&credential.id);
    (known && in_time && !user.suspended && user.epoch == credential.epoch).then_some(user)
}

/// May this caller use a route with this access, for this server if the path names one?
///
/// What a caller may not see does not exist for them: another's server is answered like none. That is asked before
/// anything that would tell what it is.
pub fn judge(access: Access, caller: Option<&Principal>, server: Option<&Server>) -> Result<(), Denial> {
    if access == Access::Open {
        return Ok(());
    }
    let caller = caller.ok_or(Denial::Unknown)?;
    let admin = caller.user.role == Role::Admin;
    if access == Access::Monitoring {
        let fits = caller.credential.audience == Audience::Monitoring || (admin && has(caller, Scope::Admin));
        return if fits { Ok(()) } else { Err(Denial::Audience) };
    }
    if caller.credential.audience != Audience::Api {
        return Err(Denial::Audience);
    }
    match access {
        Access::Open | Access::Monitoring => Ok(()),
        Access::Person(scope) => scoped(caller, scope),
        Access::Admin if !admin => Err(Denial::NotAdmin),
        Access::Admin => scoped(caller, Scope::Admin),
        Access::Server(scope) => visible(caller, server).and_then(|_| scoped(caller, scope)),
        Access::Kind(kind, scope) => {
            let server = visible(caller, server)?;
            scoped(caller, scope)?;
            if server.container_type == kind { Ok(()) } else { Err(Denial::WrongType(kind)) }
        }
    }
}

fn visible<'a>(caller: &Principal, server: Option<&'a Server>) -> Result<&'a Server, Denial> {
    server.filter(|server| sees(caller, server)).ok_or(Denial::Absent)
}

/// Admins see all, owners theirs.
pub fn sees(caller: &Principal, server: &Server) -> bool {
    caller.user.role == Role::Admin || caller.user.id == server.owner
}

fn has(caller: &Principal, scope: Scope) -> bool {
    caller.credential.kind == CredentialKind::Session || caller.credential.scopes.contains(&scope)
}

fn scoped(caller: &Principal, scope: Scope) -> Result<(), Denial> {
    if has(caller, scope) { Ok(()) } else { Err(Denial::Scope(scope)) }
}

/// Does a pass into an IDE still hold? Only a dev container's owner has one, admins too must own it.
pub fn enters(people: &People, servers: &Servers, pass: &IdePass, now: WallTime) -> Result<(), IdeDenial> {
    if now >= pass.expires_at {
        return Err(IdeDenial::Expired);
    }
    let user = people.users.get(&pass.user).filter(|user| !user.suspended && user.epoch == pass.epoch);
    let credential = people.by_id.get(&pass.credential).filter(|c| bearer(people, c, now).is_some());
    let server = servers.one(pass.vmid).filter(|s| s.container_type == ContainerType::Dev && s.owner == pass.user);
    match (user, credential, server) {
        (Some(_), Some(credential), Some(_)) if credential.user == pass.user => Ok(()),
        _ => Err(IdeDenial::Revoked),
    }
}

#[cfg(test)]
mod tests;
