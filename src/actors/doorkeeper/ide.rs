//! Into a browser IDE: a token that opens once, and the cookie it is exchanged for.
use super::{Doorkeeper, later};
use crate::{
    host::clock,
    model::{
        gateway::{IdeDenial, IdePass, Principal},
        ids::Vmid,
        time::WallTime,
    },
    policy::{
        access,
        tokens::{self, Claims, Kind},
    },
};
use std::{sync::Arc, time::Duration};

/// A signed text and how long it holds.
#[derive(Clone, Debug)]
pub struct Issued {
    pub text: String,
    pub lifetime: Duration,
}

impl Doorkeeper {
    /// A token for the IDE of this person's own dev container.
    pub fn issue_ide_token(&self, principal: &Principal, vmid: Vmid) -> Result<Issued, IdeDenial> {
        let now = clock::wall_time();
        let lifetime = self.shared.settings.ide.token_lifetime;
        let pass = IdePass {
            user: principal.user.id.clone(),
            vmid,
            epoch: principal.user.epoch,
            credential: principal.credential.id.clone(),
            expires_at: later(now, lifetime),
        };
        self.holds(&pass, now)?;
        self.issue(Kind::Token, &pass, now, lifetime)
    }

    /// Uses the token up: a second time it is refused, by every gateway on the same database.
    pub async fn redeem_ide_token(&self, token: &str, vmid: Vmid) -> Result<IdePass, IdeDenial> {
        let now = clock::wall_time();
        let claims = tokens::verify(self.shared.directory.keyring().signing_keys(), token, Kind::Token, now)?;
        let pass = claims.pass();
        self.fits(&pass, vmid, now)?;
        let first = self.shared.directory.database().use_once(&claims.jti, pass.expires_at, now).await;
        match first {
            Ok(true) => Ok(pass),
            Ok(false) => Err(IdeDenial::Used),
            Err(error) => {
                tracing::error!(%error, "cannot tell whether an IDE token was used before");
                Err(IdeDenial::Unavailable)
            }
        }
    }

    /// The cookie for a pass; calling it again renews it.
    pub fn ide_cookie(&self, pass: &IdePass) -> Result<Issued, IdeDenial> {
        let now = clock::wall_time();
        let lifetime = self.shared.settings.ide.cookie_lifetime;
        let renewed = IdePass { expires_at: later(now, lifetime), ..pass.clone() };
        self.holds(&renewed, now)?;
        self.issue(Kind::Cookie, &renewed, now, lifetime)
    }

    /// A fresh cookie for one of whose life a tenth is used up: not each request is worth a signature.
    pub fn renewed_ide_cookie(&self, pass: &IdePass) -> Option<Issued> {
        let left = pass.expires_at.0.saturating_sub(clock::wall_time().0);
        let life = i64::try_from(self.shared.settings.ide.cookie_lifetime.as_millis()).unwrap_or(i64::MAX);
        if left > life / 10 * 9 { None } else { self.ide_cookie(pass).ok() }
    }

    /// What a cookie opens, from memory alone.
    pub fn check_ide_cookie(&self, cookie: &str, vmid: Vmid) -> Result<Arc<IdePass>, IdeDenial> {
        let (now, keyring) = (clock::wall_time(), self.shared.directory.keyring());
        let check = || tokens::verify(keyring.signing_keys(), cookie, Kind::Cookie, now).map(|claims| claims.pass());
        let pass = self.shared.passes.read(&keyring, cookie, check)?;
        self.fits(&pass, vmid, now)?;
        Ok(pass)
    }

    /// Resolves when a stream opened with this pass must end: revoked, logged out, given away. Not when the cookie's time
    /// is over: use renews it, and an open stream is use.
    pub async fn until_ide_over(&self, pass: &IdePass) {
        let mut people = self.shared.directory.watch_people();
        let mut servers = self.shared.directory.watch_servers();
        let open = IdePass { expires_at: WallTime(i64::MAX), ..pass.clone() };
        let credential = self.shared.directory.people().by_id.get(&pass.credential).cloned();
        let end = credential.and_then(|credential| credential.expires_at);
        while self.holds(&open, clock::wall_time()).is_ok() {
            tokio::select! {
                changed = people.changed() => if changed.is_err() { return },
                changed = servers.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(super::next_look(end, clock::wall_time())) => {}
            }
        }
    }

    fn fits(&self, pass: &IdePass, vmid: Vmid, now: WallTime) -> Result<(), IdeDenial> {
        if pass.vmid != vmid {
            return Err(IdeDenial::OtherContainer);
        }
        self.holds(pass, now)
    }

    fn holds(&self, pass: &IdePass, now: WallTime) -> Result<(), IdeDenial> {
        let directory = &self.shared.directory;
        access::enters(&directory.people(), &directory.servers(), pass, now)
    }

    fn issue(&self, kind: Kind, pass: &IdePass, now: WallTime, lifetime: Duration) -> Result<Issued, IdeDenial> {
        let jti = uuid::Uuid::new_v4().to_string();
        let text = tokens::issue(self.shared.directory.keyring().signing_keys(), &Claims::new(kind, pass, jti, now))?;
        Ok(Issued { text, lifetime })
    }
}
