//! Users and their credentials.
use super::{Database, Error, Part, Row};
use crate::model::{
    gateway::{Audience, Credential, CredentialKind, People, Role, Scope, SecretHash, User, UserId},
    time::WallTime,
};
use data_encoding::HEXLOWER;
use std::sync::Arc;

pub struct NewUser<'a> {
    pub id: UserId,
    pub name: &'a str,
    pub role: Role,
    /// As Argon2id wrote it.
    pub password: &'a str,
    pub now: WallTime,
}

pub struct NewCredential {
    pub credential: Credential,
    /// More of this kind than so many: the oldest end.
    pub keep: usize,
}

const USER: &str = "SELECT id, name, role, epoch, suspended, created_at FROM users";

impl Database {
    /// Everybody, and the credentials whose time has not run out.
    pub async fn people(&self, now: WallTime) -> Result<People, Error> {
        let mut people = People::default();
        for row in self.rows(USER, &[]).await? {
            let user = user(&row)?;
            people.users.insert(user.id.clone(), Arc::new(user));
        }
        let sql = "SELECT c.id, c.kind, c.hash, c.user_id, c.name, c.scopes, c.audience, c.epoch, c.created_at, \
                   c.expires_at FROM credentials c WHERE c.expires_at IS NULL OR c.expires_at > $1";
        for row in self.rows(sql, &[now.0.into()]).await? {
            people.insert(credential(&row)?);
        }
        Ok(people)
    }

    pub async fn add_user(&self, new: NewUser<'_>) -> Result<(), Error> {
        let mut change = self.change(Part::People).await?;
        let sql = "INSERT INTO users (id, name, role, password, epoch, suspended, created_at) \
                   VALUES ($1, $2, $3, $4, 0, 0, $5)";
        let values =
            [new.id.0.into(), new.name.into(), new.role.as_str().into(), new.password.into(), new.now.0.into()];
        change.execute(sql, &values).await?;
        change.commit().await
    }

    /// The user of this name and the password's hash.
    pub async fn password_of(&self, name: &str) -> Result<Option<(UserId, String)>, Error> {
        let rows = self.rows("SELECT id, password FROM users WHERE name = $1", &[name.into()]).await?;
        rows.first().map(|row| Ok((UserId(row.text(0)?), row.text(1)?))).transpose()
    }

    /// Also ends everything made with the old one. False: no such user.
    pub async fn set_password(&self, user: &UserId, password: &str) -> Result<bool, Error> {
        let mut change = self.change(Part::People).await?;
        let sql = "UPDATE users SET password = $2, epoch = epoch + 1 WHERE id = $1";
        let touched = change.execute(sql, &[user.0.clone().into(), password.into()]).await?;
        change.execute("DELETE FROM credentials WHERE user_id = $1", &[user.0.clone().into()]).await?;
        change.commit().await?;
        Ok(touched == 1)
    }

    /// Ends all credentials of a person, IDE cookies too.
    pub async fn revoke_all(&self, user: &UserId) -> Result<bool, Error> {
        let mut change = self.change(Part::People).await?;
        let id = || user.0.clone().into();
        let touched = change.execute("UPDATE users SET epoch = epoch + 1 WHERE id = $1", &[id()]).await?;
        change.execute("DELETE FROM credentials WHERE user_id = $1", &[id()]).await?;
        change.commit().await?;
        Ok(touched == 1)
    }

    pub async fn set_role(&self, user: &UserId, role: Role) -> Result<bool, Error> {
        let mut change = self.change(Part::People).await?;
        let values = [user.0.clone().into(), role.as_str().into()];
        let touched = change.execute("UPDATE users SET role = $2 WHERE id = $1", &values).await?;
        change.commit().await?;
        Ok(touched == 1)
    }

    pub async fn suspend(&self, user: &UserId, suspended: bool) -> Result<bool, Error> {
        let mut change = self.change(Part::People).await?;
        let values = [user.0.clone().into(), i64::from(suspended).into()];
        let sql = "UPDATE users SET suspended = $2, epoch = epoch + 1 WHERE id = $1";
        let touched = change.execute(sql, &values).await?;
        change.commit().await?;
        Ok(touched == 1)
    }

    /// Fails with [`Error::Referred`] while servers belong to this person.
    pub async fn remove_user(&self, user: &UserId) -> Result<bool, Error> {
        let mut change = self.change(Part::People).await?;
        let touched = change.execute("DELETE FROM users WHERE id = $1", &[user.0.clone().into()]).await?;
        change.commit().await?;
        Ok(touched == 1)
    }

    pub async fn add_credential(&self, new: NewCredential) -> Result<(), Error> {
        let c = new.credential;
        let scopes = c.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(",");
        let mut change = self.change(Part::People).await?;
        let expired = "DELETE FROM credentials WHERE expires_at IS NOT NULL AND expires_at <= $1";
        change.execute(expired, &[c.created_at.0.into()]).await?;
        let sql = "INSERT INTO credentials \
                   (id, kind, hash, user_id, name, scopes, audience, epoch, created_at, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let values = [
            c.id.into(),
            c.kind.as_str().into(),
            HEXLOWER.encode(&c.hash).into(),
            c.user.0.clone().into(),
            c.name.into(),
            scopes.into(),
            c.audience.as_str().into(),
            i64::try_from(c.epoch).unwrap_or(i64::MAX).into(),
            c.created_at.0.into(),
            c.expires_at.map(|at| at.0).into(),
        ];
        change.execute(sql, &values).await?;
        let sql = "DELETE FROM credentials WHERE id IN (SELECT id FROM credentials WHERE user_id = $1 AND kind = $2 \
                   ORDER BY created_at DESC, id DESC LIMIT 1000000 OFFSET $3)";
        let keep = i64::try_from(new.keep).unwrap_or(i64::MAX);
        change.execute(sql, &[c.user.0.into(), c.kind.as_str().into(), keep.into()]).await?;
        change.commit().await
    }

    pub async fn remove_credential(&self, id: &str) -> Result<bool, Error> {
        let mut change = self.change(Part::People).await?;
        let touched = change.execute("DELETE FROM credentials WHERE id = $1", &[id.into()]).await?;
        change.commit().await?;
        Ok(touched == 1)
    }
}

fn user(row: &Row) -> Result<User, Error> {
    let role = row.text(2)?;
    Ok(User {
        id: UserId(row.text(0)?),
        name: row.text(1)?,
        role: Role::named(&role).ok_or(Error::Unusable(format!("role {role}")))?,
        epoch: row.fitting(3)?,
        suspended: row.number(4)? != 0,
        created_at: WallTime(row.number(5)?),
    })
}

fn credential(row: &Row) -> Result<Credential, Error> {
    let unusable = |what: &str| Error::Unusable(format!("credential with {what}"));
    let hash = HEXLOWER.decode(row.text(2)?.as_bytes()).ok().and_then(|hash| SecretHash::try_from(hash).ok());
    let scopes = row.text(5)?;
    let scopes = scopes.split(',').filter(|word| !word.is_empty()).map(Scope::named);
    Ok(Credential {
        id: row.text(0)?,
        kind: CredentialKind::named(&row.text(1)?).ok_or_else(|| unusable("an unknown kind"))?,
        hash: hash.ok_or_else(|| unusable("a damaged hash"))?,
        user: UserId(row.text(3)?),
        name: row.text(4)?,
        scopes: scopes.collect::<Option<_>>().ok_or_else(|| unusable("an unknown scope"))?,
        audience: Audience::named(&row.text(6)?).ok_or_else(|| unusable("an unknown audience"))?,
        epoch: row.fitting(7)?,
        created_at: WallTime(row.number(8)?),
        expires_at: row.optional_number(9)?.map(WallTime),
    })
}
