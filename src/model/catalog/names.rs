//! Names from a catalog that end up in paths, URLs and arguments: parsed once, trusted inside.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// Longest id or version.
const LONGEST_NAME: usize = 64;
const LONGEST_PATH: usize = 1024;

/// Why a text is no id, version or path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} {1}")]
pub struct NotAName(String, &'static str);

/// An id is lower case: `node`, `code-server`.
pub fn id(text: &str) -> Result<&str, NotAName> {
    let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-".contains(&c);
    name(text, good, "is no id: a-z, 0-9, '.', '_' and '-', at most 64, beginning with a letter or digit")
}

/// A version becomes the name of a folder: `22.11.0`, `1.21.4-47.2+b1`.
pub fn version(text: &str) -> Result<&str, NotAName> {
    let good = |c: u8| c.is_ascii_alphanumeric() || b"._+-".contains(&c);
    name(text, good, "is no version: letters, digits, '.', '_', '+' and '-', at most 64, not beginning with a sign")
}

fn name<'a>(text: &'a str, good: impl Fn(u8) -> bool, why: &'static str) -> Result<&'a str, NotAName> {
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let fits = text.len() <= LONGEST_NAME && text.bytes().all(good);
    if begins_well && fits { Ok(text) } else { Err(NotAName(shortened(text), why)) }
}

/// A place beneath a folder, with `/` between plain names: nothing absolute, no `..`, no empty, hidden or odd name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtifactPath(String);

impl ArtifactPath {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last name.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for ArtifactPath {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<ArtifactPath, NotAName> {
        let refused = |why| Err(NotAName(shortened(text), why));
        if text.len() > LONGEST_PATH {
            return refused("is too long for a path");
        }
        if text.chars().any(|c| c.is_control() || "\\?#%:\"".contains(c)) {
            return refused("holds a character that a path here may not have");
        }
        // A dot first is hidden, and no publisher offers that; `.` and `..` are refused by the same rule.
        if text.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.trim() != part) {
            return refused("is no relative path of plain names");
        }
        Ok(ArtifactPath(text.to_owned()))
    }
}

impl fmt::Display for ArtifactPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<std::path::Path> for ArtifactPath {
    fn as_ref(&self) -> &std::path::Path {
        self.0.as_ref()
    }
}

impl Serialize for ArtifactPath {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ArtifactPath {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

/// What is shown of a text that was refused: it may be anything.
fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_versions_are_plain_names() {
        for good in ["node", "code-server", "dotnet8", "a.b_c"] {
            assert_eq!(id(good), Ok(good));
        }
        for bad in ["", "Node", "-x", ".x", "a/b", "a b", "é", &"a".repeat(65)] {
            assert!(id(bad).is_err(), "{bad:?}");
        }
        for good in ["22", "8.0", "1.21.4", "1.20.1-47.2.0", "21.0.5+11", "25w14craftmine", "1.21-pre1"] {
            assert_eq!(version(good), Ok(good));
        }
        for bad in ["", "..", ".5", "-1", "+1", "1/2", "1 2", "1\n", &"1".repeat(65)] {
            assert!(version(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_path_stays_beneath_its_folder() {
        for good in ["a", "devcontainer/node/node-22.tar.xz", "a b/c+d", "minecraft/paper/1.21.4/server.jar"] {
            assert_eq!(good.parse::<ArtifactPath>().unwrap().as_str(), good);
        }
        let bad = [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a/.git",
            "a\\b",
            "a\0b",
            "a\nb",
            "http://x/y",
            "a?b",
            "a#b",
            "a%2e%2e/b",
            " a",
            "a /b",
        ];
        for text in bad {
            assert!(text.parse::<ArtifactPath>().is_err(), "{text:?}");
        }
        assert!("x".repeat(1025).parse::<ArtifactPath>().is_err());
    }
}
