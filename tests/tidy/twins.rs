//! Actors act, policy decides: an actor that looks at a phase needs its twin in policy, and handles every message by name.
use crate::{
    Fault,
    source::{Project, Source, words},
};

/// `actors/x.rs` with a decision on a phase or state, but neither `policy/x.rs` nor `policy/x/` exists.
pub fn twins(project: &Project) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in actors(project) {
        let stem = source.module().get(1).copied().unwrap_or_default();
        let twin = |s: &&Source| s.room() == "policy" && s.module().get(1) == Some(&stem);
        if let Some(line) = decision(source).filter(|_| !project.sources.iter().any(|s| twin(&s))) {
            faults.push(Fault::new(
                "twin",
                source,
                line,
                format!("decides on a phase, but src/policy/{stem}.rs is not there"),
            ));
        }
    }
    faults
}

/// `_ =>` in an actor's `handle`: a new message must not be swallowed.
pub fn wildcards(project: &Project) -> Vec<Fault> {
    let mut faults = Vec::new();
    for source in actors(project) {
        for function in source.functions(source.production()).iter().filter(|f| f.name == "handle") {
            let arms = function.text.lines().enumerate().filter(|(_, l)| l.trim_start().starts_with("_ =>"));
            faults.extend(
                arms.map(|(i, _)| Fault::new("wildcard", source, function.line + i, "handle has a wildcard arm")),
            );
        }
    }
    faults
}

fn actors(project: &Project) -> impl Iterator<Item = &Source> {
    project.sources.iter().filter(|s| s.path.starts_with("src/actors/"))
}

/// The first line of shipped code with a `match`, `if` or match arm on something called phase.
fn decision(source: &Source) -> Option<usize> {
    let decides = |line: &str| {
        let names: Vec<&str> = words(line).map(|(_, w)| w).collect();
        let about = |w: &&str| *w == "phase" || *w == "Phase";
        let deciding =
            names.contains(&"match") || names.contains(&"if") || names.contains(&"matches") || line.contains("=>");
        deciding && names.iter().any(about)
    };
    source.production().lines().position(decides).map(|i| i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECIDES: &str = "fn f(&self) { match self.phase { Phase::Up => stop(), Phase::Down => {} } }";

    #[test]
    fn a_deciding_actor_needs_its_twin() {
        assert_eq!(twins(&Project::of(&[("src/actors/a.rs", DECIDES)])).len(), 1);
        assert_eq!(twins(&Project::of(&[("src/actors/a/run.rs", "if run.phase == Phase::Up {}")])).len(), 1);
        for twin in ["src/policy/a.rs", "src/policy/a/table.rs"] {
            assert!(twins(&Project::of(&[("src/actors/a.rs", DECIDES), (twin, "")])).is_empty());
        }
        assert!(twins(&Project::of(&[("src/actors/a.rs", "publish(self.machine.phase());")])).is_empty());
    }

    #[test]
    fn handle_names_every_message() {
        let handle = "fn handle() {\n match m {\n  A => a(),\n  _ => {}\n }\n}";
        let faults = wildcards(&Project::of(&[("src/actors/a.rs", handle)]));
        assert_eq!(faults.iter().map(|f| f.line).collect::<Vec<_>>(), [4]);
        assert!(wildcards(&Project::of(&[("src/actors/a.rs", &handle.replace("handle", "perform"))])).is_empty());
    }
}
