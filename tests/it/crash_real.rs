//! Real programs that fail for real, and what the engine says about them. Needs java, node and python3.
use crate::support::install;
use nix::time::{ClockId, clock_gettime};
use std::{
    io::Read,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};
use zlh::{
    host::crash_files::crash_files,
    model::{
        crash::{Classification, Retry, Verdict},
        exit::ExitStatus,
        time::WallTime,
    },
    policy::crash::{CrashFile, Evidence, TAIL_LINES, classify, log_tail, suspected_mod},
};

/// One finished program: how it ended, and everything it printed.
struct Run {
    status: ExitStatus,
    output: Vec<u8>,
}

/// Runs `command` to its end with both outputs in one pipe, like a terminal.
fn run(dir: &Path, command: &str) -> Run {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut child = Command::new("/bin/sh");
    child.args(["-c", &format!("exec {command}")]).current_dir(dir).stdin(Stdio::null());
    child.stdout(writer.try_clone().unwrap()).stderr(writer);
    // What the caller's tools preset would change what the programs print.
    child.env_remove("JAVA_TOOL_OPTIONS").env_remove("NODE_OPTIONS").env("NO_COLOR", "1");
    let mut process = child.spawn().unwrap();
    drop(child);
    let mut output = Vec::new();
    reader.read_to_end(&mut output).unwrap();
    let ended = process.wait().unwrap();
    let status = match ended.signal() {
        Some(signal) => ExitStatus::Signal { signal, core_dumped: ended.core_dumped() },
        None => ExitStatus::Code(ended.code().unwrap()),
    };
    Run { status, output }
}

fn judge(run: &Run, sets: &[&str]) -> Verdict {
    let names: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
    classify(&Evidence::of(run.status, &log_tail(&run.output, true, TAIL_LINES), &names))
}

fn assert_verdict(run: &Run, sets: &[&str], class: Classification, code: &str) -> Verdict {
    let verdict = judge(run, sets);
    let seen = format!("{verdict:#?}\n{}\n{}", run.status, String::from_utf8_lossy(&run.output));
    assert_eq!((verdict.classification, verdict.code.as_str()), (class, code), "{seen}");
    // An unknown program is judged with every set: the answer must stay the same.
    let unknown = judge(run, &["all"]);
    assert_eq!((unknown.classification, unknown.code.as_str()), (class, code), "with every set: {unknown:#?}\n{seen}");
    verdict
}

fn dir_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

const HOARD: &str = "import java.util.*; public class Hoard { public static void main(String[] a) {
    System.out.println(\"Loading world\"); List<long[]> all = new ArrayList<>(); while (true) all.add(new long[1 << 16]); } }";

#[test]
fn java_runs_out_of_heap() {
    let dir = dir_with(&[("Hoard.java", HOARD)]);
    // Compiled first: the source launcher itself needs more than the small heap.
    assert_eq!(run(dir.path(), "javac Hoard.java").status, ExitStatus::Code(0));
    let died = run(dir.path(), "java -Xmx16m Hoard");
    let verdict = assert_verdict(&died, &["jvm"], Classification::Oom, "jvm.heap");
    assert!(verdict.reason.contains("OutOfMemoryError: Java heap space") && verdict.retry == Retry::Ladder);

    let told = run(dir.path(), "java -Xmx16m -XX:+ExitOnOutOfMemoryError Hoard");
    assert_eq!(told.status, ExitStatus::Code(3));
    assert_verdict(&told, &["jvm"], Classification::Oom, "jvm.exit_on_oom");
}

#[test]
fn java_aborts_out_of_heap_and_leaves_an_hs_err_file() {
    let dir = dir_with(&[("Hoard.java", HOARD)]);
    assert_eq!(run(dir.path(), "javac Hoard.java").status, ExitStatus::Code(0));
    let started = WallTime(now_ms());
    // HotSpot aborts only if it may dump core; else it ends with code 1.
    for (core, status) in [("+", ExitStatus::Signal { signal: 6, core_dumped: false }), ("-", ExitStatus::Code(1))] {
        let flags = format!("-Xmx16m -XX:+CrashOnOutOfMemoryError -XX:{core}CreateCoredumpOnCrash");
        let aborted = run(dir.path(), &format!("sh -c 'ulimit -c 0; exec java {flags} Hoard'"));
        assert_eq!(aborted.status, status);
        assert_verdict(&aborted, &["jvm"], Classification::Oom, "jvm.crash_on_oom");
    }
    let files =
        crash_files(dir.path(), nix::unistd::geteuid().as_raw(), (started, WallTime(now_ms())), 1 << 20).unwrap();
    assert!(files[0].path.starts_with("hs_err_pid") && files[0].text.contains("OutOfMemory"), "{files:?}");
    // The file alone tells it as well.
    let file = Some(CrashFile { path: &files[0].path, text: &files[0].text });
    let sets = ["jvm".to_owned()];
    let silent = Evidence { crash_file: file, ..Evidence::of(ExitStatus::Code(1), &[], &sets) };
    assert_eq!(classify(&silent).classification, Classification::Oom);
}

#[test]
fn java_is_killed_by_a_segmentation_fault() {
    let source = "public class Sleep { public static void main(String[] a) throws Exception {
        new ProcessBuilder(\"kill\", \"-SEGV\", \"\" + ProcessHandle.current().pid()).start(); Thread.sleep(60000); } }";
    let dir = dir_with(&[("Sleep.java", source)]);
    assert_eq!(run(dir.path(), "javac Sleep.java").status, ExitStatus::Code(0));
    let started = WallTime(now_ms());
    let died = run(dir.path(), "java -XX:-CreateCoredumpOnCrash Sleep");
    assert_verdict(&died, &["jvm"], Classification::NonzeroExit, "native.jvm_crash");

    let files =
        crash_files(dir.path(), nix::unistd::geteuid().as_raw(), (started, WallTime(now_ms())), 1 << 20).unwrap();
    let (tail, sets) = (log_tail(&died.output, true, TAIL_LINES), ["jvm".to_owned()]);
    let file = Some(CrashFile { path: &files[0].path, text: &files[0].text });
    let verdict = classify(&Evidence { crash_file: file, ..Evidence::of(died.status, &tail, &sets) });
    assert!(verdict.reason.starts_with("SIGSEGV") && verdict.captures["library"].contains(".so"), "{verdict:#?}");
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

#[test]
fn java_cannot_start_what_is_missing_or_wrong() {
    use Classification::*;
    // Only the header of a class file, version 69: the version is looked at first.
    let dir = dir_with(&[]);
    std::fs::write(dir.path().join("Newer.class"), b"\xca\xfe\xba\xbe\x00\x00\x00\x62\x00\x00\x00\x00").unwrap();
    std::fs::write(dir.path().join("broken.jar"), b"<html>404</html>").unwrap();
    for (command, class, code, retry) in [
        ("java -jar server.jar nogui", MissingDependency, "install.jar_missing", Retry::Never),
        ("java -jar broken.jar", MissingDependency, "install.jar_corrupt", Retry::Never),
        ("java com.example.Main", MissingDependency, "install.main_missing", Retry::Never),
        ("java @libraries/unix_args.txt", MissingDependency, "install.argfile_missing", Retry::Never),
        ("java -cp . Newer", MissingDependency, "java.too_old", Retry::Never),
        ("java -XX:+NoSuchFlag -version", NonzeroExit, "config.jvm_option", Retry::Never),
        ("java -Xms64m -Xmx32m -version", NonzeroExit, "config.jvm_heap_flags", Retry::Never),
        ("java -Xmx32x -version", NonzeroExit, "config.jvm_heap_flags", Retry::Never),
    ] {
        let verdict = assert_verdict(&run(dir.path(), command), &["jvm"], class, code);
        assert_eq!(verdict.retry, retry, "{command}");
    }
    let newer = judge(&run(dir.path(), "java -cp . Newer"), &["jvm"]);
    assert_eq!(newer.captures["java_required"], "54");
    assert!(newer.hint.contains("Java 54"), "{}", newer.hint);
}

#[test]
fn java_recurses_without_end_and_the_stack_names_the_mod() {
    let source = "package com.example.sheep; public class Sheep { static int f(int x) { return f(x + 1) + 1; }
        public static void main(String[] a) { f(0); } }";
    let dir = dir_with(&[("Sheep.java", source)]);
    assert_eq!(run(dir.path(), "javac -d . Sheep.java").status, ExitStatus::Code(0));
    let died = run(dir.path(), "java -XX:MaxJavaStackTraceDepth=100 com.example.sheep.Sheep");
    let verdict = assert_verdict(&died, &["jvm"], Classification::ModOrPluginError, "jvm.stack_overflow");
    let (tail, sets) = (log_tail(&died.output, true, TAIL_LINES), ["jvm".to_owned()]);
    let suspect = suspected_mod(&verdict, &Evidence::of(died.status, &tail, &sets));
    assert_eq!(suspect.as_deref(), Some("com.example.sheep"));
}

#[test]
fn node_fails() {
    use Classification::*;
    let dir = dir_with(&[
        ("heap.js", "const all = []; for (;;) all.push(new Array(1e5).fill(Math.random()));"),
        ("missing.js", "require('economy-api');"),
        ("missing.mjs", "import 'economy-api';"),
        ("throws.js", "function load() { throw new TypeError('boom'); }\nload();"),
        ("rejects.js", "Promise.reject(new Error('boom'));"),
        ("rejects-text.js", "Promise.reject('boom');"),
        ("port.js", "require('net').createServer().listen(99999);"),
        (
            "taken.js",
            "const n = require('net'); const s = n.createServer().listen(0, '127.0.0.1', () =>
            n.createServer().listen(s.address().port, '127.0.0.1'));",
        ),
    ]);
    for (command, class, code) in [
        ("node --max-old-space-size=30 heap.js", Oom, "node.heap"),
        ("node missing.js", MissingDependency, "node.module"),
        ("node missing.mjs", MissingDependency, "node.module"),
        ("node nosuch.js", MissingDependency, "node.module"),
        ("node throws.js", NonzeroExit, "node.uncaught"),
        ("node rejects.js", NonzeroExit, "node.uncaught"),
        ("node rejects-text.js", NonzeroExit, "node.rejection"),
        ("node port.js", NonzeroExit, "config.port"),
        ("node taken.js", NonzeroExit, "env.port_in_use"),
    ] {
        assert_verdict(&run(dir.path(), command), &["node"], class, code);
    }
    assert_eq!(judge(&run(dir.path(), "node missing.js"), &["node"]).captures["dependency"], "economy-api");
    assert_eq!(judge(&run(dir.path(), "node throws.js"), &["node"]).captures["error"], "TypeError");
}

#[test]
fn python_fails() {
    use Classification::*;
    let dir = dir_with(&[("syntax.py", "print((1)\n"), ("raises.py", "raise ValueError('boom')\n")]);
    for (command, class, code) in [
        ("python3 -c 'import economy_api'", MissingDependency, "python.module"),
        ("python3 -c 'x = [0] * (1 << 60)'", Oom, "python.oom"),
        ("python3 syntax.py", NonzeroExit, "python.syntax"),
        ("python3 raises.py", NonzeroExit, "python.exception"),
        ("python3 -X faulthandler -c 'import ctypes; ctypes.string_at(0)'", UnexpectedExit, "native.python_crash"),
        (
            "python3 -c 'import socket; a = socket.create_server((\"127.0.0.1\", 0)); socket.socket().bind(a.getsockname())'",
            NonzeroExit,
            "env.port_in_use",
        ),
        ("python3 -c 'import sys; sys.exit(7)'", NonzeroExit, "exit.nonzero"),
        ("python3 -c 'pass'", UnexpectedExit, "exit.zero"),
    ] {
        assert_verdict(&run(dir.path(), command), &["python"], class, code);
    }
}

#[test]
fn a_start_script_fails() {
    use Classification::*;
    let dir = dir_with(&[
        ("dash.sh", "#!/bin/sh\nnosuchprogram --port 1\n"),
        ("bash.sh", "#!/bin/bash\nnosuchprogram --port 1\n"),
        ("crlf.sh", "#!/bin/bash\r\necho hi\r\n"),
        ("calls-crlf.sh", "#!/bin/bash\n./crlf.sh\n"),
        ("plain.txt", "no program"),
        ("calls-nothing.sh", "#!/bin/bash\n./bedrock_server\n"),
        ("calls-plain.sh", "#!/bin/bash\n./plain.txt\n"),
        ("killed.sh", "#!/bin/bash\nbash -c 'kill -KILL $$'\nexit $?\n"),
        ("segv.sh", "#!/bin/bash\nbash -c 'kill -SEGV $$'\nexit $?\n"),
        ("full.sh", "#!/bin/bash\necho world > /dev/full || exit 1\n"),
    ]);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "sh") {
            let text = path.with_extension("text");
            std::fs::rename(&path, &text).unwrap();
            install(&text, &path);
        }
    }
    for (command, class, code) in [
        ("./dash.sh", MissingDependency, "exec.not_found"),
        ("./bash.sh", MissingDependency, "exec.not_found"),
        ("./calls-crlf.sh", MissingDependency, "exec.interpreter"),
        ("./calls-plain.sh", NonzeroExit, "exec.not_executable"),
        ("./calls-nothing.sh", MissingDependency, "exec.not_found"),
        ("sh -c 'exec ./bedrock_server'", MissingDependency, "exec.not_found"),
        ("sh -c ./plain.txt", NonzeroExit, "exec.not_executable"),
        ("./killed.sh", UnexpectedExit, "signal.killed_in_wrapper"),
        ("./segv.sh", UnexpectedExit, "native.segv_in_wrapper"),
        ("./full.sh", NonzeroExit, "env.disk_full"),
        ("sh -c 'kill -TERM $$'", UnexpectedExit, "signal.external"),
        ("sh -c 'kill -ABRT $$'", UnexpectedExit, "native.signal"),
        ("env nosuchprogram", MissingDependency, "exec.not_found"),
    ] {
        assert_verdict(&run(dir.path(), command), &["common"], class, code);
    }
}

/// What this thread has had of a processor, whoever else wants it.
fn worked() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

#[test]
fn a_verdict_is_quick() {
    let dir =
        dir_with(&[("noise.py", "for i in range(200000): print('[12:00:00 INFO]: line', i)\nimport economy_api\n")]);
    let died = run(dir.path(), "python3 noise.py");
    let begun = worked();
    let verdict = judge(&died, &["python", "minecraft"]);
    assert_eq!(verdict.code, "python.module");
    let took = worked() - begun;
    assert!(took < Duration::from_secs(2), "{took:?}");
}
