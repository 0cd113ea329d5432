//! What the editor is started with, which processes are it, which ports no browser opens, and its config file.
use super::*;
use proptest::prelude::*;

const SHELF_AT: &str = "/opt/zlh/services/code-server";

fn place() -> Place {
    Place {
        install: format!("{SHELF_AT}/4.99.4").into(),
        workspace: "/home/dev/workspace".into(),
        env: BTreeMap::new(),
        user: Some("dev".into()),
    }
}

#[test]
fn it_is_launched_with_what_it_knows_and_nothing_else() {
    let spec = resolved(body(6001), place(), &Settings::default()).spec;
    let words = "/opt/zlh/services/code-server/4.99.4/bin/code-server --bind-addr 0.0.0.0:8080 --auth none \
                 --disable-telemetry --disable-update-check /home/dev/workspace";
    assert_eq!(spec.argv.join(" "), words);
    assert_eq!((spec.user.as_deref(), &spec.ports), (Some("dev"), &vec![8080]));
    assert_eq!(spec.ready.probe, ReadyProbe::Http { port: 8080, path: "/healthz".into() });
    assert_eq!(spec.cwd, Path::new("/home/dev/workspace"));
}

#[test]
fn the_path_of_absproxy_has_the_containers_number() {
    let mut settings = Settings::default();
    settings.codeserver.abs_proxy_base_path = Some("/__ide/{vmid}".into());
    settings.codeserver.bind = "::1".parse().unwrap();
    let argv = resolved(body(6001), place(), &settings).spec.argv.clone();
    let at = argv.iter().position(|word| word == "--abs-proxy-base-path").unwrap();
    assert_eq!(argv[at + 1], "/__ide/6001");
    assert!(argv.contains(&"[::1]:8080".to_owned()), "{argv:?}");
    assert!(!argv.iter().any(|word| word.contains("--base-path")));
}

#[test]
fn ports_that_browsers_block_are_refused_with_the_reason() {
    for port in [6000, 6566, 6665, 6669, 6697, 10080, 22, 5060] {
        let why = check_port(port, 18888).unwrap_err();
        assert!(why.contains("ERR_UNSAFE_PORT") && why.contains("codeserver.port"), "{why}");
    }
    assert!(check_port(18888, 18888).unwrap_err().contains("agent's own"));
    for port in [80, 443, 3000, 6001, 8080, 8443, 65535] {
        assert_eq!(check_port(port, 18888), Ok(()), "{port}");
    }
}

fn what(exe: Option<&str>, argv: &[&str]) -> Option<Role> {
    let line: Vec<u8> = argv.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    let shelf = Path::new(SHELF_AT);
    claims(&line, shelf).filter(|_| is_its_program(exe.map(Path::new), shelf))
}

#[test]
fn parent_and_listener_are_told_from_everything_that_has_the_word() {
    let r = "/opt/zlh/services/code-server/4.99.4";
    let node = format!("{r}/lib/node");
    let node = node.as_str();
    let entry = format!("{r}/out/node/entry");
    let fork = format!("{r}/lib/vscode/out/bootstrap-fork");
    let init = format!("{r}/lib/vscode/out/vs/workbench/contrib/terminal/shellIntegration-bash.sh");
    let old = "/opt/zlh/services/code-server";
    let rows: &[(Option<&str>, &[&str], Option<Role>)] = &[
        (Some(node), &[node, r, "--bind-addr", "0.0.0.0:8080"], Some(Role::Parent)),
        (Some(node), &[node, &entry], Some(Role::Listener)),
        (None, &[node, r, "--auth", "none"], Some(Role::Parent)),
        (Some("/opt/zlh/services/code-server/4.99.4/lib/node (deleted)"), &[node, r], Some(Role::Parent)),
        (
            Some(node),
            &["/opt/zlh/services/code-server/current/lib/node", "/opt/zlh/services/code-server/current"],
            Some(Role::Parent),
        ),
        (
            Some("/opt/zlh/services/code-server/lib/node"),
            &["/opt/zlh/services/code-server/lib/node", old],
            Some(Role::Parent),
        ),
        (Some(node), &[node, "--dns-result-order=ipv4first", &fork, "--type=extensionHost"], None),
        (Some(node), &[node, &fork, "--type=ptyHost"], None),
        (Some("/usr/bin/bash"), &["/usr/bin/bash", "--init-file", &init], None),
        (Some("/usr/bin/grep"), &["grep", "-r", r], None),
        (Some("/usr/bin/tar"), &["tar", "-xf", "code-server.tar.gz", "-C", r], None),
        (Some("/usr/bin/vim"), &["vim", &entry], None),
        (Some("/usr/bin/node"), &[node, r], None),
        (Some("/usr/bin/node"), &["/usr/bin/node", r], None),
        (Some("/home/dev/x/lib/node"), &["/home/dev/x/lib/node", "/home/dev/x"], None),
        (Some(node), &[node], None),
        (None, &[], None),
        (None, &["code-server"], None),
    ];
    for (exe, argv, role) in rows {
        assert_eq!(what(*exe, argv), *role, "{exe:?} {argv:?}");
    }
}

const FRESH: &str = "bind-addr: 127.0.0.1:8080\nauth: password\npassword: 0a1b\ncert: false\n";

#[test]
fn what_people_write_is_left_alone_as_long_as_it_works() {
    for text in [
        "",
        FRESH,
        "# mine\n\nproxy-domain: example.org\n",
        "proxy-domain:\n  - a.example\n  - b.example\n",
        "proxy-domain:\n- a.example\ncert: false\n",
        "trusted-origins: [\"a\", 'b']\npassword: \"x # y: z\"\n",
    ] {
        assert_eq!(judge(text), Judged::Sound, "{text}");
    }
}

#[test]
fn what_keeps_it_from_coming_up_is_taken_out() {
    for line in [
        "proxy-domain:",
        "proxy-domain: ",
        "proxy-domain: \"\"",
        "proxy-domain: []",
        "cert: true",
        "cert:",
        "socket: /x",
    ] {
        let text = format!("auth: none\n{line}\npassword: x\n");
        let Judged::Repaired { text, removed } = judge(&text) else { panic!("{line}: {:?}", judge(&text)) };
        assert_eq!((text.as_str(), removed), ("auth: none\npassword: x\n", vec![line.to_owned()]));
    }
}

#[test]
fn what_is_no_yaml_is_told_with_its_place() {
    for (text, place) in [
        ("auth: none\n}{ broken", "line 2"),
        ("\tauth: none", "line 1"),
        ("auth: \"none\n", "line 1"),
        ("auth none\n", "line 1"),
        ("  - x\n", "line 1"),
        ("a: [1\n", "line 1"),
        ("\u{0}\u{0}\u{0}", "line 1"),
    ] {
        let Judged::Broken(why) = judge(text) else { panic!("{text:?}: {:?}", judge(text)) };
        assert!(why.starts_with(place), "{text:?}: {why}");
    }
}

proptest! {
    /// What was repaired needs no second repair, and no text breaks the judge.
    #[test]
    fn a_repair_is_complete(text in "(proxy-domain: ?|cert: true|auth: none|socket: /x|# x|- y|  z|\n){0,12}") {
        if let Judged::Repaired { text, .. } = judge(&text) {
            prop_assert_eq!(judge(&text), Judged::Sound);
        }
    }

    /// Only argv of the one shape is the editor's.
    #[test]
    fn no_other_program_is_taken_for_it(program in "[a-z/]{1,20}", word in "[a-z/-]{0,20}") {
        prop_assert_eq!(what(None, &[&program, &word]), None);
    }
}
