//! What a backup leaves out, written as in a `.gitignore`: `node_modules/`, `*.tmp`, `/data/raw`, `!keep.tmp`.
//!
//! The last pattern that fits decides. A name without a slash fits at any depth, one with a slash from the top; a slash at
//! the end: folders only; `!` takes back what an earlier one left out (but nothing beneath a folder that is left out, which
//! nobody walks into). Wildcards are those of [`super::glob`].
use super::glob::Glob;

/// Patterns that one list may have.
pub const MOST: usize = 256;

/// Patterns in the order they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excludes {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    glob: Glob,
    folders_only: bool,
    takes_back: bool,
}

impl Excludes {
    /// The error names the pattern and what is wrong with it.
    pub fn parse<T: AsRef<str>>(patterns: &[T]) -> Result<Excludes, String> {
        if patterns.len() > MOST {
            return Err(format!("more than {MOST} patterns"));
        }
        let rules = patterns.iter().map(|text| {
            let text = text.as_ref();
            Rule::parse(text).map_err(|why| format!("{text:?}: {why}"))
        });
        Ok(Excludes { rules: rules.collect::<Result<_, _>>()? })
    }

    /// `path`: relative to the top, names divided by single slashes.
    pub fn leave_out(&self, path: &str, is_folder: bool) -> bool {
        let fits = |rule: &&Rule| (is_folder || !rule.folders_only) && rule.glob.matches(path);
        self.rules.iter().rev().find(fits).is_some_and(|rule| !rule.takes_back)
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Rule, String> {
        let (takes_back, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let (folders_only, rest) = rest.strip_suffix('/').map_or((false, rest), |rest| (true, rest));
        let glob = match rest.strip_prefix('/') {
            Some(from_top) => Glob::parse(from_top)?,
            None if rest.contains('/') => Glob::parse(rest)?,
            None => Glob::parse(&format!("**/{rest}"))?,
        };
        Ok(Rule { glob, folders_only, takes_back })
    }
}

/// The patterns in a file: one a line, `#` begins a comment. Lines that are none are told and passed over.
pub fn lines(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut patterns, mut faults) = (Vec::new(), Vec::new());
    let written = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in written {
        match Rule::parse(line) {
            Ok(_) if patterns.len() < MOST / 2 => patterns.push(line.to_owned()),
            Ok(_) => faults.push(format!("{line:?}: more than {} patterns", MOST / 2)),
            Err(why) => faults.push(format!("{line:?}: {why}")),
        }
    }
    (patterns, faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn out(patterns: &[&str], path: &str, is_folder: bool) -> bool {
        Excludes::parse(patterns).unwrap().leave_out(path, is_folder)
    }

    #[test]
    fn patterns_mean_what_a_gitignore_would() {
        for (patterns, path, is_folder, left_out) in [
            (&["node_modules/"][..], "node_modules", true, true),
            (&["node_modules/"], "a/b/node_modules", true, true),
            (&["node_modules/"], "a/node_modules", false, false),
            (&["*.tmp"], "x.tmp", false, true),
            (&["*.tmp"], "a/b/x.tmp", false, true),
            (&["/build"], "build", true, true),
            (&["/build"], "a/build", true, false),
            (&["a/*.log"], "a/x.log", false, true),
            (&["a/*.log"], "b/a/x.log", false, false),
            (&["a/**"], "a/b/c", false, true),
            (&["**/cache/"], "x/cache", true, true),
            (&["*.log", "!keep.log"], "keep.log", false, false),
            (&["!keep.log", "*.log"], "keep.log", false, true),
            (&[], "anything", true, false),
        ] {
            assert_eq!(out(patterns, path, is_folder), left_out, "{patterns:?} {path}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named() {
        for bad in ["", "/", "!", "a/../b", "[ab]", "a//b"] {
            let why = Excludes::parse(&["fine", bad]).unwrap_err();
            assert!(why.starts_with(&format!("{bad:?}: ")), "{why}");
        }
        assert!(Excludes::parse(&vec!["x"; MOST + 1]).is_err());
    }

    #[test]
    fn a_file_of_patterns_is_read_line_by_line() {
        let (patterns, faults) = lines("# mine\n\n  data/raw/ \n*.bin\n[x]\n");
        assert_eq!(patterns, ["data/raw/", "*.bin"]);
        assert!(faults.len() == 1 && faults[0].starts_with("\"[x]\": "), "{faults:?}");
        let (patterns, faults) = lines(&"a\n".repeat(MOST));
        assert_eq!((patterns.len(), faults.len()), (MOST / 2, MOST / 2));
    }

    proptest! {
        /// Taking back last what was left out leaves nothing out, whatever the names.
        #[test]
        fn what_is_taken_back_last_is_kept(name in "[a-z]{1,4}(\\.[a-z]{1,2})?", above in prop::collection::vec("[a-z]{1,3}", 0..3)) {
            let path = above.iter().map(|a| format!("{a}/")).collect::<String>() + &name;
            prop_assert!(out(&[&name], &path, false));
            let back = format!("!{name}");
            prop_assert!(!out(&[&name, &back], &path, false));
            let from_top = format!("/{name}");
            prop_assert_eq!(out(&[&from_top], &path, false), above.is_empty() || path == name);
        }
    }
}
