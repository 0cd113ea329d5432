//! A SHA-256, parsed strictly: 64 hexadecimal digits, nothing else. Written in lower case.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// The SHA-256 of a file's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Text that is no SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hexadecimal digits")]
pub struct NotADigest;

impl Digest {
    /// What `sha256sum` and most `.sha256` files hold: the digits, then perhaps blanks and a name.
    pub fn of_checksum_file(text: &str) -> Result<Digest, NotADigest> {
        text.split_whitespace().next().ok_or(NotADigest)?.parse()
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Digest, NotADigest> {
        let mut bytes = [0; 32];
        let decoded = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| NotADigest)?;
        (decoded.len() == bytes.len()).then(|| bytes.copy_from_slice(&decoded)).ok_or(NotADigest)?;
        Ok(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn only_64_digits_are_a_digest() {
        let digest: Digest = ABC.parse().unwrap();
        assert_eq!(digest.to_string(), ABC);
        assert_eq!(ABC.to_uppercase().parse(), Ok(digest));
        let bad = ["", "abc", &ABC[1..], &format!("{ABC}0"), &format!(" {ABC}"), &ABC.replace('b', "g"), "é"];
        for text in bad {
            assert_eq!(text.parse::<Digest>(), Err(NotADigest), "{text:?}");
        }
        assert!(serde_json::from_str::<Digest>("\"sha256:00\"").is_err());
    }

    #[test]
    fn checksum_files_come_with_and_without_a_name() {
        let digest: Digest = ABC.parse().unwrap();
        for text in [ABC.to_owned(), format!("{ABC}\n"), format!("{ABC}  node.tar.xz\n"), format!("{ABC} *a b\n")] {
            assert_eq!(Digest::of_checksum_file(&text), Ok(digest));
        }
        for text in ["", "\n", "<html>", "SHA256 (f) = 00"] {
            assert!(Digest::of_checksum_file(text).is_err(), "{text:?}");
        }
    }
}
