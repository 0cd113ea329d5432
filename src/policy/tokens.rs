//! IDE tokens and cookies: what they say, how they are signed, when they hold.
//!
//! JSON Web Tokens (RFC 7519), HS256 alone: a header that names another algorithm is refused before anything is looked
//! at. `kid` chooses among our keys, newest first; who holds no key of ours forges nothing. A token opens one
//! container's IDE once, within minutes; the cookie it is exchanged for is of another type, so neither stands for the
//! other. Whether a token was used before, and whether its owner still is one, is not in the token: the caller asks.
mod hmac;

use crate::model::{
    gateway::{IdeDenial, IdePass, SigningKey, UserId},
    ids::Vmid,
    time::WallTime,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Whom IDE tokens are meant for.
pub const AUDIENCE: &str = "zlh-ide";
/// Longer texts are no tokens of ours.
const LONGEST: usize = 2048;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Redeemed once, for a cookie.
    #[serde(rename = "dev-ide")]
    Token,
    #[serde(rename = "dev-ide-cookie")]
    Cookie,
}

/// What stands in a token. Times are Unix seconds, as RFC 7519 has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The user's id.
    pub sub: String,
    pub vmid: u32,
    #[serde(rename = "type")]
    pub kind: Kind,
    pub aud: String,
    pub jti: String,
    /// The user's epoch when it was made.
    pub epoch: u64,
    /// Id of the session or API token it was asked for with.
    pub cid: String,
    pub iat: i64,
    pub exp: i64,
}

impl Claims {
    /// Claims for `pass`, which says when they end.
    pub fn new(kind: Kind, pass: &IdePass, jti: String, now: WallTime) -> Claims {
        Claims {
            sub: pass.user.0.clone(),
            vmid: pass.vmid.0,
            kind,
            aud: AUDIENCE.into(),
            jti,
            epoch: pass.epoch,
            cid: pass.credential.clone(),
            iat: now.0.div_euclid(1000),
            exp: pass.expires_at.0.div_euclid(1000),
        }
    }

    /// The right this token gives.
    pub fn pass(&self) -> IdePass {
        IdePass {
            user: UserId(self.sub.clone()),
            vmid: Vmid(self.vmid),
            epoch: self.epoch,
            credential: self.cid.clone(),
            expires_at: WallTime(self.exp.saturating_mul(1000)),
        }
    }
}

/// Signs with the newest key.
pub fn issue(keys: &[SigningKey], claims: &Claims) -> Result<String, IdeDenial> {
    hmac::install();
    let newest = keys.first().ok_or(IdeDenial::Unavailable)?;
    let header = Header { kid: Some(newest.id.clone()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(&newest.key);
    jsonwebtoken::encode(&header, claims, &key).map_err(|_| IdeDenial::Unavailable)
}

/// What the token says, if one of our keys signed it, it is of this kind, and its time has not run out.
pub fn verify(keys: &[SigningKey], token: &str, kind: Kind, now: WallTime) -> Result<Claims, IdeDenial> {
    hmac::install();
    if token.len() > LONGEST {
        return Err(IdeDenial::Invalid);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| IdeDenial::Invalid)?;
    if header.alg != Algorithm::HS256 {
        return Err(IdeDenial::Invalid);
    }
    let key = keys.iter().find(|key| Some(&key.id) == header.kid.as_ref()).ok_or(IdeDenial::Invalid)?;
    let mut rules = Validation::new(Algorithm::HS256);
    rules.set_audience(&[AUDIENCE]);
    rules.set_required_spec_claims(&["exp", "aud", "sub"]);
    // Time comes in as an argument and is compared below, without leeway.
    rules.validate_exp = false;
    let decoded = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(&key.key), &rules);
    let claims = decoded.map_err(|_| IdeDenial::Invalid)?.claims;
    match claims.kind == kind {
        false => Err(IdeDenial::Invalid),
        true if now.0 >= claims.exp.saturating_mul(1000) => Err(IdeDenial::Expired),
        true => Ok(claims),
    }
}

#[cfg(test)]
mod tests;
