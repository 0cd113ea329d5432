//! `examples/demo.sh`, as a script runs it and as a person does.
use crate::{
    it::support::{Sandbox, eventually_now},
    parts::part,
    play::PATIENCE,
};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// What it promises to show, in this order.
const STORY: [&str; 8] = [
    "One /config, and it is a game server",
    "● running",
    "mod_or_plugin_error",
    "plugins/crash.js",
    "Back by itself",
    "kill -9 of the agent",
    "has taken up the same server",
    "Now it is yours",
];

fn prepared(sandbox: &Sandbox, program: &str) -> Command {
    let mut demo = Command::new(program);
    demo.current_dir(env!("CARGO_MANIFEST_DIR")).env("ZLH", env!("CARGO_BIN_EXE_zlh"));
    demo.env("DEMO_ROOT", sandbox.root()).env("ZLH_REALPARTS", part("SQUID").parent().unwrap());
    let output = File::create(output(sandbox)).unwrap();
    demo.env("ZLH_TEST_ID", sandbox.marker()).stdout(output.try_clone().unwrap()).stderr(output);
    demo
}

fn output(sandbox: &Sandbox) -> std::path::PathBuf {
    Path::new(sandbox.marker()).join("demo.out")
}

fn check_story(text: &str) {
    let mut rest = text;
    for part in STORY {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not told, or too early:\n{text}"));
        rest = &rest[at..];
    }
}

#[test]
fn the_demo_tells_its_story_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    let mut demo = prepared(&sandbox, "examples/demo.sh").arg("--once").stdin(Stdio::null()).spawn().unwrap();
    let ended = eventually_now(2 * PATIENCE, || demo.try_wait().unwrap());
    let text = fs::read_to_string(output(&sandbox)).unwrap();
    assert!(ended.is_some_and(|e| e.success()), "{ended:?}\n{text}");
    check_story(&text);
    assert!(text.contains("stop done"), "{text}");
}

#[test]
fn at_a_terminal_the_demo_stays_until_ctrl_c() {
    let sandbox = Sandbox::new();
    // A shell cannot trap what was ignored when it began, as it is below a background job: then Ctrl-C would do nothing.
    let mut command = prepared(&sandbox, "env");
    command.args([
        "--default-signal=INT",
        "script",
        "--quiet",
        "--return",
        "--flush",
        "--command",
        "exec examples/demo.sh", // not below a shell of its own, which would die of the Ctrl-C itself
        "/dev/null",
    ]);
    let mut terminal = command.stdin(Stdio::piped()).spawn().unwrap();
    let told = || fs::read_to_string(output(&sandbox)).ok().filter(|text| text.contains("Ctrl-C stops"));
    let text = eventually_now(2 * PATIENCE, told);
    let text = text.unwrap_or_else(|| panic!("{:?}", fs::read_to_string(output(&sandbox))));
    check_story(&text);
    assert!(terminal.try_wait().unwrap().is_none(), "it waits");
    terminal.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let ended = eventually_now(PATIENCE, || terminal.try_wait().unwrap());
    assert!(ended.is_some_and(|e| e.success()), "{ended:?}\n{}", fs::read_to_string(output(&sandbox)).unwrap());
}
