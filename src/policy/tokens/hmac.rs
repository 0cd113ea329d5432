//! HMAC-SHA-256 for `jsonwebtoken`, by ring; every other algorithm is refused.
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{self, Signer, Verifier},
};
use ring::hmac;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(signing(*algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(verifying(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(), // for JWK sets, which are not read here
};

/// Makes `jsonwebtoken` use this; every time but the first changes nothing.
pub fn install() {
    _ = PROVIDER.install_default();
}

struct Hs256(hmac::Key);

fn signing(algorithm: Algorithm, key: &EncodingKey) -> Result<Hs256, Error> {
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

fn verifying(algorithm: Algorithm, key: &DecodingKey) -> Result<Hs256, Error> {
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => {
            Ok(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?)))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    /// Constant in time, as ring promises for `hmac::verify`.
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), signature::Error> {
        hmac::verify(&self.0, message, tag).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}
