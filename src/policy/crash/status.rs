//! What the exit status alone says, in words: the last resort, and the class of rules that leave it to the status.
use super::{EndedBy, Evidence, ExecFailure, Memory};
use crate::model::{
    crash::{Classification, Confidence, Retry, Verdict},
    exit::ExitStatus,
};

/// From this share of the memory limit on, a SIGKILL nobody here sent is taken for the kernel's.
const FULL: f64 = 0.95;

const EACCES: i32 = 13;
const ENOENT: i32 = 2;
const ENOEXEC: i32 = 8;
const ENOTDIR: i32 = 20;
const SIGKILL: i32 = 9;

/// A shell or a runtime that ends with 128+n reports signal n of what it ran. Only signals that end programs count:
/// other codes above 128 are the program's own.
pub(super) fn unwrapped(status: ExitStatus) -> ExitStatus {
    match status {
        ExitStatus::Code(code) if signal_name(code - 128).is_some() => {
            ExitStatus::Signal { signal: code - 128, core_dumped: false }
        }
        other => other,
    }
}

/// The code a gate compares with: a signal n is 128+n.
pub(super) fn gate_code(status: ExitStatus) -> Option<i32> {
    match status {
        ExitStatus::Code(code) => Some(code),
        ExitStatus::Signal { signal, .. } => Some(128 + signal),
        ExitStatus::Unknown => None,
    }
}

pub(super) fn class(status: ExitStatus) -> Classification {
    match unwrapped(status) {
        ExitStatus::Code(0) | ExitStatus::Signal { .. } | ExitStatus::Unknown => Classification::UnexpectedExit,
        ExitStatus::Code(_) => Classification::NonzeroExit,
    }
}

/// The program never ran.
pub(super) fn never_ran(failure: &ExecFailure) -> Verdict {
    let (classification, code, retry, hint) = match failure.errno {
        ENOENT | ENOTDIR => (
            Classification::MissingDependency,
            "exec.not_found",
            Retry::Never,
            "The program or its interpreter does not exist. Install it, or correct the start command.",
        ),
        EACCES => (
            Classification::NonzeroExit,
            "exec.not_executable",
            Retry::Never,
            "The program may not be executed. Make it executable for the account the server runs as.",
        ),
        ENOEXEC => (
            Classification::NonzeroExit,
            "exec.not_executable",
            Retry::Never,
            "The file is not a program for this processor. Get the right build.",
        ),
        _ => (
            Classification::NonzeroExit,
            "exec.failed",
            Retry::Ladder,
            "The machine could not start the program; the message says why. It is tried again.",
        ),
    };
    verdict(classification, code, Confidence::Certain, retry, failure.message.clone(), hint)
}

/// The kernel's own counter, or a kill that looks like the kernel's where the counter cannot be read.
pub(super) fn out_of_memory(evidence: &Evidence) -> Option<Verdict> {
    let hint = "The server used all memory it may have. Give it more memory, or lower -Xmx, the view distance or the number of mods.";
    if let Some(kills) = evidence.oom_kills.filter(|kills| *kills > 0) {
        let reason =
            format!("the kernel killed {kills} of the server's processes because its memory limit was reached");
        return Some(verdict(Classification::Oom, "kernel.oom", Confidence::Certain, Retry::Ladder, reason, hint));
    }
    let killed = matches!(unwrapped(evidence.status), ExitStatus::Signal { signal: SIGKILL, .. });
    let suspected =
        killed && evidence.oom_kills.is_none() && evidence.ended_by == EndedBy::Itself && full(evidence.memory);
    suspected.then(|| {
        let reason = "killed (SIGKILL) by somebody else while its memory was at the limit".to_owned();
        verdict(Classification::Oom, "kernel.oom_suspected", Confidence::Likely, Retry::Ladder, reason, hint)
    })
}

fn full(memory: Memory) -> bool {
    memory.limit_bytes.is_some_and(|limit| limit > 0 && memory.peak_bytes as f64 >= limit as f64 * FULL)
}

/// Nothing but the status is known.
pub(super) fn fallback(evidence: &Evidence) -> Verdict {
    let (code, reason, hint) = match evidence.ended_by {
        EndedBy::Itself => by_status(evidence.status),
        EndedBy::Stop => ("stop.requested".into(), "stopped as it was asked to".into(), "Nothing needs to be done."),
        EndedBy::NotReady => (
            "ready.deadline".into(),
            "ended by supervision: it was not ready in time".into(),
            "Look at the log for what it waits for, or allow more time to start.",
        ),
        EndedBy::Hang => (
            "hang".into(),
            "ended by supervision: it no longer answered".into(),
            "The thread dump in the log shows what it was doing.",
        ),
    };
    verdict(class(evidence.status), &code, Confidence::Weak, Retry::Ladder, reason, hint)
}

fn by_status(status: ExitStatus) -> (String, String, &'static str) {
    let wrapped = if matches!(status, ExitStatus::Code(_)) { " (reported as its exit code plus 128)" } else { "" };
    match unwrapped(status) {
        ExitStatus::Code(0) => (
            "exit.zero".into(),
            "it ended by itself with exit code 0, although nobody asked it to".into(),
            "Some servers end with code 0 when they break. Look at the last lines of the log.",
        ),
        ExitStatus::Code(code) => ("exit.nonzero".into(), format!("it ended with exit code {code}"), code_hint(code)),
        ExitStatus::Signal { signal, core_dumped } => {
            let name = signal_name(signal).unwrap_or("an unusual signal");
            let core = if core_dumped { ", core dumped" } else { "" };
            (
                signal_code(signal).into(),
                format!("it was ended by signal {signal}, {name}{core}{wrapped}"),
                signal_hint(signal),
            )
        }
        ExitStatus::Unknown => (
            "exit.unknown".into(),
            "it ended while nobody watched, so its exit status is lost".into(),
            "Look at the last lines of the log.",
        ),
    }
}

fn code_hint(code: i32) -> &'static str {
    match code {
        70 => "Paper ends with 70 after its watchdog stopped it: look for a thread dump in the log.",
        124 => "timeout(1) in a start script ended the program.",
        126 => "A shell ends with 126 when a program may not be executed.",
        127 => "A shell ends with 127 when a program or a library is missing.",
        _ => "Look at the last lines of the log.",
    }
}

fn signal_code(signal: i32) -> &'static str {
    match signal {
        4 | 5 | 6 | 7 | 8 | 11 | 31 => "native.signal",
        9 => "signal.killed",
        _ => "signal.external",
    }
}

fn signal_hint(signal: i32) -> &'static str {
    match signal {
        1 => "Its terminal was closed: the process that held it is gone.",
        4 => "The program uses an instruction this processor lacks, or stopped itself on purpose.",
        6 => "The program aborted itself. Look at the last lines of the log.",
        7 | 8 | 11 => "The program crashed in native code. Update the game and its native plugins.",
        9 => "Somebody outside killed it: an operator, or the kernel for lack of memory.",
        2 | 3 | 15 => "Somebody outside asked it to end. If that was you, use stop instead.",
        24 | 25 => "A limit on processor time or file size was reached.",
        _ => "Look at the last lines of the log.",
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

fn verdict(class: Classification, code: &str, sure: Confidence, retry: Retry, reason: String, hint: &str) -> Verdict {
    Verdict {
        classification: class,
        code: code.to_owned(),
        confidence: sure,
        retry,
        rule: String::new(),
        reason,
        hint: hint.to_owned(),
        captures: Default::default(),
        evidence: Vec::new(),
    }
}
