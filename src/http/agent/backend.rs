//! What the handlers may ask of the agent behind them: verbs of the workload, its console, and the installer.
//!
//! Traits, so that the console of a dev shell can stand where a game's does, and so that tests need no processes.
use crate::{
    actors::{
        backup::PuttingBack,
        container::{Container, Kept, Place},
        game_server::{Accepted, Chunk, Console, Denied, RunEnd},
        installer::{self, Installer, Stock, workshop::Available},
        terminal::{Desk, Seat},
        updater::Updater,
    },
    model::{
        backup::{Backup, BackupId, Backups},
        console::{LogRange, News},
        container::Kind,
        ids::OperationId,
        install::{Family, Shelf, Wanted},
        snapshot::Players,
        update::Standing,
    },
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use std::{io, sync::Arc};
use tokio::sync::watch;

pub type Verdict = Result<Accepted, Denied>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditorVerb {
    Start,
    Stop,
    Restart,
}

/// The verbs of backups; orders are answered within `limits.command_timeout`, their work goes on behind.
pub trait BackupCommands: Send + Sync + 'static {
    /// Newest first.
    fn backups(&self, kind: Kind) -> BoxFuture<'_, Result<Backups, Denied>>;
    /// The operation, and the id that the backup will have.
    fn back_up(&self, kind: Kind, holder: &'static str) -> BoxFuture<'_, Result<(OperationId, BackupId), Denied>>;
    fn put_back(&self, kind: Kind, id: BackupId, holder: &'static str) -> BoxFuture<'_, Result<PuttingBack, Denied>>;
    fn verify_backup(
        &self,
        kind: Kind,
        id: BackupId,
        holder: &'static str,
    ) -> BoxFuture<'_, Result<OperationId, Denied>>;
    fn delete_backup(
        &self,
        kind: Kind,
        id: BackupId,
        holder: &'static str,
    ) -> BoxFuture<'_, Result<OperationId, Denied>>;
    /// `None`: it is no operation on backups.
    fn cancel_backup(&self, operation: OperationId) -> BoxFuture<'_, Option<Result<(), Denied>>>;
    /// Resolves with the operation's end.
    fn backup_outcome(&self, operation: OperationId) -> BoxFuture<'_, Result<(), String>>;
    fn backup(&self, kind: Kind, id: &BackupId) -> Option<Backup>;
}

impl BackupCommands for Container {
    fn backups(&self, kind: Kind) -> BoxFuture<'_, Result<Backups, Denied>> {
        self.backups.list(kind).boxed()
    }
    fn back_up(&self, kind: Kind, holder: &'static str) -> BoxFuture<'_, Result<(OperationId, BackupId), Denied>> {
        Container::back_up(self, kind, holder).boxed()
    }
    fn put_back(&self, kind: Kind, id: BackupId, holder: &'static str) -> BoxFuture<'_, Result<PuttingBack, Denied>> {
        async move { Container::put_back(self, kind, &id, holder).await }.boxed()
    }
    fn verify_backup(
        &self,
        kind: Kind,
        id: BackupId,
        holder: &'static str,
    ) -> BoxFuture<'_, Result<OperationId, Denied>> {
        async move { self.backups.verify(kind, &id, holder).await }.boxed()
    }
    fn delete_backup(
        &self,
        kind: Kind,
        id: BackupId,
        holder: &'static str,
    ) -> BoxFuture<'_, Result<OperationId, Denied>> {
        async move { self.backups.delete(kind, &id, holder).await }.boxed()
    }
    fn cancel_backup(&self, operation: OperationId) -> BoxFuture<'_, Option<Result<(), Denied>>> {
        async move { self.backups.cancel(&operation).await }.boxed()
    }
    fn backup_outcome(&self, operation: OperationId) -> BoxFuture<'_, Result<(), String>> {
        async move { self.backups.outcome(&operation).await }.boxed()
    }
    fn backup(&self, kind: Kind, id: &BackupId) -> Option<Backup> {
        self.backups.find(kind, id)
    }
}

/// The verbs of a supervised workload; all answer within `limits.command_timeout`.
pub trait GameCommands: BackupCommands {
    fn configure(&self, body: serde_json::Value, holder: &'static str) -> BoxFuture<'_, Verdict>;
    fn start(&self, holder: &'static str) -> BoxFuture<'_, Verdict>;
    fn stop(&self, holder: &'static str) -> BoxFuture<'_, Verdict>;
    fn restart(&self, holder: &'static str) -> BoxFuture<'_, Verdict>;
    fn kill(&self, holder: &'static str) -> BoxFuture<'_, Verdict>;
    /// The verbs of the editor in a dev container.
    fn editor(&self, verb: EditorVerb, holder: &'static str) -> BoxFuture<'_, Verdict>;
    /// What the editor has printed.
    fn editor_output(&self) -> Arc<dyn KeptOutput>;
    fn command(&self, line: String) -> BoxFuture<'_, Result<(), Denied>>;
    fn players(&self) -> BoxFuture<'_, Result<Option<Players>, Denied>>;
    /// May something be asked for that only containers of this kind have?
    fn admits(&self, needed: Kind) -> Result<(), Denied>;
    /// A viewer's place at the console, or at the shell of this session, which is started if there is none.
    fn attach(&self, session: Option<String>) -> BoxFuture<'_, Result<Arc<dyn ConsoleLog>, Denied>>;
    /// The same for reading only; nothing is started.
    fn kept(&self, session: Option<&str>) -> Result<Arc<dyn KeptOutput>, Denied>;
}

impl GameCommands for Container {
    fn configure(&self, body: serde_json::Value, holder: &'static str) -> BoxFuture<'_, Verdict> {
        Container::configure(self, body, holder).boxed()
    }
    fn start(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        Container::start(self, holder).boxed()
    }
    fn stop(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        Container::stop(self, holder).boxed()
    }
    fn restart(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        Container::restart(self, holder).boxed()
    }
    fn kill(&self, holder: &'static str) -> BoxFuture<'_, Verdict> {
        self.game.kill(holder).boxed()
    }
    fn editor(&self, verb: EditorVerb, holder: &'static str) -> BoxFuture<'_, Verdict> {
        match verb {
            EditorVerb::Start => self.code_server.start(holder).boxed(),
            EditorVerb::Stop => self.code_server.stop(holder).boxed(),
            EditorVerb::Restart => self.code_server.restart(holder).boxed(),
        }
    }
    fn editor_output(&self) -> Arc<dyn KeptOutput> {
        Arc::new(self.code_server.console())
    }
    fn command(&self, line: String) -> BoxFuture<'_, Result<(), Denied>> {
        self.game.command(line).boxed()
    }
    fn players(&self) -> BoxFuture<'_, Result<Option<Players>, Denied>> {
        self.game.players().boxed()
    }
    fn admits(&self, needed: Kind) -> Result<(), Denied> {
        Container::admits(self, needed)
    }
    fn attach(&self, session: Option<String>) -> BoxFuture<'_, Result<Arc<dyn ConsoleLog>, Denied>> {
        async move {
            Ok(match Container::attach(self, session.as_deref()).await? {
                Place::Game(console) => Arc::new(console) as Arc<dyn ConsoleLog>,
                Place::Shell(seat) => Arc::new(seat),
            })
        }
        .boxed()
    }
    fn kept(&self, session: Option<&str>) -> Result<Arc<dyn KeptOutput>, Denied> {
        Ok(match Container::kept(self, session)? {
            Kept::Game(console) => Arc::new(console) as Arc<dyn KeptOutput>,
            Kept::Shell(desk) => desk,
        })
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

/// The agent's updates of itself; orders are answered within `limits.command_timeout`, their work goes on behind.
pub trait UpdateCommands: Send + Sync + 'static {
    fn standing(&self) -> Standing;
    fn check(&self) -> BoxFuture<'_, Result<Standing, Denied>>;
    /// `None`: what the channel promotes.
    fn update(&self, version: Option<String>) -> BoxFuture<'_, Result<Standing, Denied>>;
}

impl UpdateCommands for Updater {
    fn standing(&self) -> Standing {
        Updater::standing(self)
    }
    fn check(&self) -> BoxFuture<'_, Result<Standing, Denied>> {
        Updater::check(self).boxed()
    }
    fn update(&self, version: Option<String>) -> BoxFuture<'_, Result<Standing, Denied>> {
        Updater::update(self, version).boxed()
    }
}

/// What is kept of one console's output, by absolute offset.
pub trait KeptOutput: Send + Sync + 'static {
    fn range(&self) -> LogRange;
    fn read(&self, from: u64, max: usize) -> BoxFuture<'_, io::Result<Chunk>>;
}

/// One viewer's access to a console: its output as it grows, and its input. See [`Console`] and [`Seat`].
pub trait ConsoleLog: KeptOutput {
    fn news(&self) -> watch::Receiver<News>;
    fn ends(&self) -> watch::Receiver<Option<RunEnd>>;
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), Denied>>;
    fn resize(&self, columns: u16, rows: u16);
    fn size(&self) -> (u16, u16);
    /// Does it limit its viewers itself?
    fn counts_viewers(&self) -> bool;
}

impl KeptOutput for Console {
    fn range(&self) -> LogRange {
        Console::range(self)
    }
    fn read(&self, from: u64, max: usize) -> BoxFuture<'_, io::Result<Chunk>> {
        Console::read(self, from, max).boxed()
    }
}

impl ConsoleLog for Console {
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
    fn counts_viewers(&self) -> bool {
        false
    }
}

impl KeptOutput for Desk {
    fn range(&self) -> LogRange {
        Desk::range(self)
    }
    fn read(&self, from: u64, max: usize) -> BoxFuture<'_, io::Result<Chunk>> {
        Desk::read(self, from, max).boxed()
    }
}

impl KeptOutput for Seat {
    fn range(&self) -> LogRange {
        self.desk.range()
    }
    fn read(&self, from: u64, max: usize) -> BoxFuture<'_, io::Result<Chunk>> {
        self.desk.read(from, max).boxed()
    }
}

impl ConsoleLog for Seat {
    fn news(&self) -> watch::Receiver<News> {
        Seat::news(self)
    }
    fn ends(&self) -> watch::Receiver<Option<RunEnd>> {
        Seat::ends(self)
    }
    fn write(&self, bytes: Bytes) -> BoxFuture<'_, Result<(), Denied>> {
        Seat::write(self, bytes).boxed()
    }
    fn resize(&self, columns: u16, rows: u16) {
        Seat::resize(self, columns, rows);
    }
    fn size(&self) -> (u16, u16) {
        Seat::size(self)
    }
    fn counts_viewers(&self) -> bool {
        true
    }
}
