//! What people and servers may be called, and what a password must be.

const LONGEST_NAME: usize = 64;
const SHORTEST_PASSWORD: usize = 8;
const LONGEST_PASSWORD: usize = 1024;

/// A user's name stands in logs, tables and headers.
pub fn name(text: &str) -> Result<(), &'static str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-@+".contains(c);
    match text {
        "" => Err("it is empty"),
        _ if text.len() > LONGEST_NAME => Err("it is longer than 64 characters"),
        _ if !text.chars().all(fits) => Err("only letters, digits and . _ - @ + may be in it"),
        _ if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) => Err("it begins with a letter or digit"),
        _ => Ok(()),
    }
}

/// Length is what counts (NIST SP 800-63B §5.1.1.2); nothing is asked of the characters.
pub fn password(text: &str) -> Result<(), &'static str> {
    match text.chars().count() {
        n if n < SHORTEST_PASSWORD => Err("it has fewer than 8 characters"),
        _ if text.len() > LONGEST_PASSWORD => Err("it is longer than 1024 bytes"),
        _ => Ok(()),
    }
}

/// What a server is called on screens.
pub fn server_name(text: &str) -> Result<(), &'static str> {
    match text {
        _ if text.trim().is_empty() => Err("it is empty"),
        _ if text.chars().count() > LONGEST_NAME => Err("it is longer than 64 characters"),
        _ if text.chars().any(char::is_control) => Err("it has control characters"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["ann", "a", "ann.b@example.org", "x-1_2+3"] {
            assert_eq!(name(good), Ok(()), "{good}");
        }
        for bad in ["", "-ann", ".", "a b", "a\n", "ä", "a/b", "a<b", &"a".repeat(65)] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
        assert!(server_name("Ann's world ⛏").is_ok());
        for bad in ["", "  ", "a\u{1b}[2J", &"a".repeat(65)] {
            assert!(server_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn passwords_have_a_length() {
        assert!(password("eight ch").is_ok() && password(&"x".repeat(1024)).is_ok());
        assert!(password("seven c").is_err() && password(&"x".repeat(1025)).is_err() && password("").is_err());
    }
}
