//! Who may log in: added, changed, removed; each change ends what no longer holds.
use super::Doorkeeper;
use crate::{
    host::{
        clock,
        database::{Entry, Error, NewUser},
        password,
    },
    model::gateway::{Role, User, UserId},
    policy::people,
};
use std::{io, sync::Arc};

/// Why people stay as they are.
#[derive(Debug)]
pub enum Refused {
    Name(&'static str),
    Password(&'static str),
    Exists,
    Absent,
    /// Servers belong to this person.
    OwnsServers,
    Unavailable(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        match error {
            Error::Exists => Refused::Exists,
            Error::Referred => Refused::OwnsServers,
            error => Refused::Unavailable(error),
        }
    }
}

impl Doorkeeper {
    pub async fn add_user(&self, name: &str, role: Role, password: String) -> Result<Arc<User>, Refused> {
        people::name(name).map_err(Refused::Name)?;
        let hash = self.hashed(password).await?;
        let id = UserId(uuid::Uuid::now_v7().to_string());
        let new = NewUser { id: id.clone(), name, role, password: &hash, now: clock::wall_time() };
        self.shared.directory.database().add_user(new).await?;
        self.shared.directory.refresh().await?;
        self.user(name)
    }

    /// Ends all sessions, tokens and IDEs of this person.
    pub async fn set_password(&self, name: &str, password: String) -> Result<(), Refused> {
        let user = self.user(name)?;
        let hash = self.hashed(password).await?;
        let there = self.shared.directory.database().set_password(&user.id, &hash).await;
        self.changed(there).await
    }

    /// Is this the person's password?
    pub async fn knows_password(&self, user: &User, password: String) -> Result<bool, Error> {
        let stored = self.shared.directory.database().password_of(&user.name).await?.map(|(_, hash)| hash);
        let _permit = self.shared.checking.acquire().await;
        let checked = tokio::task::spawn_blocking(move || password::verify(&password, stored.as_deref()));
        Ok(checked.await.unwrap_or(false))
    }

    pub async fn revoke_all(&self, name: &str) -> Result<(), Refused> {
        let there = self.shared.directory.database().revoke_all(&self.user(name)?.id).await;
        self.changed(there).await
    }

    pub async fn set_role(&self, name: &str, role: Role) -> Result<(), Refused> {
        let there = self.shared.directory.database().set_role(&self.user(name)?.id, role).await;
        self.changed(there).await
    }

    pub async fn suspend(&self, name: &str, suspended: bool) -> Result<(), Refused> {
        let there = self.shared.directory.database().suspend(&self.user(name)?.id, suspended).await;
        self.changed(there).await
    }

    pub async fn remove_user(&self, name: &str) -> Result<(), Refused> {
        let there = self.shared.directory.database().remove_user(&self.user(name)?.id).await;
        self.changed(there).await
    }

    pub fn user(&self, name: &str) -> Result<Arc<User>, Refused> {
        self.shared.directory.people().named(name).cloned().ok_or(Refused::Absent)
    }

    /// The newest entries of the audit log, oldest first.
    pub async fn newest_deeds(&self, most: u32) -> Result<Vec<Entry>, Error> {
        self.shared.directory.database().audit_newest(i64::from(most)).await
    }

    async fn changed(&self, there: Result<bool, Error>) -> Result<(), Refused> {
        let there = there?;
        self.shared.directory.refresh().await?;
        if there { Ok(()) } else { Err(Refused::Absent) }
    }

    async fn hashed(&self, password: String) -> Result<String, Refused> {
        people::password(&password).map_err(Refused::Password)?;
        let _permit = self.shared.checking.acquire().await;
        let hashed = tokio::task::spawn_blocking(move || password::hash(&password)).await;
        let hashed = hashed.unwrap_or_else(|_| Err(io::Error::other("hashing a password broke off")));
        hashed.map_err(|e| Refused::Unavailable(e.into()))
    }
}
