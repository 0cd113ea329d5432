//! What is excused: (rule, file, reason). This list may only shrink.
pub const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("size", "src/keeper/protocol.rs", "the frozen wire format is read in one piece"),
    ("sleep", "tests/it/support/waiting.rs", "the one place where tests wait: it polls with a deadline"),
];
