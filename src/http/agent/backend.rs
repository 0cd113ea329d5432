//! What the handlers may ask of the agent behind them: verbs of the workload, its console, and the installer.
//!
//! Traits, so that the console of a dev shell can stand where a game's does, and so that tests need no processes.
use crate::{
    actors::{
        game_server::{Accepted, Chunk, Console, Denied, GameServer, RunEnd},
        installer::{self, Installer, Stock, workshop::Available},
    },
    model::{
        console::{LogRange, News},
        ids::OperationId,
        install::{Family, Shelf, Wanted},
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

pub type Ordered = Result<installer::Accepted, Denied>;

/// The verbs of the installer, for runtimes; all answer within `limits.command_timeout`, their work goes on behind.
pub trait RuntimeCommands: Send + Sync + 'static {
    fn stock(&self) -> BoxFuture<'_, Result<Vec<Stock>, Denied>>;
    fn available(&self) -> BoxFuture<'_, Result<Vec<Available>, String>>;
    fn ensure(&self, wanted: Wanted, activate: bool, holder: &'static str) -> BoxFuture<'_, Ordered>;
    fn activate(&self, runtime: String, version: String, holder: &'static str) -> BoxFuture<'_, Ordered>;
    fn rollback(&self, runtime: String, holder: &'static str) -> BoxFuture<'_, Ordered>;
    fn remove(&self, runtime: String, version: String, holder: &'static str) -> BoxFuture<'_, Ordered>;
    /// `None`: the active version.
    fn verify(&self, runtime: String, version: Option<String>, holder: &'static str) -> BoxFuture<'_, Ordered>;
    /// `None`: the active version.
    fn repair(&self, runtime: String, version: Option<String>, holder: &'static str) -> BoxFuture<'_, Ordered>;
    fn collect(&self, holder: &'static str) -> BoxFuture<'_, Ordered>;
    fn cancel(&self, operation: OperationId) -> BoxFuture<'_, Ordered>;
}

impl RuntimeCommands for Installer {
    fn stock(&self) -> BoxFuture<'_, Result<Vec<Stock>, Denied>> {
        Installer::stock(self, |family| family.shelf == Shelf::Runtimes).boxed()
    }
    fn available(&self) -> BoxFuture<'_, Result<Vec<Available>, String>> {
        Installer::available(self).boxed()
    }
    fn ensure(&self, wanted: Wanted, activate: bool, holder: &'static str) -> BoxFuture<'_, Ordered> {
        Installer::ensure(self, wanted, activate, holder).boxed()
    }
    fn activate(&self, runtime: String, version: String, holder: &'static str) -> BoxFuture<'_, Ordered> {
        Installer::activate(self, Family::runtime(&runtime).version(&version), holder).boxed()
    }
    fn rollback(&self, runtime: String, holder: &'static str) -> BoxFuture<'_, Ordered> {
        Installer::rollback(self, Family::runtime(&runtime), holder).boxed()
    }
    fn remove(&self, runtime: String, version: String, holder: &'static str) -> BoxFuture<'_, Ordered> {
        Installer::remove(self, Family::runtime(&runtime).version(&version), holder).boxed()
    }
    fn verify(&self, runtime: String, version: Option<String>, holder: &'static str) -> BoxFuture<'_, Ordered> {
        Installer::verify(self, Family::runtime(&runtime), version, holder).boxed()
    }
    fn repair(&self, runtime: String, version: Option<String>, holder: &'static str) -> BoxFuture<'_, Ordered> {
        Installer::repair(self, Family::runtime(&runtime), version, holder).boxed()
    }
    fn collect(&self, holder: &'static str) -> BoxFuture<'_, Ordered> {
        Installer::collect(self, holder).boxed()
    }
    fn cancel(&self, operation: OperationId) -> BoxFuture<'_, Ordered> {
        Installer::cancel(self, operation).boxed()
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
