//! `zlh artifacts serve`: the composition root of the artifact server.
use super::{args::ServeArgs, desk::answer};
use crate::{
    cli::{agent::logging, failure::Failure},
    config::{self, Sources},
    host::{self, listener},
    http::{
        artifacts::{About, ArtifactsFace, Shelf},
        server,
    },
    model::{catalog::ArtifactPath, settings::artifacts::ArtifactsSettings},
};
use futures_util::future::{BoxFuture, FutureExt};
use std::{fs::Metadata, io, path::Path, sync::Arc, time::UNIX_EPOCH};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
};

pub fn run(store: &Path, args: &ServeArgs) -> Result<(), Failure> {
    logging::start(args.log_format);
    let settings = config::artifacts::load(&Sources::of_process(None, args.set.clone(), Vec::new()));
    let settings =
        settings.map_err(|faults| Failure::Configuration(faults.iter().map(ToString::to_string).collect()))?;
    let shelf = host::shelf::Shelf::open(store).map_err(|e| answer(format!("{}: {e}", store.display())))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(settings.runtime.worker_threads)
        .max_blocking_threads(settings.runtime.disk_threads)
        .enable_all()
        .build()?;
    runtime.block_on(serve(ArtifactsFace::new(Arc::new(Door(shelf))), args, &settings))
}

async fn serve(face: ArtifactsFace, args: &ServeArgs, settings: &ArtifactsSettings) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = listener::listen(args.listen).await.map_err(|e| answer(format!("{}: {e}", args.listen)))?;
    println!("listening artifacts http://{}", listener.local_addr()?);
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let traffic = face.traffic();
    let cut = server::serve(listener, face, &settings.limits.for_server(), traffic, told).await;
    if cut > 0 {
        tracing::info!(connections = cut, "connections were cut at the end of the drain");
    }
    Ok(())
}

/// The folder, asked on threads that may wait for the disk.
struct Door(host::shelf::Shelf);

impl Shelf for Door {
    fn open(&self, path: Option<ArtifactPath>) -> BoxFuture<'static, io::Result<(tokio::fs::File, About)>> {
        self.ask(move |shelf| {
            let (file, found) = shelf.file(path.as_ref())?;
            Ok((tokio::fs::File::from_std(file), about(&found)?))
        })
    }

    fn look(&self, path: Option<ArtifactPath>) -> BoxFuture<'static, io::Result<About>> {
        self.ask(move |shelf| shelf.file(path.as_ref()).and_then(|(_, found)| about(&found)))
    }

    fn list(&self, path: Option<ArtifactPath>) -> BoxFuture<'static, io::Result<Vec<(String, About)>>> {
        self.ask(move |shelf| {
            let named = |(name, found): (String, Metadata)| Ok((name, about(&found)?));
            shelf.list(path.as_ref())?.into_iter().map(named).collect()
        })
    }
}

impl Door {
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&host::shelf::Shelf) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, io::Result<T>> {
        let shelf = self.0.clone();
        async move { spawn_blocking(move || question(&shelf)).await.map_err(io::Error::other)? }.boxed()
    }
}

fn about(found: &Metadata) -> io::Result<About> {
    // A file from before 1970 has no place in a validator.
    let modified = found.modified()?.max(UNIX_EPOCH);
    Ok(About { folder: found.is_dir(), bytes: found.len(), modified })
}
