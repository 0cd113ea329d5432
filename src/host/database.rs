//! The gateway's database: SQLite in a file, or PostgreSQL by URL; one schema and one set of statements for both.
//!
//! Every change begins with a new number in `revisions` for its part. That row is the lock that puts writers of one part
//! in order (in SQLite it takes the one write lock there is), and the number tells every gateway on the same database
//! that something is to be read anew.
mod audit;
mod once;
mod people;
mod servers;
mod value;

pub use audit::{Chain, End, Entry, NewEntry};
pub use once::{Known, StoredAnswer};
pub use people::{NewCredential, NewUser};

use sqlx::{
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};
use std::{io, path::Path, str::FromStr, time::Duration};
use value::{Row, Value};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Connections to the database at a time.
const CONNECTIONS: u32 = 8;
/// Time to get one, and in SQLite to get the write lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// What readers follow, each with a revision of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    People,
    Servers,
    Audit,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::People => "people",
            Part::Servers => "servers",
            Part::Audit => "audit",
        }
    }
}

/// Revisions of what is kept in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    pub people: i64,
    pub servers: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something of that name or number is there already.
    #[error("it exists already")]
    Exists,
    /// Something that is referred to is not there, or still referred to.
    #[error("something else refers to it, or what it refers to is missing")]
    Referred,
    #[error("the database failed: {0}")]
    Failed(#[from] sqlx::Error),
    #[error("the database's tables cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row that this program cannot have written, or whose key is gone.
    #[error("the database holds something unusable: {0}")]
    Unusable(String),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Error {
    fn of(error: sqlx::Error) -> Error {
        match error.as_database_error() {
            Some(e) if e.is_unique_violation() => Error::Exists,
            Some(e) if e.is_foreign_key_violation() => Error::Referred,
            _ => Error::Failed(error),
        }
    }
}

#[derive(Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Clones share one pool of connections.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
}

impl Database {
    /// The file is made if it is not there.
    pub async fn sqlite(path: &Path) -> Result<Database, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
        let pool = pool.connect_with(options).await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Database { pool: Pool::Sqlite(pool) })
    }

    pub async fn postgres(url: &str) -> Result<Database, Error> {
        let options = PgConnectOptions::from_str(url)?.application_name("zlh-gateway");
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(PATIENCE);
        let pool = pool.connect_with(options).await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Database { pool: Pool::Postgres(pool) })
    }

    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }

    pub async fn revisions(&self) -> Result<Revisions, Error> {
        let mut revisions = Revisions::default();
        for row in self.rows("SELECT part, revision FROM revisions", &[]).await? {
            match row.text(0)?.as_str() {
                "people" => revisions.people = row.number(1)?,
                "servers" => revisions.servers = row.number(1)?,
                _ => {}
            }
        }
        Ok(revisions)
    }

    async fn rows(&self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, Error> {
        let rows = match &self.pool {
            Pool::Sqlite(pool) => value::sqlite(sql, values).fetch_all(pool).await.map(Row::sqlite),
            Pool::Postgres(pool) => value::postgres(sql, values).fetch_all(pool).await.map(Row::postgres),
        };
        rows.map_err(Error::of)
    }

    /// How many rows it touched.
    async fn execute(&self, sql: &'static str, values: &[Value]) -> Result<u64, Error> {
        let done = match &self.pool {
            Pool::Sqlite(pool) => value::sqlite(sql, values).execute(pool).await.map(|d| d.rows_affected()),
            Pool::Postgres(pool) => value::postgres(sql, values).execute(pool).await.map(|d| d.rows_affected()),
        };
        done.map_err(Error::of)
    }

    /// Begins a change of one part. What is not committed is undone.
    async fn change(&self, part: Part) -> Result<Change, Error> {
        let mut change = match &self.pool {
            Pool::Sqlite(pool) => Change::Sqlite(pool.begin().await?),
            Pool::Postgres(pool) => Change::Postgres(pool.begin().await?),
        };
        let sql = "UPDATE revisions SET revision = revision + 1 WHERE part = $1";
        change.execute(sql, &[part.name().into()]).await?;
        Ok(change)
    }
}

/// A transaction.
enum Change {
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Change {
    async fn rows(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<Row>, Error> {
        let rows = match self {
            Change::Sqlite(tx) => value::sqlite(sql, values).fetch_all(&mut **tx).await.map(Row::sqlite),
            Change::Postgres(tx) => value::postgres(sql, values).fetch_all(&mut **tx).await.map(Row::postgres),
        };
        rows.map_err(Error::of)
    }

    async fn execute(&mut self, sql: &'static str, values: &[Value]) -> Result<u64, Error> {
        let done = match self {
            Change::Sqlite(tx) => value::sqlite(sql, values).execute(&mut **tx).await.map(|d| d.rows_affected()),
            Change::Postgres(tx) => value::postgres(sql, values).execute(&mut **tx).await.map(|d| d.rows_affected()),
        };
        done.map_err(Error::of)
    }

    async fn commit(self) -> Result<(), Error> {
        match self {
            Change::Sqlite(tx) => tx.commit().await,
            Change::Postgres(tx) => tx.commit().await,
        }
        .map_err(Error::of)
    }
}

#[cfg(test)]
mod tests;
