//! What the handlers may ask of the agent behind them: verbs of the workload and its console.
//!
//! Traits, so that the console of a dev shell can stand where a game's does, and so that tests need no processes.
use crate::{
    actors::game_server::{Accepted, Chunk, Console, Denied, GameServer, RunEnd},
    model::{
        console::{LogRange, News},
        snapshot::Players,
    },
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use std::{io, sync::Arc};
use tokio::sync::watch;

pub type Verdict = Result<Accepted, Denied>;

/// The verbs of a supervised workload; all answer within `limits.command_timeout`.
pub trait GameCommands: Send + Sync + 'static {
    fn configure(&self, body: serde_json::Value, holder: &'static str) -> BoxFuture<'_, Verdict>;
    fn start(&self, holder: &'static str) -> BoxFuture<'_, Verdict>;
    fn stop(&self, holder: &'static str) -> BoxFuture<'_, Verdict>;
    fn restart(&self, holder: &'static str) -> BoxFuture<'_, Verdict>;
    fn kill(&self, holder: &'static str) -> BoxFuture<'_, Verdict>;
    fn command(&self, line: String) -> BoxFuture<'_, Result<(), Denied>>;
    fn players(&self) -> BoxFuture<'_, Result<Option<Players>, Denied>>;
    fn console(&self) -> Arc<dyn ConsoleLog>;
}

impl GameCommands for GameServer {
    fn configure(&self, body: serde_json::Value, holder: &'static str) -> BoxFuture<'_, Verdict> {
        GameServer::configure(self, body, holder).boxed()
    }
    fn start(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        GameServer::start(self, holder).boxed()
    }
    fn stop(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        GameServer::stop(self, holder).boxed()
    }
    fn restart(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        GameServer::restart(self, holder).boxed()
    }
    fn kill(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        GameServer::kill(self, holder).boxed()
    }
    fn command(&self, line: String) -> BoxFuture<'_, Result<(), Denied>> {
        GameServer::command(self, line).boxed()
    }
    fn players(&self) -> BoxFuture<'_, Result<Option<Players>, Denied>> {
        GameServer::players(self).boxed()
    }
    fn console(&self) -> Arc<dyn ConsoleLog> {
        Arc::new(GameServer::console(self))
    }
}

/// One console: its kept output by absolute offset, and its input. See [`Console`].
pub trait ConsoleLog: Send + Sync + 'static {
    fn range(&self) -> LogRange;
    fn read(&self, from: u64, max: usize) -> BoxFuture<'_, io::Result<Chunk>>;
    fn news(&self) -> watch::Receiver<News>;
    fn ends(&self) -> watch::Receiver<Option<RunEnd>>;
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), Denied>>;
    fn resize(&self, columns: u16, rows: u16);
    fn size(&self) -> (u16, u16);
}

impl ConsoleLog for Console {
    fn range(&self) -> LogRange {
        Console::range(self)
    }
    fn read(&self, from: u64, max: usize) -> BoxFuture<'_, io::Result<Chunk>> {
        Console::read(self, from, max).boxed()
    }
    fn news(&self) -> watch::Receiver<News> {
        Console::news(self)
    }
    fn ends(&self) -> watch::Receiver<Option<RunEnd>> {
        Console::ends(self)
    }
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), Denied>> {
        Console::write(self, bytes).boxed()
    }
    fn resize(&self, columns: u16, rows: u16) {
        Console::resize(self, columns, rows);
    }
    fn size(&self) -> (u16, u16) {
        Console::size(self)
    }
}
