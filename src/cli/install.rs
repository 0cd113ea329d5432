//! `zlh install`: one archive from a URL into a folder, by the same engine that the agent uses. For benches and first aid.
use super::{args::InstallArgs, failure::Failure};
use crate::{
    host::{
        artifacts::{ArtifactServer, Cache},
        install::{Job, Label, Placed, Strip, empty_trash, stage, sweep},
        store::Durability,
    },
    model::settings::Install,
};
use std::{fmt::Display, io, path::Path, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub fn run(args: InstallArgs) -> ExitCode {
    match carry_out(args) {
        Ok(placed) => {
            let of = &placed.installed;
            println!("{}: {} files, {} bytes, SHA-256 {}", placed.root.display(), of.files, of.bytes, of.sha256);
            ExitCode::SUCCESS
        }
        Err(failure) => failure.report(),
    }
}

fn carry_out(args: InstallArgs) -> Result<Placed, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        let (mut interrupt, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let asked = cancel.clone();
        let work = tokio::task::spawn_blocking(move || install(&args, &asked));
        tokio::pin!(work);
        let done = tokio::select! {
            done = &mut work => done,
            _ = interrupt.recv() => { cancel.cancel(); work.await }
            _ = term.recv() => { cancel.cancel(); work.await }
        };
        done.map_err(io::Error::other)?
    })
}

fn install(args: &InstallArgs, cancel: &CancellationToken) -> Result<Placed, Failure> {
    let (base, file) = args.url.rsplit_once('/').ok_or_else(|| Failure::Usage("--url names no file".into()))?;
    let server = ArtifactServer::new(base, &[], &Install::default()).map_err(answer)?;
    let artifact = server.artifact(file, args.sha256, None).map_err(answer)?;
    let cache = args.cache.as_ref().map(Cache::open).transpose()?;
    let target = std::path::absolute(&args.into)?;
    let parent = target.parent().unwrap_or(Path::new("/"));
    sweep(parent)?;
    let staged = stage(&Job {
        server: &server,
        cache: cache.as_ref(),
        artifact: &artifact,
        target: &target,
        label: Label { id: file.to_owned(), version: String::new() },
        strip: args.strip.map_or(Strip::Auto, Strip::Levels),
        owner: None,
        cancel,
        watch: &|_| (),
    });
    let durability = if args.no_sync { Durability::Process } else { Durability::Machine };
    let placed = staged.map_err(answer)?.activate(durability).map_err(answer)?;
    if let Some(cache) = &cache {
        cache.trim(server.install().cache_bytes)?;
    }
    empty_trash(parent, || cancel.is_cancelled())?;
    Ok(placed)
}

fn answer(error: impl Display) -> Failure {
    Failure::Answer(error.to_string())
}
