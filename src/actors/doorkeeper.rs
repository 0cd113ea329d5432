//! Doorkeeper: who is at the door, what may they do, and until when.
//!
//! A secret (session, API token) is looked up by its hash in the [`Directory`]; no request waits for the database.
//! Logins and new credentials are written there and seen at once. IDE tokens are signed texts (`policy::tokens`): the
//! database only remembers which were used.
//!
//! I promise: a secret is stored nowhere; a login costs the same time whether the name exists; one name from one address
//! gets few tries, one address not many more, whatever names it tries; what is revoked ends streams that are open.
//!
//! I do not: know HTTP, cookies, headers.
mod audit;
mod ide;
mod keys;
mod pace;
mod passes;
mod people;

pub use crate::host::database::Entry;
pub use audit::Note;
pub use ide::Issued;
pub use keys::{KeyState, Remembered};
pub use pace::{Paces, StreamPermit};
pub use people::Refused as PeopleRefused;

use super::directory::Directory;
use crate::{
    host::{
        clock,
        database::{Error, NewCredential},
        keyring, password,
    },
    model::{
        gateway::{
            Access, Audience, Credential, CredentialKind, Denial, Principal, Scope, Server, User,
            settings::GatewaySettings,
        },
        ids::Vmid,
        settings::Secret,
        time::WallTime,
    },
    policy::access,
};
use passes::Passes;
use sha2::{Digest, Sha256};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// How secrets begin, so that a person who finds one knows what it is.
const SESSION: &str = "zlhs_";
const TOKEN: &str = "zlht_";
/// A stream looks again when its credential's time runs out; and at least so often, for clocks are set.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Clones share one state.
#[derive(Clone)]
pub struct Doorkeeper {
    shared: Arc<Shared>,
}

struct Shared {
    directory: Directory,
    settings: Arc<GatewaySettings>,
    paces: Paces,
    passes: Passes,
    /// Passwords checked at a time.
    checking: Semaphore,
}

/// A new credential; the secret is told this once.
#[derive(Clone, Debug)]
pub struct Made {
    pub secret: Secret,
    pub credential: Arc<Credential>,
    pub user: Arc<User>,
}

/// Why nobody was let in.
#[derive(Debug)]
pub enum LoginDenial {
    /// Name or password; which of the two is nobody's business.
    Wrong,
    /// Too many tries; again after this time.
    TooOften(Duration),
    Unavailable(Error),
}

impl From<Error> for LoginDenial {
    fn from(error: Error) -> LoginDenial {
        LoginDenial::Unavailable(error)
    }
}

/// What a new API token may do.
#[derive(Clone, Debug)]
pub struct TokenWish {
    pub name: String,
    pub scopes: Vec<Scope>,
    pub audience: Audience,
    pub expires_at: Option<WallTime>,
}

/// Somebody who may, and the server they may it for.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    pub principal: Option<Principal>,
    pub server: Option<Arc<Server>>,
}

impl Doorkeeper {
    pub fn new(directory: Directory, settings: Arc<GatewaySettings>) -> Doorkeeper {
        let paces = Paces::new(&settings.login, &settings.requests);
        let checking = Semaphore::new(settings.login.parallel);
        let passes = Passes::default();
        Doorkeeper { shared: Arc::new(Shared { directory, settings, paces, passes, checking }) }
    }

    pub fn directory(&self) -> &Directory {
        &self.shared.directory
    }

    pub fn paces(&self) -> &Paces {
        &self.shared.paces
    }

    /// A new session for whoever knows the password.
    pub async fn login(&self, name: &str, password: String, peer: IpAddr) -> Result<Made, LoginDenial> {
        self.shared.paces.login(name, peer).map_err(LoginDenial::TooOften)?;
        let found = self.shared.directory.database().password_of(name).await?;
        let stored = found.as_ref().map(|(_, hash)| hash.clone());
        let right = {
            let _permit = self.shared.checking.acquire().await;
            let checked = tokio::task::spawn_blocking(move || password::verify(&password, stored.as_deref()));
            checked.await.unwrap_or(false)
        };
        let people = self.shared.directory.people();
        let user = found.filter(|_| right).and_then(|(id, _)| people.users.get(&id).cloned());
        let user = user.filter(|user| !user.suspended).ok_or(LoginDenial::Wrong)?;
        let lifetime = self.shared.settings.sessions.lifetime;
        let wish = TokenWish {
            name: "login".into(),
            scopes: Vec::new(),
            audience: Audience::Api,
            expires_at: Some(later(clock::wall_time(), lifetime)),
        };
        Ok(self.make(CredentialKind::Session, &user, wish).await?)
    }

    pub async fn make_token(&self, user: &Arc<User>, wish: TokenWish) -> Result<Made, Error> {
        self.make(CredentialKind::Token, user, wish).await
    }

    async fn make(&self, kind: CredentialKind, user: &Arc<User>, wish: TokenWish) -> Result<Made, Error> {
        let sessions = &self.shared.settings.sessions;
        let (prefix, keep) = match kind {
            CredentialKind::Session => (SESSION, sessions.per_user),
            CredentialKind::Token => (TOKEN, sessions.tokens_per_user),
        };
        let secret = format!("{prefix}{}", keyring::secret_text()?);
        let credential = Credential {
            id: uuid::Uuid::now_v7().to_string(),
            kind,
            hash: hash(&secret),
            user: user.id.clone(),
            name: wish.name,
            scopes: wish.scopes,
            audience: wish.audience,
            epoch: user.epoch,
            created_at: clock::wall_time(),
            expires_at: wish.expires_at,
        };
        let new = NewCredential { credential: credential.clone(), keep };
        self.shared.directory.database().add_credential(new).await?;
        self.shared.directory.refresh().await?;
        let secret = Secret(secret);
        Ok(Made { secret, credential: Arc::new(credential), user: user.clone() })
    }

    /// Ends one credential, and all streams and IDE passes that stand on it.
    pub async fn revoke(&self, id: &str) -> Result<bool, Error> {
        let there = self.shared.directory.database().remove_credential(id).await?;
        self.shared.directory.refresh().await?;
        Ok(there)
    }

    /// Whoever holds one of these secrets, if any still opens anything. What another process made a moment ago is
    /// known too: before nobody is found, the database is asked once more, though not for every guess.
    pub async fn anyone(&self, secrets: &[&str]) -> Option<Principal> {
        let known = || secrets.iter().find_map(|secret| self.principal(secret));
        if secrets.is_empty() || known().is_some() || !self.shared.paces.second_look() {
            return known();
        }
        if let Err(error) = self.shared.directory.refresh().await {
            tracing::debug!(%error, "no second look at the database");
        }
        known()
    }

    /// Whoever holds this secret, if it still opens anything.
    fn principal(&self, secret: &str) -> Option<Principal> {
        // The hash is not secret, so how the map compares it tells nothing about the secret.
        let people = self.shared.directory.people();
        let credential = people.credentials.get(&hash(secret))?;
        let user = access::bearer(&people, credential, clock::wall_time())?;
        Some(Principal { user: user.clone(), credential: credential.clone() })
    }

    /// One more event stream or console of this person; `None`: they have as many as they may.
    pub fn stream(&self, admitted: &Admitted) -> Option<StreamPermit> {
        self.shared.paces.stream(&admitted.principal.as_ref()?.user.id)
    }

    /// May this caller use a route? `vmid`: the server in its path.
    pub fn admit(&self, principal: Option<Principal>, access: Access, vmid: Option<Vmid>) -> Result<Admitted, Denial> {
        let server = vmid.and_then(|vmid| self.shared.directory.servers().one(vmid).cloned());
        access::judge(access, principal.as_ref(), server.as_deref())?;
        Ok(Admitted { principal, server })
    }

    /// Resolves when what was admitted may no longer be: credential or person gone, time over, server another's or gone.
    pub async fn until_over(&self, access: Access, admitted: &Admitted) {
        let mut people = self.shared.directory.watch_people();
        let mut servers = self.shared.directory.watch_servers();
        let end = admitted.principal.as_ref().and_then(|principal| principal.credential.expires_at);
        while self.still(access, admitted) {
            tokio::select! {
                changed = people.changed() => if changed.is_err() { return },
                changed = servers.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(next_look(end, clock::wall_time())) => {}
            }
        }
    }

    fn still(&self, on: Access, admitted: &Admitted) -> bool {
        let people = self.shared.directory.people();
        let holds = |p: &Principal| {
            let user = access::bearer(&people, &p.credential, clock::wall_time())?;
            Some(Principal { user: user.clone(), credential: p.credential.clone() })
        };
        let principal = admitted.principal.as_ref().and_then(holds);
        let now = admitted.server.as_ref().map(|s| self.shared.directory.servers().one(s.vmid).cloned());
        // Another address or port is another server: what is open leads to the old one.
        let same = match (&admitted.server, now.as_ref()) {
            (Some(then), Some(Some(now))) => (then.address, then.agent_port) == (now.address, now.agent_port),
            (Some(_), _) => false,
            (None, _) => true,
        };
        same && access::judge(on, principal.as_ref(), now.flatten().as_deref()).is_ok()
    }
}

/// How long nothing changes by time alone. An end that is past changes nothing any more.
fn next_look(end: Option<WallTime>, now: WallTime) -> Duration {
    let left = end.and_then(|end| u64::try_from(end.0.saturating_sub(now.0)).ok()).filter(|left| *left > 0);
    left.map_or(LOOK_AGAIN, |left| Duration::from_millis(left).min(LOOK_AGAIN))
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn later(now: WallTime, by: Duration) -> WallTime {
    WallTime(now.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_when_time_is_over_and_never_without_a_pause() {
        let now = WallTime(1_000_000);
        for (end, wanted) in [
            (None, LOOK_AGAIN),
            (Some(later(now, Duration::from_millis(1))), Duration::from_millis(1)),
            (Some(later(now, LOOK_AGAIN * 2)), LOOK_AGAIN),
            (Some(now), LOOK_AGAIN),
            (Some(WallTime(0)), LOOK_AGAIN),
        ] {
            assert_eq!(next_look(end, now), wanted, "{end:?}");
        }
    }
}
