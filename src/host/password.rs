//! Passwords as Argon2id (RFC 9106) keeps them.
use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use std::{io, sync::OnceLock};

/// Longer ones cost time and protect nothing more.
pub const LONGEST: usize = 1024;

/// Takes tens of milliseconds of processor and 19 MiB: call it where blocking is allowed.
pub fn hash(password: &str) -> io::Result<String> {
    Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(io::Error::other)
}

/// Costs as much whether there is such a user (`stored`) or not, so that time tells no names.
pub fn verify(password: &str, stored: Option<&str>) -> bool {
    static NOBODY: OnceLock<String> = OnceLock::new();
    let fits = password.len() <= LONGEST;
    let nobody = || NOBODY.get_or_init(|| hash("nobody").unwrap_or_default());
    let stored_text = stored.unwrap_or_else(|| nobody());
    let Ok(parsed) = PasswordHash::new(stored_text) else { return false };
    let tried = if fits { password } else { "" };
    let matches = Argon2::default().verify_password(tried.as_bytes(), &parsed).is_ok();
    matches && fits && stored.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_opens_its_hash_and_nobody_has_none() {
        let stored = hash("correct horse").unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify("correct horse", Some(&stored)));
        for wrong in ["", "correct hors", "correct horse ", &"x".repeat(LONGEST + 1)] {
            assert!(!verify(wrong, Some(&stored)));
        }
        assert!(!verify("nobody", None) && !verify("correct horse", Some("garbage")));
        assert_ne!(stored, hash("correct horse").unwrap(), "a salt of its own");
    }
}
