//! Query parameters: unknown names and wrong values are refused and named.
use super::problem::{Code, Problem};
use axum::{extract::FromRequestParts, http::request::Parts};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};
use std::time::Duration;

/// The query string as `T`, which should `deny_unknown_fields`.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Problem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Query(query)),
            Err(rejection) => Err(Code::MALFORMED_QUERY.because(rejection.body_text())),
        }
    }
}

/// `30s`, `500ms`, `1m30s`, or a bare number of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Wait, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(seconds) = text.parse() {
            return Ok(Wait(Duration::from_secs(seconds)));
        }
        let parsed = humantime::parse_duration(&text);
        parsed.map(Wait).map_err(|e| D::Error::custom(format!("{text:?} is not a duration such as 30s: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Poll {
        wait: Option<Wait>,
    }

    async fn parse(query: &str) -> Result<Option<Wait>, Problem> {
        let uri = format!("/status?{query}");
        let (mut parts, ()) = axum::http::Request::builder().uri(uri).body(()).unwrap().into_parts();
        Query::<Poll>::from_request_parts(&mut parts, &()).await.map(|Query(poll)| poll.wait)
    }

    #[tokio::test]
    async fn durations_have_units_or_are_seconds() {
        assert_eq!(parse("wait=30s").await.unwrap(), Some(Wait(Duration::from_secs(30))));
        assert_eq!(parse("wait=250ms").await.unwrap(), Some(Wait(Duration::from_millis(250))));
        assert_eq!(parse("wait=5").await.unwrap(), Some(Wait(Duration::from_secs(5))));
        assert_eq!(parse("").await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        for (query, name) in [("wat=1", "wat"), ("wait=-1", "-1"), ("wait=soon", "soon"), ("wait=1s&wait=2s", "wait")] {
            let problem = parse(query).await.unwrap_err();
            assert_eq!(problem.code, "malformed_query");
            assert!(problem.detail.contains(name), "{}", problem.detail);
        }
    }
}
