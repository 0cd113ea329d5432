//! What a crash file says: Minecraft crash reports, HotSpot's hs_err, Mono's and Node's JSON reports, srcds' debug.txt.
use crate::model::plain_text::plain_line;

/// Lines of the file that rules may look at, and characters of each. Later parts list players, entities and mods:
/// text that others can write.
const LINES: usize = 120;
const LINE_CHARS: usize = 1000;

/// A file the run left behind.
#[derive(Clone, Copy, Debug)]
pub struct CrashFile<'a> {
    /// Path as shown to a person; its name tells the kind.
    pub path: &'a str,
    pub text: &'a str,
}

/// What was found in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// The best one-line cause the file names.
    pub description: Option<String>,
    /// The native library in the problematic frame.
    pub library: Option<String>,
    pub suspected_mods: Vec<String>,
    /// The trustworthy part: header and stack trace.
    pub lines: Vec<String>,
}

pub(super) fn parse(file: &CrashFile) -> Facts {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if name == "debug.txt" {
        // A log that older runs have written into as well: for a person only.
        Facts::default()
    } else if name.starts_with("hs_err") {
        hs_err(file.text)
    } else if name.ends_with(".json") {
        json_report(file.text)
    } else {
        crash_report(file.text)
    }
}

/// `---- Minecraft Crash Report ----`: description, then the stack trace up to the walkthrough.
fn crash_report(text: &str) -> Facts {
    let lines = head(text, |line| line.starts_with("A detailed walkthrough") || line.starts_with("-- Head --"));
    let described = lines.iter().position(|l| l.starts_with("Description:"));
    let description = described.map(|at| {
        let words = lines[at].trim_start_matches("Description:").trim();
        let exception = lines[at + 1..].iter().find(|l| !l.trim().is_empty());
        exception.map_or_else(|| words.to_owned(), |e| format!("{words}: {}", e.trim()))
    });
    Facts { description, library: None, suspected_mods: suspected_mods(text), lines }
}

/// Forge lists them as `Suspected Mod(s):` with the names on the same or on the following indented lines.
fn suspected_mods(text: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|l| !l.trim_start().starts_with("Suspected Mod"));
    let Some(first) = lines.next() else { return Vec::new() };
    let same_line = first.split_once(':').map_or("", |(_, names)| names);
    let indent = |l: &str| l.len() - l.trim_start().len();
    let following = lines.take_while(|l| indent(l) > indent(first) && !l.trim().is_empty()).take(LINES);
    std::iter::once(same_line).chain(following).filter_map(mod_name).take(8).collect()
}

/// `Foo (foo), Version: 1.2` and `Foo (foo)` name a mod; stack frames and notes below it do not.
fn mod_name(line: &str) -> Option<String> {
    let line = line.trim();
    let name = line.split(", Version").next().unwrap_or(line).trim();
    let is_name = !name.is_empty() && name.len() <= 80 && !matches!(name, "NONE" | "None" | "~~ERROR~~");
    let is_note =
        ["at ", "Mixin class", "Target", "Issue tracker", "Mod file", "Failure"].iter().any(|p| name.starts_with(p));
    (is_name && !is_note).then(|| name.to_owned())
}

/// HotSpot's file: the lines with `#` are the summary.
fn hs_err(text: &str) -> Facts {
    let lines: Vec<String> =
        head(text, |l| l.starts_with("---------------  S U M M A R Y") || l.starts_with("Command Line"));
    let stripped = |l: &String| l.trim_start_matches('#').trim().to_owned();
    let frame_label = lines.iter().position(|l| l.contains("Problematic frame:"));
    let frame = frame_label.and_then(|at| lines.get(at + 1)).map(stripped);
    let library = frame.as_deref().and_then(library_of_frame);
    let signal = lines.iter().map(stripped).find(|l| l.starts_with("SIG"));
    let out_of_memory = lines.iter().map(stripped).find(|l| l.starts_with("There is insufficient memory"));
    let crash = match (signal, frame) {
        (Some(signal), Some(frame)) => Some(format!("{signal} in {frame}")),
        (signal, frame) => signal.or(frame),
    };
    Facts { description: out_of_memory.or(crash), library, suspected_mods: Vec::new(), lines }
}

/// `C  [libfoo.so+0x1234]  name+0x5` names libfoo.so.
fn library_of_frame(frame: &str) -> Option<String> {
    let (_, rest) = frame.split_once('[')?;
    let name: String = rest.chars().take_while(|c| !matches!(c, '+' | ']')).collect();
    (!name.is_empty() && name.len() <= 120).then_some(name)
}

/// Node's report.*.json (`header.event`, `javascriptStack.message`) and Mono's mono_crash.*.json (`reason`).
fn json_report(text: &str) -> Facts {
    let Ok(report) = serde_json::from_str::<serde_json::Value>(text) else { return Facts::default() };
    let fields = ["/header/event", "/javascriptStack/message", "/reason", "/exception"];
    let lines: Vec<String> = fields
        .iter()
        .filter_map(|p| report.pointer(p).and_then(|v| v.as_str()))
        .flat_map(|text| head(text, |_| false))
        .collect();
    let description = lines.iter().find(|l| !l.trim().is_empty()).cloned();
    Facts { description, library: None, suspected_mods: Vec::new(), lines }
}

fn head(text: &str, ends: impl Fn(&str) -> bool) -> Vec<String> {
    let plain = |line: &str| plain_line(line.as_bytes()).chars().take(LINE_CHARS).collect();
    text.lines().take(LINES).take_while(|l| !ends(l)).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minecraft_crash_report_gives_its_description_and_no_text_of_players() {
        let text = "---- Minecraft Crash Report ----\n// Why did you do that?\n\nTime: 2024-08-24 22:40:52\n\
            Description: Ticking entity\n\njava.lang.NullPointerException: boom\n\tat com.example.mod.Sheep.tick(Sheep.java:3)\n\n\
            A detailed walkthrough of the error, its code path and all known details is as follows:\n\
            -- Entity being ticked --\n\tEntity Name: java.lang.OutOfMemoryError: Java heap space\n\
            -- System Details --\n\tSuspected Mods: Sheep Mod (sheep), Version: 1.2\n\t\tMixin class: x\n\t\tat TRANSFORMER/sheep\n\tJava Version: 21\n";
        let facts = parse(&CrashFile { path: "crash-reports/crash-2024-server.txt", text });
        assert_eq!(facts.description.as_deref(), Some("Ticking entity: java.lang.NullPointerException: boom"));
        assert_eq!(facts.suspected_mods, ["Sheep Mod (sheep)"]);
        assert!(!facts.lines.iter().any(|l| l.contains("OutOfMemory")));
    }

    #[test]
    fn an_hs_err_file_names_signal_frame_and_library() {
        let text = "#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n\
            #  SIGSEGV (0xb) at pc=0x00007f, pid=12, tid=13\n#\n# Problematic frame:\n# C  [libzstd-jni.so+0x1234]  ZSTD_x+0x4\n#\n\
            ---------------  S U M M A R Y ------------\nEnvironment: SECRET\n";
        let facts = parse(&CrashFile { path: "hs_err_pid12.log", text });
        assert_eq!(facts.library.as_deref(), Some("libzstd-jni.so"));
        assert!(facts.description.unwrap().starts_with("SIGSEGV (0xb)"));
        assert!(!facts.lines.iter().any(|l| l.contains("SECRET")));
    }

    #[test]
    fn a_node_report_names_its_event() {
        let text = r#"{"header":{"event":"Allocation failed - JavaScript heap out of memory","trigger":"OOMError"}}"#;
        let facts = parse(&CrashFile { path: "report.2026.1.2.json", text });
        assert_eq!(facts.description.as_deref(), Some("Allocation failed - JavaScript heap out of memory"));
        assert_eq!(parse(&CrashFile { path: "report.1.json", text: "{\"header\":" }), Facts::default());
    }
}
