//! What is refused, with the field that is named; what is let through; and that no JSON can make it panic.
use super::*;
use proptest::prelude::*;

fn refused_field(body: &Value) -> Option<String> {
    match accept(body) {
        Err(Refusal::Unusable { field, detail }) => {
            assert!(!field.is_empty() && !detail.is_empty(), "{body}");
            Some(field)
        }
        Err(other) => panic!("{body}: {other:?}"),
        Ok(_) => None,
    }
}

#[test]
fn a_bad_value_is_refused_and_its_field_named() {
    let long = "x".repeat(65);
    let wordy = "x".repeat(70_000);
    let many_ports: Vec<u32> = (1000..1017).collect();
    let rows = [
        (json!([]), "(body)"),
        (json!("text"), "(body)"),
        (json!(null), "(body)"),
        (json!({}), "vmid"),
        (minecraft(json!({"x": wordy})), "(body)"),
        (minecraft(json!({"vmid": 0})), "vmid"),
        (minecraft(json!({"vmid": 1_000_000_000})), "vmid"),
        (minecraft(json!({"vmid": -1})), "vmid"),
        (minecraft(json!({"vmid": 1.5})), "vmid"),
        (minecraft(json!({"vmid": "5072"})), "vmid"),
        (minecraft(json!({"game": null})), "game"),
        (minecraft(json!({"game": "quake"})), "game"),
        (minecraft(json!({"game": 7})), "game"),
        (minecraft(json!({"game": "../etc"})), "game"),
        (minecraft(json!({"variant": "bukkit"})), "variant"),
        (minecraft(json!({"variant": ["paper"]})), "variant"),
        (json!({"vmid": 1, "game": "minetest", "variant": "big"}), "variant"),
        (minecraft(json!({"version": "1.21.4/../.."})), "version"),
        (minecraft(json!({"version": long})), "version"),
        (minecraft(json!({"version": 1.21})), "version"),
        (minecraft(json!({"world": ".."})), "world"),
        (minecraft(json!({"world": "."})), "world"),
        (minecraft(json!({"world": "a..b"})), "world"),
        (minecraft(json!({"world": "wörld"})), "world"),
        (minecraft(json!({"world": "a b"})), "world"),
        (minecraft(json!({"world": "a\nb"})), "world"),
        (minecraft(json!({"ports": [0]})), "ports[0]"),
        (minecraft(json!({"ports": [25565, 65536]})), "ports[1]"),
        (minecraft(json!({"ports": [25565, 25565]})), "ports[1]"),
        (minecraft(json!({"ports": 25565})), "ports"),
        (minecraft(json!({"ports": ["25565"]})), "ports"),
        (minecraft(json!({"ports": many_ports})), "ports"),
        (minecraft(json!({"memory_mb": 63})), "memory_mb"),
        (minecraft(json!({"memory_mb": 1_048_577})), "memory_mb"),
        (minecraft(json!({"memory_mb": 1023})), "memory_mb"),
        (minecraft(json!({"memory_mb": "2G"})), "memory_mb"),
        (minecraft(json!({"artifact_path": "/etc/passwd"})), "artifact_path"),
        (minecraft(json!({"artifact_path": "a/../b"})), "artifact_path"),
        (minecraft(json!({"artifact_path": "http://x/y"})), "artifact_path"),
        (minecraft(json!({"java_path": "java/../../x"})), "java_path"),
        (minecraft(json!({"java_path": 21})), "java_path"),
        (minecraft(json!({"steam_pass": 5})), "steam_pass"),
        (minecraft(json!({"command": ["/bin/sh"]})), "command"),
        (minecraft(json!({"workdir": "x"})), "workdir"),
        (minecraft(json!({"container_type": "dev"})), "game"),
        (json!({"container_type": "dev", "vmid": 6001, "runtime": "node", "version": "22"}), "container_type"),
        (json!({"ctype": "dev", "vmid": 6001}), "ctype"),
        (json!({"containerType": "dev", "vmid": 6001}), "containerType"),
        (minecraft(json!({"container_type": "vm"})), "container_type"),
        (minecraft(json!({"container_type": "game", "ctype": "dev"})), "ctype"),
        (minecraft(json!({"runtime": "node"})), "runtime"),
        (minecraft(json!({"runtimeVersion": "22"})), "runtimeVersion"),
        (minecraft(json!({"enable_code_server": true})), "enable_code_server"),
        (minecraft(json!({"addons": ["codeserver"]})), "addons"),
        (custom(json!({"command": null})), "command"),
        (custom(json!({"command": []})), "command"),
        (custom(json!({"command": [""]})), "command"),
        (custom(json!({"command": "/bin/sh -c true"})), "command"),
        (custom(json!({"command": ["/bin/sh", 7]})), "command"),
        (custom(json!({"command": ["/bin/sh", "a\u{0}b"]})), "command[1]"),
        (custom(json!({"command": ["./run"]})), "command[0]"),
        (custom(json!({"command": vec!["x"; 257]})), "command"),
        (custom(json!({"workdir": "/abs"})), "workdir"),
        (custom(json!({"workdir": "a/../b"})), "workdir"),
        (custom(json!({"workdir": "a\\b"})), "workdir"),
        (custom(json!({"workdir": vec!["a"; 17].join("/")})), "workdir"),
        (custom(json!({"world": "w"})), "world"),
        (custom(json!({"variant": "v"})), "variant"),
        (custom(json!({"env": {"A-B": "x"}})), "env"),
        (custom(json!({"env": {"": "x"}})), "env"),
        (custom(json!({"env": {"1A": "x"}})), "env"),
        (custom(json!({"env": {"A=B": "x"}})), "env"),
        (custom(json!({"env": {"A": "x\u{0}"}})), "env.A"),
        (custom(json!({"env": {"A": 1}})), "env"),
        (custom(json!({"env": ["A=1"]})), "env"),
        (custom(json!({"user": "Game"})), "user"),
        (custom(json!({"user": "a b"})), "user"),
        (custom(json!({"user": "-rf"})), "user"),
        (custom(json!({"user": "u".repeat(33)})), "user"),
        (custom(json!({"stop": {}})), "stop"),
        (custom(json!({"stop": ["SIGTERM"]})), "stop[0]"),
        (custom(json!({"stop": [{"stdin": "quit"}]})), "stop[0]"),
        (custom(json!({"stop": [{"wait": "1s"}]})), "stop[0]"),
        (custom(json!({"stop": [{"stdin": "q", "signal": "SIGTERM", "wait": "1s"}]})), "stop[0]"),
        (custom(json!({"stop": [{"stdin": "a\nb", "wait": "1s"}]})), "stop[0].stdin"),
        (custom(json!({"stop": [{"stdin": "", "wait": "1s"}]})), "stop[0].stdin"),
        (custom(json!({"stop": [{"stdin": "q", "group": true, "wait": "1s"}]})), "stop[0].group"),
        (
            custom(json!({"stop": [{"signal": "SIGTERM", "wait": "1s"}, {"signal": "SIGKILL", "wait": "1s"}]})),
            "stop[1].signal",
        ),
        (custom(json!({"stop": [{"signal": "SIGSTOP", "wait": "1s"}]})), "stop[0].signal"),
        (custom(json!({"stop": [{"signal": "SIGTERM", "wait": "soon"}]})), "stop[0].wait"),
        (custom(json!({"stop": [{"signal": "SIGTERM", "wait": "2h"}]})), "stop[0].wait"),
        (custom(json!({"stop": vec![json!({"signal": "SIGTERM", "wait": "1s"}); 9]})), "stop"),
        (custom(json!({"ready": "tcp"})), "ready"),
        (custom(json!({"ready": {}})), "ready"),
        (custom(json!({"ready": {"kind": "magic"}})), "ready.kind"),
        (custom(json!({"ready": {"kind": "log"}})), "ready.pattern"),
        (custom(json!({"ready": {"kind": "log", "pattern": ""}})), "ready.pattern"),
        (custom(json!({"ready": {"kind": "log", "pattern": "("}})), "ready.pattern"),
        (custom(json!({"ready": {"kind": "log", "pattern": "(a{1000}){1000}"}})), "ready.pattern"),
        (custom(json!({"ports": [], "ready": {"kind": "tcp"}})), "ready.port"),
        (custom(json!({"ready": {"kind": "tcp", "port": 0}})), "ready.port"),
        (custom(json!({"ready": {"kind": "tcp", "port": 70000}})), "ready"),
        (custom(json!({"ready": {"kind": "tcp", "pattern": "x"}})), "ready.pattern"),
        (custom(json!({"ready": {"kind": "http", "path": "status"}})), "ready.path"),
        (custom(json!({"ready": {"kind": "udp", "send": "zz", "expect": "00"}})), "ready.send"),
        (custom(json!({"ready": {"kind": "udp", "send": "00"}})), "ready.expect"),
        (custom(json!({"ready": {"kind": "none", "within": "0s"}})), "ready.within"),
        (json!({"vmid": 1, "game": "teeworlds", "admin_pass": "a; shutdown"}), "admin_pass"),
        (json!({"vmid": 1, "game": "teeworlds", "admin_pass": "x".repeat(32)}), "admin_pass"),
        (json!({"vmid": 1, "game": "teeworlds", "ports": [65535]}), "ports"),
    ];
    for (body, field) in &rows {
        assert_eq!(refused_field(body).as_deref(), Some(*field), "{body}");
    }
}

#[test]
fn good_bodies_pass_also_those_of_old_clients() {
    let rows = [
        minecraft(json!({})),
        json!({"vmid": 1, "game": "minecraft"}),
        json!({"vmid": 999_999_999, "game": "minecraft", "world": "a.b_c-D9"}),
        minecraft(json!({"container_type": "game"})),
        minecraft(json!({"ctype": "game", "containerType": "game"})),
        // Clients that write every field of their type.
        minecraft(json!({"runtime": "", "enable_code_server": false, "addons": [], "steam_user": "", "user": null})),
        minecraft(json!({"ports": [], "artifact_path": "", "java_path": null, "command": null, "workdir": ""})),
        minecraft(
            json!({"artifact_path": "minecraft/paper/1.21.4/server.jar", "java_path": "java/21/OpenJDK21.tar.gz"}),
        ),
        minecraft(
            json!({"steam_user": "u", "steam_pass": "p", "steam_auth": "a", "admin_user": "x", "admin_pass": "y z"}),
        ),
        minecraft(json!({"memory_mb": 1024, "ports": [1, 65535]})),
        minecraft(json!({"ready": {"kind": "tcp", "port": 25566, "within": "90s"}, "stop": [], "env": {"A": ""}})),
        json!({"vmid": 1, "game": "minetest", "variant": "default"}),
        json!({"vmid": 1, "game": "teeworlds", "admin_pass": "s3cret"}),
        custom(json!({"workdir": "minetest", "env": {}, "user": "game", "memory_mb": 512,
            "command": ["/usr/games/minetestserver", "--port", "30000"],
            "stop": [{"stdin": "/shutdown", "wait": "20s"}, {"signal": "SIGTERM", "wait": "10s"}],
            "ready": {"kind": "log", "pattern": "listening on", "within": "60s"}})),
        custom(json!({"command": ["python3", "-u", "run.py"], "workdir": "./a/b/"})),
        custom(json!({"workdir": "."})),
        custom(json!({"stop": [{"signal": "term", "wait": "1s"}, {"signal": "2", "group": true, "wait": "0s"}]})),
        custom(json!({"ready": {"kind": "udp", "send": "FF00", "expect": "0a"}})),
        custom(json!({"ready": {"kind": "http", "path": "/health?x=1"}})),
    ];
    for body in &rows {
        assert_eq!(refused_field(body), None, "{body}");
    }
}

#[test]
fn a_body_without_vmid_takes_the_agents_own() {
    let settings = Settings { vmid: Some(77), ..Settings::default() };
    let body = json!({"game": "minecraft"});
    assert_eq!(read(&body, &games(), &settings).unwrap().vmid, 77);
    assert!(read(&body, &games(), &Settings::default()).is_err());
}

#[test]
fn unknown_fields_are_listed_but_not_without_end() {
    let mut body = custom(json!({"hostname": "x", "ready": {"kind": "none", "witin": "3s"}}));
    let games = games();
    let unknown = read(&body, &games, &Settings::default()).unwrap().unknown;
    assert_eq!(unknown, ["hostname", "ready.witin"]);
    for n in 0..1000 {
        body[format!("extra{n}")] = json!(1);
    }
    let warnings = accept(&body).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].message.len() < 1200 && warnings[0].message.contains("more"), "{}", warnings[0].message);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u64..70_000).prop_map(Value::from),
        "(?s).{0,30}".prop_map(Value::from),
        prop_oneof![Just("SIGTERM"), Just("10s"), Just("log"), Just("udp"), Just("game"), Just("/bin/sh")]
            .prop_map(Value::from),
    ];
    let key = prop_oneof![
        "[a-z_]{0,12}",
        prop::sample::select(vec![
            "stdin", "signal", "wait", "group", "kind", "port", "pattern", "path", "send", "expect", "within",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_json_makes_it_panic_and_a_refusal_names_a_field(any in any_json()) {
        refused_field(&any);
        echo(&any);
    }

    /// One field of a good body replaced by anything: either it passes, or that field is named.
    #[test]
    fn a_replaced_field_is_the_one_named(
        field in prop::sample::select(vec![
            "vmid", "game", "variant", "version", "world", "ports", "memory_mb", "artifact_path", "java_path", "command",
            "workdir", "env", "user", "stop", "ready", "steam_pass", "container_type", "ctype", "runtime", "addons",
        ]),
        any in any_json(),
        is_custom in any::<bool>(),
    ) {
        let patch = json!({field: any});
        let body = if is_custom { custom(patch) } else { minecraft(patch) };
        if let Some(named) = refused_field(&body) {
            // Another game makes other fields unfit, and "dev" contradicts the game.
            let related = field == "game" || named == "game";
            prop_assert!(related || named.starts_with(field), "{field}: refused {named} of {body}");
        }
    }
}
