//! Idempotency keys: taken, settled, given back.
use super::Doorkeeper;
use crate::{
    host::{clock, database::Error},
    model::{gateway::UserId, time::WallTime},
};

pub use crate::host::database::{Known as KeyState, StoredAnswer as Remembered};

impl Doorkeeper {
    pub async fn take_key(&self, user: &UserId, key: &str, fingerprint: &str) -> Result<KeyState, Error> {
        let now = clock::wall_time();
        let settings = &self.shared.settings;
        let before = |age: std::time::Duration| WallTime(now.0 - i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let database = self.shared.directory.database();
        // Who is at work for longer than an agent may be silent, twice, was cut off and will never settle it.
        let (forget, stale) = (before(settings.requests.idempotency), before(settings.forward.idle * 2));
        database.take_key(user, key, fingerprint, now, forget, stale).await
    }

    /// Remembers the answer, or gives the key back.
    pub async fn settle_key(&self, user: &UserId, key: &str, answer: Option<Remembered>) -> Result<(), Error> {
        let database = self.shared.directory.database();
        match answer {
            Some(answer) => database.keep_answer(user, key, &answer).await,
            None => database.drop_key(user, key).await,
        }
    }
}
