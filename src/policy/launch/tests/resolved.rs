//! What good bodies become.
use super::*;
use crate::model::workload::{Readiness, ReadyProbe, StopStep};
use std::{path::Path, time::Duration};

const S: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn minecraft_runs_java_directly_with_room_beside_the_heap() {
    let spec = accept(&minecraft(json!({}))).unwrap().spec;
    assert_eq!(
        spec.argv,
        [
            "/opt/zlh/runtimes/java/21/bin/java",
            "-Xmx1536M",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:ErrorFile=hs_err_%p.log",
            "-XX:-CreateCoredumpOnCrash",
            "-jar",
            "server.jar",
            "nogui",
        ]
    );
    assert_eq!(spec.cwd, Path::new("/opt/zlh/minecraft/paper/world"));
    assert_eq!((spec.memory_bytes, spec.dump_signal), (Some(2048 * MIB), Some(3)));
    assert_eq!(spec.signatures, ["common", "jvm", "minecraft", "paper"]);
    assert_eq!((spec.stop_commands, spec.requires), (vec!["stop".into(), "/stop".into()], vec!["server.jar".into()]));
    assert_eq!(spec.ready.probe, ReadyProbe::MinecraftPing { port: 25565 });
    assert_eq!(spec.stop[0], StopStep::Stdin { line: "stop".into(), wait: S(40) });
    assert_eq!(spec.user.as_deref(), Some("game"));
}

#[test]
fn forge_starts_by_the_newest_argument_file_and_keeps_the_last_word_on_the_heap() {
    let body = minecraft(json!({"variant": "forge", "version": "1.20.1"}));
    let glob = "libraries/net/minecraftforge/forge/*/unix_args.txt";
    let asked =
        questions(&read(&body, &games(), &Settings::default()).unwrap(), &games(), &Settings::default()).unwrap();
    assert_eq!((asked.globs.as_slice(), asked.runtime.as_deref()), ([glob.to_owned()].as_slice(), Some("java")));
    assert_eq!(asked.server_root, Path::new("/opt/zlh/minecraft/forge/world"));
    let found = ["47.2.0", "47.10.0"].map(|v| format!("libraries/net/minecraftforge/forge/1.20.1-{v}/unix_args.txt"));
    let there = Machine { files: [(glob.to_owned(), found.to_vec())].into(), ..machine() };
    let spec = accept_on(&body, &there, &Settings::default()).unwrap().spec;
    assert_eq!(spec.argv[0], "/opt/zlh/runtimes/java/17/bin/java");
    assert_eq!(spec.argv[5..], ["@user_jvm_args.txt", "-Xmx1536M", &format!("@{}", found[1]), "nogui"]);
    let absent = accept(&body).unwrap().spec;
    assert_eq!(absent.requires, ["user_jvm_args.txt", glob], "not installed: the pattern itself is what is missing");
}

#[test]
fn the_first_start_file_that_is_there_is_used() {
    let body = minecraft(json!({"variant": "fabric"}));
    let have = |files: &[&str]| {
        let files = files.iter().map(|f| ((*f).to_owned(), vec![(*f).to_owned()])).collect();
        accept_on(&body, &Machine { files, ..machine() }, &Settings::default()).unwrap().spec
    };
    assert_eq!(have(&["server.jar"]).argv[6], "server.jar");
    assert_eq!(have(&["server.jar", "fabric-server-launch.jar"]).argv[6], "fabric-server-launch.jar");
    assert_eq!(have(&[]).requires, ["fabric-server.jar"], "the name it is installed under");
    assert_eq!(have(&[]).signatures, ["common", "jvm", "minecraft", "fabric", "mixin"]);
}

#[test]
fn java_comes_from_the_body_the_version_or_what_there_is() {
    let java = |patch: Value| {
        let resolved = accept(&minecraft(patch)).unwrap();
        (resolved.spec.argv[0].clone(), codes(&resolved).join(","))
    };
    let ours = |major: u32| format!("/opt/zlh/runtimes/java/{major}/bin/java");
    let rows = [
        (json!({"version": "1.20.4"}), ours(17), ""),
        (json!({"java_path": "java/17/OpenJDK17.tar.gz"}), ours(17), ""),
        (json!({"java_path": "/usr/bin/java"}), "/usr/bin/java".into(), ""),
        (json!({"java_path": "java/16/x.tar.gz"}), ours(17), "runtime_major_differs"),
        (json!({"version": "26.1"}), ours(25), "runtime_not_found"),
    ];
    for (patch, program, warnings) in rows {
        assert_eq!(java(patch.clone()), (program, warnings.to_owned()), "{patch}");
    }
}

#[test]
fn memory_is_never_more_than_the_container_has() {
    let limited = |mb: u64, patch: Value| {
        let machine = Machine { memory_limit_bytes: Some(mb * MIB), ..machine() };
        let resolved = accept_on(&minecraft(patch), &machine, &Settings::default()).unwrap();
        (resolved.spec.argv[1].clone(), codes(&resolved).join(","))
    };
    assert_eq!(limited(8192, json!({"memory_mb": 4096})), ("-Xmx3277M".into(), String::new()));
    assert_eq!(limited(2048, json!({"memory_mb": 4096})), ("-Xmx1536M".into(), "memory_exceeds_limit".into()));
    assert_eq!(limited(1536, json!({"memory_mb": null})), ("-Xmx1024M".into(), String::new()));
}

#[test]
fn a_custom_program_gets_exactly_what_the_body_says() {
    let body = custom(json!({
        "command": ["minetestserver", "--port", "{port}"], "workdir": "mine/test", "user": "steve", "memory_mb": 512,
        "env": {"TERM": "dumb", "MOTD": "hi {world}"}, "ports": [30000, 30001],
        "stop": [{"stdin": "/shutdown", "wait": "20s"}, {"signal": "SIGINT", "group": true, "wait": "10s"}],
        "ready": {"kind": "log", "pattern": "listening on", "within": "60s"}
    }));
    let settings = Settings { root: "/srv".into(), ..Settings::default() };
    let spec = accept_on(&body, &machine(), &settings).unwrap().spec;
    assert_eq!(spec.argv, ["minetestserver", "--port", "{port}"], "a body's own texts are no templates");
    assert_eq!(spec.cwd, Path::new("/srv/opt/zlh/custom/mine/test"));
    let env = |name: &str| spec.env.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!((env("TERM"), env("MOTD"), env("HOME")), ("dumb", "hi {world}", "/srv/opt/zlh/custom/mine/test"));
    assert_eq!((env("USER"), env("LOGNAME"), env("LANG"), env("TZ")), ("steve", "steve", "C.UTF-8", "Europe/Berlin"));
    assert!(env("PATH").contains("/usr/games") && env("SHELL") == "/bin/sh");
    assert_eq!(
        spec.stop,
        [StopStep::Stdin { line: "/shutdown".into(), wait: S(20) }, StopStep::GroupSignal { signal: 2, wait: S(10) },]
    );
    let probe = ReadyProbe::Log { pattern: "listening on".into() };
    assert_eq!(spec.ready, Readiness { probe, within: S(60) });
    assert_eq!((spec.ports, spec.memory_bytes), (vec![30000, 30001], Some(512 * MIB)));
    assert_eq!((spec.stop_commands, spec.requires), (vec!["/shutdown".into()], vec![]));
}

#[test]
fn without_a_word_a_custom_program_has_a_folder_a_ladder_and_no_probe() {
    let spec = accept(&custom(json!({}))).unwrap().spec;
    assert_eq!(spec.cwd, Path::new("/opt/zlh/custom/default"));
    assert_eq!(spec.stop.first(), Some(&StopStep::Signal { signal: 15, wait: S(30) }));
    assert_eq!(spec.ready, Readiness { probe: ReadyProbe::None, within: Settings::default().ready.within });
}

#[test]
fn econ_gets_a_port_and_a_password() {
    let body = |patch| with(json!({"vmid": 1, "game": "teeworlds", "ports": [8303]}), patch);
    let spec = accept(&body(json!({}))).unwrap().spec;
    let password = machine().secret;
    assert_eq!(spec.console, ConsoleInput::Econ { port: 8304, password: password.clone() });
    assert!(spec.argv.contains(&format!("ec_password {password}")) && spec.argv.contains(&"ec_port 8304".into()));
    assert_eq!(spec.ports, [8303, 8304]);
    let spec = accept(&body(json!({"ports": [8303, 9000], "admin_pass": "given"}))).unwrap().spec;
    assert_eq!(spec.console, ConsoleInput::Econ { port: 9000, password: "given".into() });
    assert_eq!(spec.ports, [8303, 9000]);
}

#[test]
fn the_account_is_the_bodys_the_settings_or_our_own() {
    let user = |machine: &Machine, patch: Value| accept_on(&custom(patch), machine, &Settings::default());
    let plain = Machine { is_root: false, account: "me".into(), ..machine() };
    assert_eq!(user(&machine(), json!({})).unwrap().spec.user.as_deref(), Some("game"));
    assert_eq!(codes(&user(&machine(), json!({"user": "root"})).unwrap()), ["runs_as_root"]);
    assert_eq!(user(&plain, json!({})).unwrap().spec.user, None);
    assert_eq!(user(&plain, json!({"user": "me"})).unwrap().spec.env["USER"], "me");
    assert!(matches!(user(&plain, json!({"user": "other"})), Err(Refusal::Unusable { field, .. }) if field == "user"));
}

#[test]
fn a_ladder_longer_than_the_grace_is_warned_about() {
    let stop = json!({"stop": [{"stdin": "q", "wait": "50s"}, {"signal": "SIGTERM", "wait": "11s"}]});
    let resolved = accept(&custom(stop)).unwrap();
    assert_eq!(codes(&resolved), ["stop_budget_exceeds_grace"]);
    assert!(resolved.warnings[0].message.contains("1m 1s"), "{:?}", resolved.warnings);
}

#[test]
fn another_vmid_than_the_agents_is_warned_about() {
    let settings = Settings { vmid: Some(1), ..Settings::default() };
    assert_eq!(codes(&accept_on(&custom(json!({})), &machine(), &settings).unwrap()), ["vmid_mismatch"]);
}
