//! Which Java or Node runs a game, and how much of the memory its heap gets.
use super::{unusable, warning};
use crate::model::{
    game::{ConfigBody, RuntimeRule},
    install::Wanted,
    machine::{Machine, Runtime},
    refusal::Refusal,
    settings::Settings,
    snapshot::Warning,
};
use std::cmp::Reverse;

/// Memory a JVM needs besides its heap: metaspace, threads, code cache, direct buffers.
const LEAST_BESIDES_HEAP_MB: u64 = 512;
const LEAST_HEAP_MB: u64 = 128;

/// Memory minus max(512 MiB, 20 %), so that the JVM meets its own limit before the kernel's.
pub fn heap_mb(memory_mb: u64) -> u64 {
    memory_mb.saturating_sub(LEAST_BESIDES_HEAP_MB.max(memory_mb / 5)).max(LEAST_HEAP_MB)
}

/// Path of the program to run. Where nothing suits, the path where the runtime belongs: the launch then says what is
/// missing, and an installation cures it.
pub fn program(
    rule: &RuntimeRule,
    body: &ConfigBody,
    machine: &Machine,
    settings: &Settings,
    warnings: &mut Vec<Warning>,
) -> String {
    if rule.name == "java"
        && let Some(path) = body.java_path.as_deref().filter(|path| path.starts_with('/'))
    {
        return path.to_owned();
    }
    let major = asked_major(rule, body).unwrap_or_else(|| major_for(rule, body.version.as_deref()));
    let Some(best) = best(&rule.name, major, &machine.runtimes) else {
        let (name, place) = (&rule.name, settings.root.join(format!("opt/zlh/runtimes/{}/{major}", rule.name)));
        let text = format!("no {name} {major} on this machine; it belongs to {}", place.display());
        warnings.push(warning("runtime_not_found", text));
        return place.join("bin").join(name).to_string_lossy().into_owned();
    };
    if let Some(found) = best.major.filter(|found| *found != major) {
        let text = format!("wants {} {major}, {} is {found}", rule.name, best.program.display());
        warnings.push(warning("runtime_major_differs", text));
    }
    best.program.to_string_lossy().into_owned()
}

/// What to install so that `program` finds it; `None` where it finds the right one already, or was told which to use.
pub fn wanted(rule: &RuntimeRule, body: &ConfigBody, machine: &Machine) -> Option<Wanted> {
    let path = body.java_path.clone().filter(|_| rule.name == "java");
    if path.as_deref().is_some_and(|path| path.starts_with('/')) {
        return None;
    }
    let major = asked_major(rule, body).unwrap_or_else(|| major_for(rule, body.version.as_deref()));
    if best(&rule.name, major, &machine.runtimes).is_some_and(|found| found.major == Some(major)) {
        return None;
    }
    Some(match rule.name.as_str() {
        "java" => Wanted::GameJava { major, path },
        id => Wanted::Runtime { id: id.to_owned(), version: major.to_string() },
    })
}

/// The right major version before any newer one, ours before the machine's. An older one is never tried: it cannot
/// read newer class files. One whose version nobody knows comes last.
fn best<'a>(name: &str, major: u32, runtimes: &'a [Runtime]) -> Option<&'a Runtime> {
    let usable = |r: &&Runtime| r.name == name && r.major.is_none_or(|found| found >= major);
    runtimes.iter().filter(usable).max_by_key(|r| (r.major.map(Reverse).is_some(), r.major.map(Reverse), r.ours))
}

/// `java/21/OpenJDK21.tar.gz` asks for 21.
fn asked_major(rule: &RuntimeRule, body: &ConfigBody) -> Option<u32> {
    let path = body.java_path.as_deref().filter(|_| rule.name == "java")?;
    path.split('/').find_map(|part| part.parse().ok())
}

fn major_for(rule: &RuntimeRule, version: Option<&str>) -> u32 {
    let fits = |from: &str| version.is_none_or(|v| numbers(v) >= numbers(from));
    rule.majors.iter().find(|row| fits(&row.from)).or(rule.majors.last()).map_or(0, |row| row.major)
}

/// `1.20.5-rc1` → [1, 20, 5].
fn numbers(version: &str) -> Vec<u32> {
    let release = version.split(['-', '+', '_']).next().unwrap_or_default();
    release.split('.').map_while(|part| part.parse().ok()).collect()
}

/// `java_path` is a program here (absolute) or a path on the artifact server.
pub fn check_java_path(path: &str) -> Result<(), Refusal> {
    let clean = !path.chars().any(char::is_control) && path.split('/').all(|part| part != "..") && path.len() <= 1024;
    let allowed = "an absolute path of a java program, or a path on the artifact server like java/21/OpenJDK21.tar.gz";
    if clean { Ok(()) } else { Err(unusable("java_path", format!("allowed: {allowed}, without .."))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::game::Games;

    #[test]
    fn the_heap_leaves_room_for_the_rest() {
        for (memory, heap) in [(1024, 512), (2048, 1536), (2560, 2048), (4096, 3277), (16384, 13108), (600, 128)] {
            assert_eq!(heap_mb(memory), heap, "{memory}");
        }
    }

    #[test]
    fn minecraft_versions_name_their_java() {
        let games = Games::embedded().unwrap();
        let rule = games.0["minecraft"].runtime.clone().unwrap();
        let rows = [
            ("1.21.4", 21),
            ("1.20.5", 21),
            ("1.20.4", 17),
            ("1.20.5-rc1", 21),
            ("1.8", 17),
            ("26.1", 25),
            ("x", 17),
            ("1.21", 21),
        ];
        for (version, major) in rows {
            assert_eq!(major_for(&rule, Some(version)), major, "{version}");
        }
        assert_eq!(major_for(&rule, None), 25, "no version: the newest");
    }

    #[test]
    fn the_best_runtime_is_right_then_newer_then_unknown_and_never_older() {
        let runtime = |major: Option<u32>, ours: bool| Runtime {
            name: "java".into(),
            major,
            program: format!("/{major:?}/{ours}").into(),
            ours,
        };
        let all = [
            runtime(Some(17), true),
            runtime(None, false),
            runtime(Some(25), true),
            runtime(Some(21), false),
            runtime(Some(21), true),
        ];
        assert_eq!(best("java", 21, &all), Some(&all[4]));
        assert_eq!(best("java", 20, &all), Some(&all[4]));
        assert_eq!(best("java", 22, &all), Some(&all[2]));
        assert_eq!(best("java", 26, &all), Some(&all[1]));
        assert_eq!(best("java", 26, &all[2..]), None);
        assert_eq!(best("node", 20, &all), None);
    }
}
