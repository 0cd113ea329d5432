//! The state words of the wire (CONTRACT §1.2), the only ones a client ever sees.
use serde::{Deserialize, Serialize};
use std::fmt;

/// `crashed` = exited unexpectedly, a restart is scheduled; `error` = gave up, needs a person or a new command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Idle,
    Installing,
    Starting,
    Running,
    Stopping,
    Crashed,
    Error,
}

impl State {
    pub const ALL: [State; 7] = [
        State::Idle,
        State::Installing,
        State::Starting,
        State::Running,
        State::Stopping,
        State::Crashed,
        State::Error,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Installing => "installing",
            State::Starting => "starting",
            State::Running => "running",
            State::Stopping => "stopping",
            State::Crashed => "crashed",
            State::Error => "error",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
