//! What is written beside the code must be true: settings are used, dependencies are explained and used, commands exist.
use crate::{
    Fault,
    source::{Project, Source, words},
};
use std::collections::BTreeSet;

/// Code with its words and their positions.
type Words<'a> = (&'a str, Vec<(usize, &'a str)>);

const SETTINGS: &str = "src/model/settings.rs";

/// Every field of a settings section is read somewhere other than where settings are defined and loaded.
pub fn settings(project: &Project) -> Vec<Fault> {
    let Some(source) = project.sources.iter().find(|s| s.path == SETTINGS) else { return Vec::new() };
    let sections = fields(source, "Settings");
    let users =
        project.sources.iter().filter(|s| s.path.starts_with("src/") && s.path != SETTINGS && s.room() != "config");
    let code: Vec<Words> = users.map(|s| (s.production(), words(s.production()).collect())).collect();
    let mut faults = Vec::new();
    for (section, kind, line) in &sections {
        let inner = fields(source, kind);
        let leaves = if inner.is_empty() { vec![(section.clone(), String::new(), *line)] } else { inner };
        for (leaf, _, line) in leaves {
            let owner = if leaf == *section { ["settings", "Settings"] } else { [section.as_str(), kind.as_str()] };
            if !code.iter().any(|(code, names)| reads(code, names, &owner, &leaf)) {
                let what = if leaf == *section { leaf } else { format!("{section}.{leaf}") };
                faults.push(Fault::new("setting", source, line, format!("nothing reads {what}")));
            }
        }
    }
    faults
}

/// (name, type, line) of the public fields of a struct.
fn fields(source: &Source, name: &str) -> Vec<(String, String, usize)> {
    let code = source.production();
    let Some(start) = code.find(&format!("pub struct {name} {{")) else { return Vec::new() };
    let body = &code[start..start + code[start..].find("\n}").unwrap_or(0)];
    let field = |(i, line): (usize, &str)| {
        let (name, kind) = line.trim().strip_prefix("pub ")?.split_once(": ")?;
        Some((name.to_owned(), kind.trim_end_matches(',').to_owned(), source.line(start) + i))
    };
    body.lines().enumerate().skip(1).filter_map(field).collect()
}

/// Code that names the section (or its type) and has `.backoff`, or a pattern `Restart { backoff, .. }`.
fn reads(code: &str, names: &[(usize, &str)], owners: &[&str], leaf: &str) -> bool {
    let about = names.iter().any(|(_, w)| owners.contains(&w.trim_end_matches("_settings")));
    about && names.iter().any(|(at, w)| *w == leaf && (code[..*at].ends_with('.') || in_pattern(&code[..*at], owners)))
}

/// Is the innermost open brace before this point one of `Owner {`?
fn in_pattern(before: &str, owners: &[&str]) -> bool {
    let open = before.rfind('{').filter(|open| !before[*open..].contains('}'));
    let owner = open.and_then(|open| words(&before[..open]).last().map(|(_, w)| w));
    owner.is_some_and(|w| owners.contains(&w))
}

/// Names as written in code: `tokio_tungstenite`.
pub fn crate_names(project: &Project) -> Vec<String> {
    declared(project).into_iter().map(|name| name.replace('-', "_")).collect()
}

/// All that Cargo.toml depends on, also for tests alone.
fn declared(project: &Project) -> BTreeSet<String> {
    let manifest: toml::Table = project.cargo_toml.parse().expect("Cargo.toml is TOML");
    let tables = ["dependencies", "dev-dependencies"].into_iter().filter_map(|t| manifest.get(t)?.as_table());
    tables.flat_map(|t| t.keys().cloned()).collect()
}

/// Each dependency has its line in docs/adr/dependencies.md (a table row that begins with its name in backticks), each
/// line is about a dependency, and each dependency is named by some code.
pub fn dependencies(project: &Project) -> Vec<Fault> {
    let declared = declared(project);
    let rows = project.dependencies_md.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next());
    let explained: BTreeSet<String> = rows.map(str::to_owned).collect();
    let used: BTreeSet<&str> = project.sources.iter().flat_map(|s| words(&s.code)).map(|(_, w)| w).collect();
    let fault = |path: &str, rule, what: String| Fault { rule, path: path.into(), line: 0, what };
    let papers = "docs/adr/dependencies.md";
    let mut faults = Vec::new();
    faults.extend(declared.difference(&explained).map(|d| fault(papers, "dependency", format!("{d} has no line"))));
    faults
        .extend(explained.difference(&declared).map(|d| fault(papers, "dependency", format!("{d} is no dependency"))));
    let idle = declared.iter().filter(|d| !used.contains(d.replace('-', "_").as_str()));
    faults.extend(idle.map(|d| fault("Cargo.toml", "dependency", format!("nothing names {d}"))));
    faults
}

/// Every `make x` that a document tells people to type is a target of the Makefile.
pub fn commands(project: &Project) -> Vec<Fault> {
    let targets: BTreeSet<&str> = project.makefile.lines().filter_map(|l| l.split_once(':')).map(|(t, _)| t).collect();
    let mut faults = Vec::new();
    for (path, text) in &project.documents {
        for (i, line) in text.lines().enumerate() {
            for target in make_targets(line).filter(|t| !targets.contains(t)) {
                let what = format!("tells people to type 'make {target}', which the Makefile does not know");
                faults.push(Fault { rule: "command", path: path.clone(), line: i + 1, what });
            }
        }
    }
    faults
}

/// Every file or folder of tests is run by `make test`, which names each of them.
pub fn run_tests(project: &Project) -> Vec<Fault> {
    let target = |path: &str| {
        let place = path.strip_prefix("tests/")?.strip_suffix(".rs")?;
        let name = place.strip_suffix("/main").unwrap_or(place);
        (!name.contains('/')).then(|| name.to_owned())
    };
    let targets = project.sources.iter().filter_map(|source| Some((source, target(&source.path)?)));
    let is_run = |name: &str| {
        project.makefile.split("--test ").skip(1).any(|after| after.split([' ', '"']).next() == Some(name))
    };
    targets
        .filter(|(_, name)| !is_run(name))
        .map(|(source, name)| Fault::new("tests run", source, 0, format!("'make test' does not run --test {name}")))
        .collect()
}

/// Every test that the last column of a table with the head `test` or `proof` names is there: `policy::status::x` is
/// `fn x` in src/policy/status.rs or its tests, `it::x` in tests/it.
pub fn proofs(project: &Project) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in &project.documents {
        let mut in_table = false;
        for (i, line) in text.lines().enumerate() {
            let Some(cell) = line.strip_suffix('|').and_then(|l| l.rsplit('|').next()) else {
                in_table = false;
                continue;
            };
            in_table |= matches!(cell.trim(), "test" | "proof");
            let spans = cell.split('`').skip(1).step_by(2).filter(|s| in_table && s.contains("::"));
            for name in spans.filter(|name| !is_test(project, name)) {
                faults.push(Fault { rule: "proof", path: path.clone(), line: i + 1, what: format!("no test {name}") });
            }
        }
    }
    faults
}

fn is_test(project: &Project, name: &str) -> bool {
    let Some((place, name)) = name.rsplit_once("::") else { return false };
    let inside = |source: &&Source| {
        let parts = source.path.trim_end_matches(".rs").split('/');
        let module: Vec<&str> = parts.filter(|p| !matches!(*p, "src" | "tests" | "main" | "lib")).collect();
        format!("{}::", module.join("::")).starts_with(&format!("{place}::"))
    };
    let tests = |source: &Source| {
        let functions = source.functions(source.tests());
        functions.iter().any(|f| f.name == name && (f.whole.contains("#[test]") || f.whole.contains("#[tokio::test")))
    };
    project.sources.iter().filter(inside).any(tests)
}

/// Targets of `make x` in code: at the start of a line, after `$`, or in backticks.
fn make_targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("make ").filter_map(|(at, _)| {
        let before = line[..at].trim_end_matches("$ ").trim_end_matches("sudo ");
        let code = before.trim().is_empty() || before.ends_with('`');
        let target = line[at + 5..].split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next()?;
        (code && !target.is_empty()).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "pub struct Settings {\n    pub root: PathBuf,\n    pub hang: Hang,\n}\npub struct Hang {\n    pub after: Duration,\n    pub restart: bool,\n}\n";

    fn unread(user: &str) -> Vec<String> {
        let project = Project::of(&[
            (SETTINGS, MODEL),
            ("src/host/a.rs", user),
            ("src/config.rs", "hang.after; hang.restart; settings.root"),
        ]);
        settings(&project).into_iter().map(|f| f.what).collect()
    }

    #[test]
    fn a_setting_that_nobody_reads_is_found() {
        assert_eq!(unread("").len(), 3);
        assert_eq!(unread("fn f() { (settings.root, settings.hang.after) }"), ["nothing reads hang.restart"]);
        assert_eq!(unread("fn f() { let Hang { after, restart } = x; settings.root }"), [""; 0]);
        assert_eq!(unread("fn f() { after(restart, root, hang, settings) }").len(), 3);
        assert_eq!(unread("fn f(h: &Hang) { h.after; h.restart; }"), ["nothing reads root"]);
        assert_eq!(unread("fn f(x: X) { x.hang_settings.after; settings.root }"), ["nothing reads hang.restart"]);
    }

    #[test]
    fn dependencies_are_explained_and_used() {
        let mut project = Project::of(&[("src/a.rs", "use axum::Json; use proptest::x;")]);
        project.cargo_toml = "[dependencies]\naxum = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n".into();
        project.dependencies_md = "| `axum` | HTTP |\n| `proptest` | tests |\n".into();
        assert_eq!(dependencies(&project), []);
        project.dependencies_md = "| `axum` | HTTP |\n| `hyper` | why |\n".into();
        assert_eq!(dependencies(&project).len(), 2);
        project.cargo_toml += "hyper = \"1\"\n";
        assert_eq!(dependencies(&project).len(), 2); // proptest has no line, and nothing names hyper
    }

    #[test]
    fn documents_name_tests_that_exist() {
        let code = "#[cfg(test)] mod tests { #[test] fn it_holds() {} fn no_test() {} }";
        let mut project = Project::of(&[
            ("src/policy/a.rs", code),
            ("src/policy/b/tests/c.rs", "#[tokio::test(start_paused = true)]\nasync fn waits() {}"),
            ("tests/it/main.rs", "#[test]\nfn all() {}"),
        ]);
        let good = ["policy::a::it_holds", "policy::b::waits", "policy::b::c::waits", "policy::it_holds", "it::all"];
        let bad =
            ["policy::a::waits", "policy::a::no_test", "it::it_holds", "poli::it_holds", "src::policy::a::it_holds"];
        let row = |name: &str| format!("| P | says | `{name}`, `x.py` |\n");
        let table = good.into_iter().chain(bad).map(row).collect::<String>();
        let document =
            format!("| a | `no::test` |\n\n| # | promise | proof |\n|---|---|---|\n{table}\n| b | `no::test` |\n");
        project.documents = vec![("X.md".into(), document)];
        assert_eq!(proofs(&project).iter().map(|f| f.line).collect::<Vec<_>>(), [10, 11, 12, 13, 14]);
    }

    #[test]
    fn documents_name_commands_that_exist() {
        let mut project = Project::of(&[]);
        project.makefile = "demo: ## x\n".into();
        let document =
            "Type `make demo`, or\n\n    make fly\n$ make demo\nThis should make no difference; `make test`.\n";
        project.documents = vec![("README.md".into(), document.into())];
        assert_eq!(commands(&project).iter().map(|f| f.line).collect::<Vec<_>>(), [3, 5]);
    }

    #[test]
    fn every_kind_of_test_is_run() {
        let files = ["tests/it/main.rs", "tests/it/agent.rs", "tests/more.rs", "tests/house/main.rs", "src/main.rs"];
        let mut project = Project::of(&files.map(|path| (path, "fn main() {}")));
        project.makefile = "test:\n\tfor t in \"--test it -- --test-threads=4\" \"--test house\"; do\n".into();
        assert_eq!(run_tests(&project).iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["tests/more.rs"]);
    }
}
