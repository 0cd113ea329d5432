//! Verdicts by table: one finished run each.
use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const EVERY: [&str; 1] = ["all"];
const PAPER: [&str; 3] = ["jvm", "minecraft", "paper"];

fn names(sets: &[&str]) -> Vec<String> {
    sets.iter().map(|s| s.to_string()).collect()
}

fn judge(status: ExitStatus, sets: &[&str], log: &str) -> Verdict {
    classify(&Evidence::of(status, &log_tail(log.as_bytes(), true, TAIL_LINES), &names(sets)))
}

fn signal(signal: i32) -> ExitStatus {
    ExitStatus::Signal { signal, core_dumped: false }
}

#[test]
fn every_sample_alone_leads_to_its_own_code() {
    let (sets, _) = catalog::load(&names(&EVERY));
    for rule in sets.into_iter().flat_map(|s| s.rules).filter(|r| r.strength != catalog::Strength::Never) {
        let code = rule.gate.first().copied().unwrap_or(1);
        let verdict = judge(ExitStatus::Code(code), &EVERY, &rule.sample);
        assert_eq!(verdict.code, rule.code, "{} lost against {}", rule.id, verdict.rule);
        assert!(!verdict.hint.contains(['{', '|']), "{}: {}", rule.id, verdict.hint);
    }
}

#[test]
fn the_status_decides_where_nothing_else_speaks() {
    use Classification::*;
    for (status, class, code) in [
        (ExitStatus::Code(0), UnexpectedExit, "exit.zero"),
        (ExitStatus::Code(1), NonzeroExit, "exit.nonzero"),
        (ExitStatus::Code(127), NonzeroExit, "exit.nonzero"),
        (ExitStatus::Code(255), NonzeroExit, "exit.nonzero"),
        (ExitStatus::Code(137), UnexpectedExit, "signal.killed"),
        (ExitStatus::Code(143), UnexpectedExit, "signal.external"),
        (ExitStatus::Code(134), UnexpectedExit, "native.signal"),
        (signal(9), UnexpectedExit, "signal.killed"),
        (signal(11), UnexpectedExit, "native.signal"),
        (signal(15), UnexpectedExit, "signal.external"),
        (ExitStatus::Unknown, UnexpectedExit, "exit.unknown"),
    ] {
        let verdict = judge(status, &PAPER, "[12:00:00 INFO]: nothing special\n");
        assert_eq!((verdict.classification, verdict.code.as_str()), (class, code), "{status}");
        assert!(verdict.confidence == Confidence::Weak && verdict.evidence.is_empty() && verdict.rule.is_empty());
    }
}

#[test]
fn the_kernels_counter_is_final_and_a_suspicion_needs_a_full_memory() {
    let names = names(&PAPER);
    let tail = log_tail(b"java.lang.NoSuchMethodError: x\n", true, 9);
    let base = Evidence::of(signal(9), &tail, &names);
    let kernel = classify(&Evidence { oom_kills: Some(1), ..base.clone() });
    assert_eq!((kernel.classification, kernel.confidence), (Classification::Oom, Confidence::Certain));
    assert_eq!(kernel.evidence[0].rule, "kernel.oom");
    let full = Memory { peak_bytes: 99, limit_bytes: Some(100) };
    assert_eq!(classify(&Evidence { memory: full, ..base.clone() }).code, "kernel.oom_suspected");
    // The counter could be read and did not rise: then it was not the kernel.
    assert_eq!(classify(&Evidence { memory: full, oom_kills: Some(0), ..base.clone() }).rule, "K01");
    let half = Memory { peak_bytes: 50, limit_bytes: Some(100) };
    assert_eq!(classify(&Evidence { memory: half, ..base.clone() }).rule, "K01");
    assert_eq!(classify(&Evidence { memory: full, ended_by: EndedBy::Hang, ..base }).rule, "K01");
}

#[test]
fn a_program_that_never_ran_is_judged_by_its_errno() {
    for (errno, class, retry) in [
        (2, Classification::MissingDependency, Retry::Never),
        (13, Classification::NonzeroExit, Retry::Never),
        (8, Classification::NonzeroExit, Retry::Never),
        (12, Classification::NonzeroExit, Retry::Ladder),
    ] {
        let failure = ExecFailure { errno, message: "could not start java: why".into() };
        let verdict =
            classify(&Evidence { exec_failure: Some(&failure), ..Evidence::of(ExitStatus::Code(127), &[], &[]) });
        assert_eq!((verdict.classification, verdict.retry), (class, retry));
        assert_eq!((verdict.reason.as_str(), verdict.confidence), ("could not start java: why", Confidence::Certain));
    }
}

#[test]
fn fatal_beats_evidence_class_beats_line_and_the_first_error_beats_its_fallout() {
    let log = "[12:00:00 ERROR]: Could not load 'plugins/Foo.jar' in folder 'plugins'\n\
        java.lang.NoSuchMethodError: a.b\njava.net.BindException: Address already in use\n\
        java.lang.OutOfMemoryError: Java heap space\n";
    assert_eq!(judge(ExitStatus::Code(1), &PAPER, log).rule, "J01");
    let log = "Error: Unable to access jarfile server.jar\njava.lang.NoSuchMethodError: a.b\n";
    assert_eq!(judge(ExitStatus::Code(1), &PAPER, log).rule, "J15");
    let log = "java.io.IOException: No space left on device\njava.net.BindException: Address already in use\n";
    let verdict = judge(ExitStatus::Code(1), &PAPER, log);
    assert_eq!(verdict.rule, "E03");
    assert_eq!(
        verdict.evidence.iter().map(|e| (e.rule.as_str(), e.line)).collect::<Vec<_>>(),
        [("E03", 1), ("E01", 2)]
    );
    assert_eq!(verdict.reason, "java.io.IOException: No space left on device");
}

#[test]
fn a_gate_needs_its_exit_code() {
    let log = "start.sh: line 3: java: command not found\n";
    let gated = judge(ExitStatus::Code(127), &PAPER, log);
    assert_eq!((gated.rule.as_str(), gated.confidence, gated.retry), ("E13", Confidence::Certain, Retry::Never));
    let other = judge(ExitStatus::Code(1), &PAPER, log);
    assert_eq!((other.rule.as_str(), other.confidence, other.retry), ("E13", Confidence::Weak, Retry::Once));
    assert_eq!(
        judge(ExitStatus::Code(3), &PAPER, "Terminating due to java.lang.OutOfMemoryError: Java heap space").confidence,
        Confidence::Certain
    );
}

#[test]
fn an_old_line_is_evidence_only() {
    let mut log = "[12:00:00 WARN]: java.net.BindException: Address already in use\n".to_owned();
    log.push_str(&"[12:00:01 ERROR]: something\n".repeat(250));
    assert_eq!(judge(ExitStatus::Code(1), &PAPER, &log).confidence, Confidence::Weak);
    let mut tail = log_tail(b"java.lang.NoSuchMethodError: x\n", true, 9);
    let sets = names(&PAPER);
    tail[0].age = Some(Duration::from_secs(119));
    assert_eq!(classify(&Evidence::of(ExitStatus::Code(1), &tail, &sets)).confidence, Confidence::Likely);
    tail[0].age = Some(Duration::from_secs(121));
    assert_eq!(classify(&Evidence::of(ExitStatus::Code(1), &tail, &sets)).confidence, Confidence::Weak);
}

#[test]
fn what_was_said_before_it_was_up_ended_nothing() {
    let log = "java.lang.NoSuchMethodError: x\n[12:00:00 INFO]: Done (3.2s)! For help, type \"help\"\n";
    assert_eq!(judge(ExitStatus::Code(1), &PAPER, log).code, "exit.nonzero");
    // A player cannot say the ready line to make the real cause history.
    for said in ["<bob> Done (3.2s)! For help, type", "Sheep was slain by Done (3.2s)! For help, type"] {
        let log = format!("java.lang.NoSuchMethodError: x\n[12:00:00] [Server thread/INFO]: {said}\n");
        assert_eq!(judge(ExitStatus::Code(1), &PAPER, &log).rule, "K01", "{said}");
    }
}

#[test]
fn a_server_that_was_up_is_tried_once_more() {
    let (tail, sets) = (log_tail(b"java.io.IOException: No space left on device\n", true, 9), names(&PAPER));
    let base = Evidence::of(ExitStatus::Code(1), &tail, &sets);
    assert_eq!(classify(&base).retry, Retry::Never);
    let up_but_unproven = Evidence { was_ready: true, ..base.clone() };
    assert_eq!(classify(&up_but_unproven).retry, Retry::Never, "nothing probes it: up is no proof");
    assert_eq!(classify(&Evidence { proven: true, ..base }).retry, Retry::Once);
}

#[test]
fn a_false_alarm_is_not_looked_at() {
    let log = "--- DO NOT REPORT THIS TO PAPER - THIS IS NOT A BUG OR A CRASH --- java.lang.StackOverflowError\n";
    assert_eq!(judge(ExitStatus::Code(1), &PAPER, log).code, "exit.nonzero");
}

#[test]
fn colours_and_prompts_hide_nothing() {
    let log = "\x1b[31m> \x1b[1GTerminating due to java.lang.OutOfMemoryError: Java heap space\x1b[0m\r\n";
    assert_eq!(judge(ExitStatus::Code(3), &PAPER, log).rule, "J07");
    let log = "[main/ERROR]: Currently, §6forge§r is §4not installed\n";
    assert_eq!(judge(ExitStatus::Code(1), &["forge"], log).captures["dependency"], "forge");
}

#[test]
fn captures_fill_the_hint() {
    let log = "Exception in thread \"main\" java.lang.UnsupportedClassVersionError: X has been compiled by a more recent \
        version of the Java Runtime (class file version 65.0), this version only recognizes up to 61.0\n";
    let verdict = judge(ExitStatus::Code(1), &PAPER, log);
    assert_eq!(verdict.captures["java_required"], "21");
    assert_eq!(verdict.hint, "This server or mod needs Java 21. Select that Java version and start again.");
    let log = "- Mod 'Copper Hopper' (copperhopper) 0.7.0 requires any version of fabric, which is missing!\n";
    assert_eq!(judge(ExitStatus::Code(1), &["fabric"], log).hint, "Install the missing mod fabric.");
}

#[test]
fn a_crash_file_completes_a_verdict() {
    let sets = names(&PAPER);
    let tail = log_tail(b"[12:00:00 ERROR]: This crash report has been saved to: ./crash-reports/c.txt\n", true, 9);
    let text = "---- Minecraft Crash Report ----\n\nDescription: Exception in server tick loop\n\njava.lang.RuntimeException: boom\n\
        \tat net.minecraft.Foo.bar(Foo.java:1) ~[paper-1.21.jar:?]\n\tat com.example.sheep.Sheep.tick(Sheep.java:3) ~[Sheep-1.0.jar:?]\n\n\
        A detailed walkthrough of the error\n";
    let file = Some(CrashFile { path: "crash-reports/c.txt", text });
    let evidence = Evidence { crash_file: file, ..Evidence::of(ExitStatus::Code(1), &tail, &sets) };
    let verdict = classify(&evidence);
    assert_eq!(verdict.code, "mc.crash_report");
    assert_eq!(verdict.reason, "Exception in server tick loop: java.lang.RuntimeException: boom");
    assert_eq!(suspected_mod(&verdict, &evidence).as_deref(), Some("Sheep-1.0.jar"));
    // What only the file tells is found there.
    let text = text.replace("java.lang.RuntimeException: boom", "java.lang.NoSuchMethodError: boom");
    let file = Some(CrashFile { path: "crash-reports/c.txt", text: &text });
    assert_eq!(classify(&Evidence { crash_file: file, ..evidence }).rule, "K01");
}

#[test]
fn another_line_may_name_the_suspect() {
    let log = "Error: Cannot find module 'economy-api'\n    at Module.load (/srv/w/node_modules/x/plugins/y.js:1:1)\n\
        \x20   at Object.<anonymous> (/srv/w/plugins/shop.js:3:9)\n";
    let verdict = judge(ExitStatus::Code(1), &["node", "flying_squid"], log);
    assert_eq!((verdict.rule.as_str(), verdict.captures["plugin"].as_str()), ("N01", "plugins/shop.js"));
}

#[test]
fn an_unknown_set_does_not_cost_the_verdict() {
    let verdict = judge(ExitStatus::Code(1), &["jvm", "nosuch"], "java.lang.OutOfMemoryError: Java heap space\n");
    assert_eq!(verdict.rule, "J01");
    assert!(verdict.evidence.iter().any(|e| e.rule == "catalog" && e.text.contains("nosuch")));
}

#[test]
fn players_cannot_forge_a_verdict() {
    for line in [
        "[12:00:00] [Async Chat Thread - #0/INFO]: <bob> java.lang.OutOfMemoryError: Java heap space",
        "[12:00:00] [Server thread/INFO]: [Not Secure] <bob> java.lang.OutOfMemoryError: Java heap space",
        "[12:00:00 INFO]: bob issued server command: /msg x java.lang.OutOfMemoryError: Java heap space",
        "[12:00:00] [Server thread/INFO]: Sheep was slain by java.lang.OutOfMemoryError: Java heap space",
        "[12:00:00] [Server thread/INFO] [minecraft/DedicatedServer]: [bob] java.lang.OutOfMemoryError: Java heap space",
        "[12:00:00] [Server thread/INFO] (Minecraft) * bob java.lang.OutOfMemoryError: Java heap space",
        "2013-01-01 12:00:00 [INFO] <bob> java.lang.OutOfMemoryError: Java heap space",
        "[12:00:00] [Server thread/INFO]: [Server] java.lang.OutOfMemoryError: Java heap space",
    ] {
        assert_eq!(judge(ExitStatus::Code(1), &PAPER, line).code, "exit.nonzero", "{line}");
    }
    for (set, line) in [
        ("minetest", "2026-01-01 12:00:00: ACTION[Server]: CHAT: <bob> Lua: OOM error from mod 'x'"),
        ("teeworlds", "2026-01-01 12:00:00 I chat: 0:-2:bob: couldn't open socket. port 1 might already be in use"),
        ("teeworlds", "[12:00:00][chat]: 0:-2:bob: couldn't open socket. port 1 might already be in use"),
        ("openttd", "[All] bob: Failed to find a graphics set"),
        ("flying_squid", "[INFO]: <bob> unsupported protocol version: 1"),
        ("factorio", "2026-01-01 12:00:00 [CHAT] bob: Failed to load mod \"x\""),
        ("steam", "L 01/01/2026 - 12:00:00: \"bob<2><[U:1:1]><Red>\" say \"FATAL ERROR: Could not load: x\""),
        ("terraria", "<bob> Plugin \"x\" has thrown an exception during boom"),
    ] {
        assert_eq!(judge(ExitStatus::Code(1), &[set], line).code, "exit.nonzero", "{line}");
    }
}

#[test]
fn the_eula_is_believed_on_an_info_line_only_before_anyone_could_join() {
    let (tail, sets) = (
        log_tail(b"[12:00:00 INFO]: You need to agree to the EULA in order to run the server.\n", true, 9),
        names(&PAPER),
    );
    let base = Evidence::of(ExitStatus::Code(0), &tail, &sets);
    assert_eq!((classify(&base).rule.as_str(), classify(&base).retry), ("V01", Retry::Never));
    assert_eq!(classify(&Evidence { was_ready: true, ..base }).code, "exit.zero");
}

#[test]
fn a_chat_line_that_lost_its_beginning_is_not_believed() {
    let mut log = b"[12:00:00 INFO]: <bob> ".to_vec();
    log.extend(b"java.lang.OutOfMemoryError: Java heap space ");
    log.resize("[12:00:00 INFO]: <bob> ".len() + TAIL_BYTES - 4, b'x');
    log.extend(b"\nbye");
    let tail = log_tail(&log, true, TAIL_LINES);
    assert!(tail[0].text.starts_with("java.lang.OutOfMemoryError") && tail[0].torn);
    assert_eq!(classify(&Evidence::of(ExitStatus::Code(1), &tail, &names(&PAPER))).code, "exit.nonzero");
}

#[test]
fn a_huge_line_costs_no_time() {
    let mut log = b"java.lang.OutOfMemoryError: Java heap space".to_vec();
    log.resize(10 << 20, b'a');
    log.extend(b"\njava.lang.NoSuchMethodError: x\n");
    let sets = names(&["all"]);
    let begun = Instant::now();
    let verdict = classify(&Evidence::of(ExitStatus::Code(1), &log_tail(&log, true, TAIL_LINES), &sets));
    let took = begun.elapsed();
    assert_eq!(verdict.rule, "K01");
    // 50 ms is the promise of a release build; a debug build on a busy machine gets room.
    let promise = if cfg!(debug_assertions) { Duration::from_secs(2) } else { Duration::from_millis(50) };
    assert!(took < promise, "{took:?}");
    println!("10 MB line, every set: {took:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_chat_text_changes_a_verdict(text in "[^\\n\\r]{0,200}", code in 0..160i32) {
        let quiet = judge(ExitStatus::Code(code), &PAPER, "");
        let loud = judge(ExitStatus::Code(code), &PAPER, &format!("[12:00:00] [Server thread/INFO]: <bob> {text}\n"));
        prop_assert_eq!(quiet, loud);
    }

    #[test]
    fn no_log_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000), code in 0..256i32) {
        let verdict = classify(&Evidence::of(ExitStatus::Code(code), &log_tail(&bytes, false, 400), &names(&["jvm"])));
        prop_assert!(verdict.evidence.len() <= EVIDENCE_LINES);
    }
}
