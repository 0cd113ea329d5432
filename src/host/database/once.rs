//! What may happen once: tokens that open something one time, and requests that carry an Idempotency-Key.
use super::{Database, Error};
use crate::model::{gateway::UserId, time::WallTime};

/// An answer kept for the next request with the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    /// Names and values, as JSON.
    pub headers: String,
    pub body: String,
}

/// What is known of an Idempotency-Key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing until now; it is ours.
    New,
    /// The first request with it is still at work.
    AtWork,
    /// It came with another request.
    Other,
    Answered(StoredAnswer),
}

impl Database {
    /// True the first time, in all gateways together.
    pub async fn use_once(&self, jti: &str, expires_at: WallTime, now: WallTime) -> Result<bool, Error> {
        self.execute("DELETE FROM used_tokens WHERE expires_at <= $1", &[now.0.into()]).await?;
        let sql = "INSERT INTO used_tokens (jti, expires_at) VALUES ($1, $2) ON CONFLICT (jti) DO NOTHING";
        Ok(self.execute(sql, &[jti.into(), expires_at.0.into()]).await? == 1)
    }

    /// Takes the key, or says what came of the request that has it. Keys from before `forget` are forgotten; whoever is
    /// at work since before `stale` is taken to be dead.
    pub async fn take_key(
        &self,
        user: &UserId,
        key: &str,
        fingerprint: &str,
        now: WallTime,
        forget: WallTime,
        stale: WallTime,
    ) -> Result<Known, Error> {
        let sql = "DELETE FROM idempotency WHERE created_at <= $1 OR (status IS NULL AND created_at <= $2)";
        self.execute(sql, &[forget.0.into(), stale.0.into()]).await?;
        let sql = "INSERT INTO idempotency (user_id, key, fingerprint, created_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (user_id, key) DO NOTHING";
        let values = [user.0.as_str().into(), key.into(), fingerprint.into(), now.0.into()];
        if self.execute(sql, &values).await? == 1 {
            return Ok(Known::New);
        }
        let sql = "SELECT fingerprint, status, headers, body FROM idempotency WHERE user_id = $1 AND key = $2";
        let rows = self.rows(sql, &[user.0.as_str().into(), key.into()]).await?;
        let Some(row) = rows.first() else { return Ok(Known::AtWork) };
        if row.text(0)? != fingerprint {
            return Ok(Known::Other);
        }
        match row.optional_number(1)? {
            None => Ok(Known::AtWork),
            Some(_) => {
                Ok(Known::Answered(StoredAnswer { status: row.fitting(1)?, headers: row.text(2)?, body: row.text(3)? }))
            }
        }
    }

    pub async fn keep_answer(&self, user: &UserId, key: &str, answer: &StoredAnswer) -> Result<(), Error> {
        let sql = "UPDATE idempotency SET status = $3, headers = $4, body = $5 WHERE user_id = $1 AND key = $2";
        let values = [
            user.0.as_str().into(),
            key.into(),
            i64::from(answer.status).into(),
            answer.headers.as_str().into(),
            answer.body.as_str().into(),
        ];
        self.execute(sql, &values).await.map(|_| ())
    }

    /// The request came to nothing that may be repeated: the next one with this key begins anew.
    pub async fn drop_key(&self, user: &UserId, key: &str) -> Result<(), Error> {
        let sql = "DELETE FROM idempotency WHERE user_id = $1 AND key = $2";
        self.execute(sql, &[user.0.as_str().into(), key.into()]).await.map(|_| ())
    }
}
