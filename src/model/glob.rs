//! Path patterns: `*` and `?` stay within one name, `**/` spans any number of folders, `{a,b}` is a choice.
use std::fmt;

/// A checked pattern. Matching takes time in the order of pattern times path, whatever the pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    /// The choices of `{a,b}` written out.
    alternatives: Vec<Vec<Part>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// One name of the path, itself a pattern of `*`, `?` and plain characters.
    Name(Vec<char>),
    /// `**`: any number of folders, none included.
    Folders,
}

/// A pattern with more choices than this is refused.
const MAX_ALTERNATIVES: usize = 64;
const MAX_LENGTH: usize = 256;

impl Glob {
    /// The error says what is wrong with the pattern.
    pub fn parse(text: &str) -> Result<Glob, String> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(format!("a pattern has 1 to {MAX_LENGTH} bytes"));
        }
        if text.starts_with('/') || text.contains(['\\', '\0', '[', ']']) {
            return Err("a pattern is relative and knows *, ?, **/ and {a,b} only".into());
        }
        let written_out = choices(text)?;
        let alternatives = written_out.iter().map(|one| parts(one)).collect::<Result<_, _>>()?;
        Ok(Glob { text: text.to_owned(), alternatives })
    }

    /// `path`: relative, names divided by single slashes.
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<Vec<char>> = path.split('/').map(|name| name.chars().collect()).collect();
        self.alternatives.iter().any(|parts| {
            wild(
                parts,
                &names,
                |part| *part == Part::Folders,
                |part, name| match part {
                    Part::Name(pattern) => name_matches(pattern, name),
                    Part::Folders => false,
                },
            )
        })
    }

    /// Can something beneath the folder `path` match? Lets a walk leave out what cannot.
    pub fn may_match_beneath(&self, path: &str) -> bool {
        let names: Vec<Vec<char>> = path.split('/').map(|name| name.chars().collect()).collect();
        self.alternatives.iter().any(|parts| {
            let fixed = parts.iter().position(|p| *p == Part::Folders).unwrap_or(parts.len());
            (names.len() < parts.len() || fixed < parts.len())
                && parts[..fixed].iter().zip(&names).all(|(part, name)| match part {
                    Part::Name(pattern) => name_matches(pattern, name),
                    Part::Folders => true,
                })
        })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn name_matches(pattern: &[char], name: &[char]) -> bool {
    wild(pattern, name, |c| *c == '*', |c, n| *c == '?' || c == n)
}

/// The one wildcard algorithm for names in paths and characters in names: `many` stands for any number of items.
/// On a mismatch only the latest `many` takes one item more, which is why it is never exponential.
fn wild<P, T>(pattern: &[P], items: &[T], many: impl Fn(&P) -> bool, one: impl Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut i) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while i < items.len() {
        if p < pattern.len() && many(&pattern[p]) {
            retry = Some((p, i));
            p += 1;
        } else if p < pattern.len() && one(&pattern[p], &items[i]) {
            p += 1;
            i += 1;
        } else if let Some((at, taken)) = retry {
            retry = Some((at, taken + 1));
            p = at + 1;
            i = taken + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(many)
}

fn choices(text: &str) -> Result<Vec<String>, String> {
    let Some(open) = text.find('{') else {
        return if text.contains('}') { Err("} without {".into()) } else { Ok(vec![text.to_owned()]) };
    };
    let Some(close) = text[open..].find('}').map(|at| open + at) else { return Err("{ without }".into()) };
    let inner = &text[open + 1..close];
    if inner.is_empty() || inner.contains('{') {
        return Err("{ } holds names divided by commas, no further { }".into());
    }
    let tails = choices(&text[close + 1..])?;
    let mut out = Vec::new();
    for choice in inner.split(',') {
        for tail in &tails {
            out.push(format!("{}{choice}{tail}", &text[..open]));
        }
    }
    if out.len() > MAX_ALTERNATIVES { Err(format!("more than {MAX_ALTERNATIVES} choices")) } else { Ok(out) }
}

fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut out = Vec::new();
    for name in text.split('/') {
        out.push(match name {
            "" => return Err("an empty name between slashes".into()),
            "." | ".." => return Err("no . or .. in a pattern".into()),
            "**" => Part::Folders,
            other if other.contains("**") => return Err("** stands alone between slashes".into()),
            other => Part::Name(other.chars().collect()),
        });
    }
    if out.last() == Some(&Part::Folders) {
        out.push(Part::Name(vec!['*']));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_what_they_say() {
        let rows = [
            ("server.properties", "server.properties", true),
            ("server.properties", "a/server.properties", false),
            ("config/**/*.{toml,json}", "config/a.toml", true),
            ("config/**/*.{toml,json}", "config/a/b/c.json", true),
            ("config/**/*.{toml,json}", "config/a/b/c.jsonx", false),
            ("config/**/*.{toml,json}", "other/a.toml", false),
            ("logs/*.log.gz", "logs/2026.log.gz", true),
            ("logs/*.log", "logs/a/b.log", false),
            ("mods/*", "mods/x.jar", true),
            ("mods/*", "mods/x/y.jar", false),
            ("plugins/**", "plugins/a/b/c.yml", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("a/**/b/**/c", "a/1/b/2/3/c", true),
            ("a/**/b/**/c", "a/1/2/3/c", false),
        ];
        for (pattern, path, expected) in rows {
            assert_eq!(Glob::parse(pattern).unwrap().matches(path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for bad in ["", "/etc/*", "a//b", "../x", "a/./b", "{a", "a}", "{}", "{a,{b}}", "a**", "a\\b", "[ab]"] {
            assert!(Glob::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Glob::parse(&"{a,b}".repeat(7)).is_err(), "128 choices");
    }

    #[test]
    fn a_walk_may_leave_out_folders_that_cannot_match() {
        let rows = [
            ("libraries/net/*/unix_args.txt", "libraries", true),
            ("libraries/net/*/unix_args.txt", "libraries/net/forge", true),
            ("libraries/net/*/unix_args.txt", "libraries/com", false),
            ("libraries/net/*/unix_args.txt", "libraries/net/forge/deep", false),
            ("config/**/*.toml", "config/a/b", true),
            ("config/**/*.toml", "mods", false),
            ("*.jar", "mods", false),
        ];
        for (pattern, folder, expected) in rows {
            assert_eq!(Glob::parse(pattern).unwrap().may_match_beneath(folder), expected, "{pattern} beneath {folder}");
        }
    }

    #[test]
    fn a_nasty_pattern_is_not_slow() {
        let glob = Glob::parse(&format!("{}b", "*a".repeat(100))).unwrap();
        let started = std::time::Instant::now();
        assert!(!glob.matches(&"a".repeat(4000)));
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
    }
}
