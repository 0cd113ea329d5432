//! What goes into a statement and comes out of a row: text and whole numbers, the same for both databases.
use super::Error;
use sqlx::{
    Postgres, Row as _, Sqlite,
    postgres::{PgArguments, PgRow},
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

#[derive(Clone, Debug)]
pub enum Value {
    Text(Option<String>),
    Number(Option<i64>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(Some(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(Some(text))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Value {
        Value::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Number(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Value {
        Value::Number(number)
    }
}

/// SQLite takes the numbered `$1` of PostgreSQL as well.
pub fn sqlite(sql: &'static str, values: &[Value]) -> Query<'static, Sqlite, SqliteArguments> {
    values.iter().cloned().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Number(number) => query.bind(number),
    })
}

pub fn postgres(sql: &'static str, values: &[Value]) -> Query<'static, Postgres, PgArguments> {
    values.iter().cloned().fold(sqlx::query(sql), |query, value| match value {
        Value::Text(text) => query.bind(text),
        Value::Number(number) => query.bind(number),
    })
}

pub enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub fn sqlite(rows: Vec<SqliteRow>) -> Vec<Row> {
        rows.into_iter().map(Row::Sqlite).collect()
    }

    pub fn postgres(rows: Vec<PgRow>) -> Vec<Row> {
        rows.into_iter().map(Row::Postgres).collect()
    }

    pub fn text(&self, column: usize) -> Result<String, Error> {
        self.optional_text(column)?.ok_or_else(|| missing(column))
    }

    pub fn optional_text(&self, column: usize) -> Result<Option<String>, Error> {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
        .map_err(Error::of)
    }

    pub fn number(&self, column: usize) -> Result<i64, Error> {
        self.optional_number(column)?.ok_or_else(|| missing(column))
    }

    pub fn optional_number(&self, column: usize) -> Result<Option<i64>, Error> {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
        .map_err(Error::of)
    }

    /// A whole number that fits where it goes.
    pub fn fitting<T: TryFrom<i64>>(&self, column: usize) -> Result<T, Error> {
        let number = self.number(column)?;
        T::try_from(number).map_err(|_| Error::Unusable(format!("{number} in column {column}")))
    }
}

fn missing(column: usize) -> Error {
    Error::Unusable(format!("nothing in column {column}"))
}
