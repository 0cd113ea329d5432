//! The shape of files: first line, sizes, words that have no place, sleeping tests, no mod.rs.
use crate::{
    Fault,
    source::{Project, Source, words},
};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 60;

pub fn first_line(project: &Project) -> Vec<Fault> {
    let silent = project.sources.iter().filter(|s| !s.text.starts_with("//! "));
    silent.map(|s| Fault::new("first-line", s, 1, "does not begin with a //! line that says what it is")).collect()
}

/// Lines of code that ships (all of an example), and of each function.
pub fn sizes(project: &Project) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in &project.sources {
        let in_tests = source.path.starts_with("tests/");
        let shipped = if in_tests { source.tests() } else { source.production() };
        let lines = source.text[..shipped.len()].trim_end().lines().count();
        if lines > FILE_LINES && !in_tests {
            faults.push(Fault::new("size", source, 0, format!("{lines} lines; at most {FILE_LINES}")));
        }
        for function in source.functions(shipped) {
            let lines = function.text.lines().count();
            if lines > FUNCTION_LINES {
                let what = format!("fn {} has {lines} lines; at most {FUNCTION_LINES}", function.name);
                faults.push(Fault::new("size", source, function.line, what));
            }
        }
    }
    faults
}

/// Unfinished work, panics in waiting, and names that say nothing.
pub fn phrases(project: &Project) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in &project.sources {
        for word in ["todo!", "unimplemented!", "#[ignore"] {
            let hits = source.code.match_indices(word);
            faults.extend(hits.map(|(at, w)| Fault::new("words", source, source.line(at), w)));
        }
        if !source.path.starts_with("src/") {
            continue;
        }
        for word in [".unwrap()", ".expect("] {
            let hits = source.production().match_indices(word);
            faults.extend(hits.map(|(at, w)| Fault::new("words", source, source.line(at), w)));
        }
        faults.extend(
            vague_names(source).map(|(at, name)| Fault::new("words", source, source.line(at), format!("named {name}"))),
        );
    }
    faults
}

fn vague_names(source: &Source) -> impl Iterator<Item = (usize, &str)> {
    let mut before = "";
    words(source.production()).filter(move |(_, word)| {
        let defines = std::mem::replace(&mut before, word);
        match defines {
            "struct" | "enum" | "trait" | "type" => word.ends_with("Manager") || word.ends_with("Helper"),
            "mod" => matches!(*word, "utils" | "util" | "helpers" | "helper" | "common" | "misc"),
            "fn" => word.starts_with("get_"),
            _ => false,
        }
    })
}

/// Tests wait by polling with a deadline. A paused clock may be slept on: that is only arithmetic.
pub fn sleeps(project: &Project) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in &project.sources {
        let functions = source.functions(source.tests());
        let asleep = functions.iter().filter(|f| !f.whole.contains("start_paused"));
        let asleep = asleep.filter(|f| words(f.text).any(|(_, w)| matches!(w, "sleep" | "sleep_until")));
        faults.extend(asleep.map(|f| Fault::new("sleep", source, f.line, format!("fn {} sleeps", f.name))));
    }
    faults
}

pub fn module_files(project: &Project) -> Vec<Fault> {
    let old = project.sources.iter().filter(|s| s.path.ends_with("/mod.rs"));
    old.map(|s| Fault::new("mod-rs", s, 0, "modules are x.rs and x/, not x/mod.rs")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rule: crate::Rule, path: &str, text: &str) -> usize {
        rule(&Project::of(&[(path, text)])).len()
    }

    #[test]
    fn a_file_says_what_it_is() {
        assert_eq!(faults(first_line, "src/a.rs", "use std::fs;\n"), 1);
        assert_eq!(faults(first_line, "tests/it/a.rs", "// no doc\n"), 1);
        assert_eq!(faults(first_line, "src/a.rs", "//! A file.\n"), 0);
    }

    #[test]
    fn files_and_functions_stay_short() {
        let long = |n: usize| format!("fn f() {{\n{}}}\n", "x();\n".repeat(n - 2));
        assert_eq!(faults(sizes, "src/a.rs", &long(60)), 0);
        assert_eq!(faults(sizes, "src/a.rs", &long(61)), 1);
        assert_eq!(faults(sizes, "tests/it/a.rs", &long(61)), 1);
        let file = |n: usize| "//! A file.\n".repeat(n);
        assert_eq!(faults(sizes, "src/a.rs", &file(400)), 0);
        assert_eq!(faults(sizes, "src/a.rs", &file(401)), 1);
        assert_eq!(
            faults(sizes, "src/a.rs", &format!("{}#[cfg(test)]\nmod tests {{\n{}}}", file(300), "\n".repeat(300))),
            0
        );
    }

    #[test]
    fn unfinished_work_and_panics_are_found() {
        for bad in [
            "todo!()",
            "unimplemented!()",
            "x.unwrap()",
            "x.expect(y)",
            "struct RunManager;",
            "mod utils;",
            "fn get_x() {}",
        ] {
            assert_eq!(faults(phrases, "src/a.rs", bad), 1, "{bad}");
        }
        for good in
            ["x.unwrap_or(y)", "// todo!()", "fn budget_left() {}", "#[cfg(test)]\nmod tests { fn f() { x.unwrap() } }"]
        {
            assert_eq!(faults(phrases, "src/a.rs", good), 0, "{good}");
        }
        assert_eq!(faults(phrases, "tests/it/a.rs", "#[test]\n#[ignore = x]\nfn f() { x.unwrap() }"), 1);
    }

    #[test]
    fn tests_do_not_sleep() {
        let test = "#[cfg(test)]\nmod tests {\n#[tokio::test]\nasync fn f() { tokio::time::sleep(d).await }\n}";
        assert_eq!(faults(sleeps, "src/a.rs", test), 1);
        assert_eq!(faults(sleeps, "src/a.rs", &test.replace("::test]", "::test(start_paused = true)]")), 0);
        assert_eq!(faults(sleeps, "src/a.rs", "async fn f() { tokio::time::sleep(d).await }"), 0);
        assert_eq!(faults(sleeps, "tests/it/a.rs", "fn f() { thread::sleep(d) }"), 1);
    }

    #[test]
    fn there_is_no_mod_rs() {
        assert_eq!(faults(module_files, "src/a/mod.rs", ""), 1);
        assert_eq!(faults(module_files, "src/a.rs", ""), 0);
    }
}
