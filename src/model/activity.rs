//! Whether anybody uses the editor: what the machine counts, and what is told of it.
use super::time::WallTime;
use serde::Serialize;
use utoipa::ToSchema;

/// A connection that somebody holds to the editor's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The kernel's name of it, never given twice in one boot.
    pub id: u64,
    /// Bytes that came from the other side so far; `None` where the kernel does not tell.
    pub received: Option<u64>,
}

/// What is counted at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub connections: Vec<Connection>,
    /// Of the editor with all that it started, since the sample before; 100 is one core.
    pub cpu_percent: f64,
    /// Changes whenever something is typed or printed at any terminal of the account.
    pub terminals: u64,
}

/// The last thing that showed that the editor is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// It came up, or the agent did.
    #[default]
    Start,
    /// A browser sent more than an open page does by itself.
    Traffic,
    /// Something was typed or printed at a terminal.
    Terminal,
    /// Something in it computes: a build, a test, a language server.
    Cpu,
}

/// Is the editor used? Only while `codeserver.idle_stop` is set and the editor is up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    #[schema(value_type = String)]
    pub last_active_at: WallTime,
    /// What was seen then.
    pub last_activity: Sign,
    /// Connections of browsers now, idle pages included.
    pub connections: usize,
    /// When it is stopped unless it is used before.
    #[schema(value_type = String)]
    pub idle_stop_at: WallTime,
}
