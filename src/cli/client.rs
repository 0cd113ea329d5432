//! Client commands: one file a command, and the two ways to the agent (`agent`: requests, `feed`: the console).
pub mod agent;
pub mod backup;
pub mod codeserver;
pub mod command;
pub mod completions;
pub mod config;
pub mod console;
pub mod crashes;
pub mod cursor;
pub mod doctor;
pub mod feed;
mod http;
pub mod logs;
pub mod operations;
pub mod players;
pub mod power;
pub mod progress;
pub mod ready;
pub mod runtimes;
pub mod status;
pub mod update;
pub mod version;
pub mod wire;

use super::{
    args::{ClientArgs, ClientVerb},
    failure::Failure,
    show::look::Look,
    target::Target,
};
use crate::model::time::WallTime;
use agent::Agent;
use serde::de::DeserializeOwned;
use std::{io::Write, process::ExitCode};

/// What every command needs.
pub struct Session {
    pub agent: Agent,
    pub json: bool,
    pub look: Look,
}

impl Session {
    fn new(args: &ClientArgs) -> Result<Session, Failure> {
        let target = Target::resolve(args, config::local_token)?;
        Ok(Session { agent: Agent::new(target)?, json: args.json, look: Look::of_stdout() })
    }

    /// Reads `path` as `T`; `None` when `--json` has already printed it.
    pub async fn view<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, Failure> {
        let answer = self.agent.read(path).await?;
        if self.json {
            print_json(&answer.body)?;
            return Ok(None);
        }
        self.parse(&answer.body).map(Some)
    }

    pub fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        wire::parse(body).map_err(|e| self.agent.foreign(&e.to_string()))
    }

    pub fn parse_list<T: DeserializeOwned>(&self, body: &[u8]) -> Result<Vec<T>, Failure> {
        wire::parse_list(body).map_err(|e| self.agent.foreign(&e.to_string()))
    }
}

pub fn run(args: ClientArgs, verb: ClientVerb) -> ExitCode {
    match carry_out(&args, verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn carry_out(args: &ClientArgs, verb: ClientVerb) -> Result<(), Failure> {
    match verb {
        ClientVerb::Completions { shell } => print(&completions::script(shell)),
        ClientVerb::Config(verb) => config::show(args, verb),
        verb => {
            // One thread is enough for one client, and is up in a fraction of a millisecond.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let outcome = runtime.block_on(ask(args, verb));
            runtime.shutdown_background();
            outcome
        }
    }
}

async fn ask(args: &ClientArgs, verb: ClientVerb) -> Result<(), Failure> {
    let session = Session::new(args)?;
    match verb {
        ClientVerb::Status(args) if args.watch => status::watch(&session).await,
        ClientVerb::Status(_) => status::once(&session).await,
        ClientVerb::Ready => ready::show(&session).await,
        ClientVerb::Configure { file, wait } => power::configure(&session, &file, wait).await,
        ClientVerb::Start(wait) => power::start(&session, wait).await,
        ClientVerb::Stop(wait) => power::stop(&session, wait).await,
        ClientVerb::Restart(wait) => power::restart(&session, wait).await,
        ClientVerb::Kill(wait) => power::kill(&session, wait).await,
        ClientVerb::Console(args) => console::attach(&session, args).await,
        ClientVerb::Logs(args) => logs::show(&session, args).await,
        ClientVerb::Command { words } => command::send(&session, &words.join(" ")).await,
        ClientVerb::Crashes { id } => crashes::show(&session, id.as_deref()).await,
        ClientVerb::Players => players::show(&session).await,
        ClientVerb::Operations { id: Some(id), cancel: true } => operations::cancel(&session, &id).await,
        ClientVerb::Operations { id, .. } => operations::show(&session, id.as_deref()).await,
        ClientVerb::Runtimes(verb) => runtimes::carry_out(&session, verb).await,
        ClientVerb::Codeserver(verb) => codeserver::carry_out(&session, verb).await,
        ClientVerb::Backup(verb) => backup::carry_out(&session, verb).await,
        ClientVerb::Update(args) => update::carry_out(&session, args).await,
        ClientVerb::Doctor(args) => doctor::examine(&session, args).await,
        ClientVerb::Version => version::show(&session).await,
        // Handled without an agent by the caller.
        ClientVerb::Completions { .. } | ClientVerb::Config(_) => Ok(()),
    }
}

/// To standard output at once; a reader that went away is an error that ends the command quietly.
pub fn print(text: &str) -> Result<(), Failure> {
    write_out(text.as_bytes())
}

/// The agent's JSON unchanged, and a newline.
pub fn print_json(body: &[u8]) -> Result<(), Failure> {
    write_out(body)?;
    if body.ends_with(b"\n") || body.is_empty() { Ok(()) } else { print("\n") }
}

pub fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)?;
    Ok(out.flush()?)
}

/// Time for people; nothing is decided by it.
pub fn now() -> WallTime {
    WallTime(jiff::Timestamp::now().as_millisecond())
}

/// Does `given` name `id`: the whole, its beginning, or the end that tables show?
fn names(given: &str, id: &str) -> bool {
    !given.is_empty() && (id.starts_with(given) || id.ends_with(given))
}
