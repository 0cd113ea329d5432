//! Who may ask: the bearer token, and which routes need it.
//!
//! The token travels in `Authorization` only, never in a URL, where proxies and histories would keep it. There is no
//! variant for browsers (which cannot set headers on a WebSocket): no page is served from this origin, so a browser has
//! no business here; it comes through the gateway, which knows the user by a cookie.
use super::problem::{Code, Problem};
use crate::model::settings::Secret;
use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a route asks of its caller. Every route names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Open,
    Bearer,
}

/// The one token that opens `Access::Bearer` routes, kept as its digest.
#[derive(Clone)]
pub struct Gate {
    /// `None`: everybody passes (`allow_unauthenticated`, or a loopback listener without a token).
    digest: Option<[u8; 32]>,
}

impl Gate {
    /// No token means no check: whether that is allowed was decided when the configuration was read.
    pub fn new(token: Option<&Secret>) -> Gate {
        Gate { digest: token.map(|secret| digest(secret.0.as_bytes())) }
    }

    /// Digests have one length and are compared in constant time, so neither length nor prefix of the token shows.
    pub fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(expected) = &self.digest else { return Ok(()) };
        match bearer(headers) {
            Some(token) if bool::from(digest(token).ct_eq(expected)) => Ok(()),
            Some(_) => Err(Code::UNAUTHORIZED.because("The token is not this agent's.")),
            None => Err(Code::UNAUTHORIZED.into()),
        }
    }
}

fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The token of the only `Authorization` header; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn with(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_the_exact_token_in_one_header_passes() {
        let gate = Gate::new(Some(&Secret("s3cret".into())));
        for right in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret"] {
            assert!(gate.admit(&with(&[right])).is_ok(), "{right}");
        }
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret0", "Basic s3cret", "s3cret", "Bearers3cret"]
        {
            assert_eq!(gate.admit(&with(&[wrong])).unwrap_err().code, "unauthorized", "{wrong}");
        }
        assert!(gate.admit(&with(&["Bearer s3cret", "Bearer s3cret"])).is_err(), "two headers");
        assert!(gate.admit(&HeaderMap::new()).is_err());
    }

    #[test]
    fn without_a_token_everybody_passes() {
        assert!(Gate::new(None).admit(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn an_empty_token_is_never_given_by_leaving_it_out() {
        let gate = Gate::new(Some(&Secret("x".into())));
        assert!(gate.admit(&with(&["Bearer "])).is_err());
    }
}
