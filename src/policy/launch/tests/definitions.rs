//! Every definition of `catalog/games/`: what it lacks, and whether all its texts mean something.
use super::*;
use crate::{
    model::{exclude::Excludes, glob::Glob, workload::StopStep},
    policy::crash::is_signature_set,
};
use std::{collections::BTreeSet, time::Duration};

const VARIABLES: [&str; 12] = [
    "root",
    "world",
    "variant",
    "version",
    "entry",
    "port",
    "memory_mb",
    "heap_mb",
    "econ_port",
    "econ_password",
    "java",
    "node",
];
const RUNTIMES: [&str; 2] = ["java", "node"];

/// Everything wrong with one definition, as sentences.
fn faults(game: &GameDefinition) -> Vec<String> {
    let mut out = Vec::new();
    let mut lacks = |missing: bool, what: &str| {
        if missing {
            out.push(format!("{}: {what}", game.id));
        }
    };
    let is_custom = game.launch.argv.is_empty();
    lacks(game.title.is_empty(), "no title");
    lacks(!is_custom && game.ports.is_empty(), "no default port");
    lacks(!is_custom && game.memory.is_none(), "no memory rule");
    lacks(game.stop.is_empty(), "no stop ladder");
    lacks(game.files.delete.is_empty(), "no files that may be deleted");
    lacks(game.backup.is_none(), "no rule for backups");
    lacks(game.signatures.first().is_none_or(|set| set != "common"), "signatures do not begin with common");
    lacks(game.variants.is_empty() != game.default_variant.is_none(), "variants and default_variant go together");
    lacks(
        game.default_variant.as_ref().is_some_and(|v| !game.variants.contains_key(v)),
        "default_variant is no variant",
    );
    let java = game.runtime.as_ref().is_some_and(|r| r.name == "java");
    lacks(java != (game.dump_signal == Some(3)), "dump_signal 3 belongs to Java");
    lacks(
        game.runtime.as_ref().is_some_and(|r| !RUNTIMES.contains(&r.name.as_str()) || r.majors.is_empty()),
        "odd runtime",
    );
    lacks(java && !texts(game).contains("-XX:+ExitOnOutOfMemoryError"), "a JVM that outlives its heap");
    let budget: Duration = ladder::resolve(&game.stop).unwrap_or_default().iter().map(StopStep::wait).sum();
    lacks(budget > Settings::default().stop.grace, "stop ladder longer than stop.grace");
    for name in variables_of(&texts(game)) {
        lacks(!VARIABLES.contains(&name.as_str()), &format!("unknown variable {{{name}}}"));
        let runtime = game.runtime.as_ref().map(|r| r.name.as_str());
        lacks(
            RUNTIMES.contains(&name.as_str()) && runtime != Some(name.as_str()),
            &format!("{{{name}}} without runtime"),
        );
    }
    for pattern in patterns(game) {
        lacks(Glob::parse(&pattern).is_err(), &format!("bad pattern {pattern:?}"));
    }
    for set in game.signatures.iter().chain(game.variants.values().flat_map(|v| &v.signatures)) {
        lacks(!is_signature_set(set), &format!("unknown signature set {set:?}"));
    }
    out.extend(backup_faults(game));
    out.extend(launch_faults(game));
    out
}

fn backup_faults(game: &GameDefinition) -> Vec<String> {
    let Some(rule) = &game.backup else { return Vec::new() };
    let mut out: Vec<String> = Excludes::parse(&rule.exclude).err().into_iter().collect();
    let Some(hold) = &rule.hold else { return out };
    if regex::Regex::new(&hold.held).is_err() || hold.held.is_empty() {
        out.push(format!("bad pattern {:?}", hold.held));
    }
    let lines = hold.commands.iter().chain(&hold.release);
    if hold.commands.is_empty() || hold.release.is_empty() || lines.clone().any(|l| l.is_empty() || l.contains('\n')) {
        out.push("holding writes needs lines, and lines that take it back".into());
    }
    // Our own lines are echoed: they must not be taken for the answer.
    let answers = |line: &&String| regex::Regex::new(&hold.held).is_ok_and(|held| held.is_match(line));
    out.extend(lines.filter(answers).map(|line| format!("{line:?} answers itself")));
    out.into_iter().map(|what| format!("{}: {what}", game.id)).collect()
}

/// Does each variant resolve to a whole command line, once its files are there?
fn launch_faults(game: &GameDefinition) -> Vec<String> {
    let games = Games([(game.id.clone(), game.clone())].into());
    let settings = Settings::default();
    let entries = game.launch.entry.iter().chain(game.variants.values().flat_map(|v| &v.entry));
    let machine = Machine { files: entries.map(|e| (e.clone(), vec!["found".into()])).collect(), ..machine() };
    let names = if game.variants.is_empty() { vec![None] } else { game.variants.keys().map(Some).collect() };
    let mut out = Vec::new();
    for name in names {
        let mut body = json!({"vmid": 1, "game": game.id, "variant": name, "version": "1.21"});
        if game.launch.argv.is_empty() {
            body["command"] = json!(["true"]);
        }
        match read(&body, &games, &settings).and_then(|body| resolve(&body, &games, &machine, &settings)) {
            Err(refusal) => out.push(format!("{} {name:?}: {refusal:?}", game.id)),
            Ok(done) if done.spec.argv.iter().any(|text| text.contains(['{', '}', '\0'])) => {
                out.push(format!("{} {name:?}: {:?}", game.id, done.spec.argv));
            }
            Ok(_) => {}
        }
    }
    out
}

fn texts(game: &GameDefinition) -> String {
    let variants = game.variants.values().flat_map(|v| &v.arguments);
    game.launch.argv.iter().chain(game.launch.env.values()).chain(variants).cloned().collect::<Vec<_>>().join("\n")
}

fn variables_of(text: &str) -> BTreeSet<String> {
    text.split('{').skip(1).map(|tail| tail.split('}').next().unwrap_or_default().to_owned()).collect()
}

fn patterns(game: &GameDefinition) -> Vec<String> {
    let files = &game.files;
    let own = [&files.write, &files.delete, &game.watched_files, &game.launch.entry, &game.launch.requires];
    let of_variants = game.variants.values().flat_map(|v| [&v.entry, &v.requires, &v.watched_files]);
    let uploads = files.upload.iter().map(|rule| rule.glob.clone());
    own.into_iter().chain(of_variants).flatten().cloned().chain(uploads).collect()
}

#[test]
fn no_definition_lacks_anything() {
    let all: Vec<String> = games().0.values().flat_map(faults).collect();
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// A catalog for this very game that nobody asks would be worth nothing.
#[test]
fn a_game_with_signatures_of_its_own_uses_them() {
    for (id, game) in games().0 {
        let own = id.replace('-', "_");
        assert!(!is_signature_set(&own) || game.signatures.contains(&own), "{id} does not name {own:?}");
    }
}

#[test]
fn the_check_finds_faults() {
    let text = "id = \"x\"\ntitle = \"\"\nsignatures = [\"nope\"]\nstop = []\nwatched_files = [\"/abs\"]\n\
                [launch]\nargv = [\"{java}\", \"{oops}\"]\n[ready]\nkind = \"tcp\"\n\
                [backup]\nexclude = [\"a//b\"]\n[backup.hold]\ncommands = [\"save\"]\nheld = \"sa\"\nrelease = []\n";
    let game = Games::parse([("x", text)]).unwrap().0.remove("x").unwrap();
    let all = faults(&game).join("\n");
    for expected in [
        "no title",
        "no default port",
        "no stop ladder",
        "{oops}",
        "{java} without",
        "nope",
        "/abs",
        "None:",
        "a//b",
        "answers itself",
        "take it back",
    ] {
        assert!(all.contains(expected), "{expected} in\n{all}");
    }
}

/// What a player would miss is in a backup of a Minecraft server, what the artifact server brings again is not.
#[test]
fn a_backup_of_minecraft_holds_what_players_would_miss() {
    let rule = games().0["minecraft"].backup.clone().unwrap();
    let excludes = Excludes::parse(&rule.exclude).unwrap();
    for path in [
        "world/level.dat",
        "world_nether/DIM-1/region/r.0.0.mca",
        "server.properties",
        "ops.json",
        "mods/a.jar",
        "plugins/b.jar",
        "plugins/B/config.yml",
    ] {
        assert!(!excludes.leave_out(path, false), "{path}");
    }
    for (path, is_folder) in [("server.jar", false), ("libraries", true), ("logs", true), ("world/session.lock", false)]
    {
        assert!(excludes.leave_out(path, is_folder), "{path}");
    }
    let hold = rule.hold.unwrap();
    assert_eq!(
        (hold.commands, hold.release),
        (vec!["save-off".to_owned(), "save-all flush".into()], vec!["save-on".to_owned()])
    );
    for said in ["[12:00:00] [Server thread/INFO]: Saved the game", "Saved the world"] {
        assert!(regex::Regex::new(&hold.held).unwrap().is_match(said));
    }
}

#[test]
fn the_promised_file_rules_are_there() {
    let minecraft = &games().0["minecraft"].files;
    let allows = |patterns: &[String], path: &str| patterns.iter().any(|p| Glob::parse(p).unwrap().matches(path));
    for path in ["server.properties", "config/a.toml", "config/x/y.yaml"] {
        assert!(allows(&minecraft.write, path), "{path}");
    }
    for path in ["mods-removed/a.jar", "mods-uploaded/b", "logs/latest.log", "logs/2026-01-01-1.log.gz"] {
        assert!(allows(&minecraft.delete, path), "{path}");
    }
    for path in ["server.jar", "config/run.sh", "world/level.dat", "mods/a.jar"] {
        assert!(!allows(&minecraft.write, path) && !allows(&minecraft.delete, path), "{path}");
    }
    let uploads: Vec<(&str, u64)> = minecraft.upload.iter().map(|rule| (rule.glob.as_str(), rule.max_mb)).collect();
    assert_eq!(uploads, [("mods/*.jar", 250), ("world/datapacks/*.zip", 100)]);
}
