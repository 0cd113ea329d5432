//! The seam to the disk, and its form as tower-http wants it.
use super::Response;
use crate::model::catalog::ArtifactPath;
use axum::{body::Body, extract::Request, http::StatusCode, response::IntoResponse};
use futures_util::future::{BoxFuture, FutureExt, Ready, ready};
use std::{
    convert::Infallible,
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tower_http::services::fs::{Backend, File, Metadata};

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    pub folder: bool,
    pub bytes: u64,
    pub modified: SystemTime,
}

/// The folder that is served. `None` as a path is its top; what lies outside it is not there.
pub trait Shelf: Send + Sync + 'static {
    fn open(&self, path: Option<ArtifactPath>) -> BoxFuture<'static, io::Result<(tokio::fs::File, About)>>;
    fn look(&self, path: Option<ArtifactPath>) -> BoxFuture<'static, io::Result<About>>;
    fn list(&self, path: Option<ArtifactPath>) -> BoxFuture<'static, io::Result<Vec<(String, About)>>>;
}

#[derive(Clone)]
pub struct FromShelf(pub Arc<dyn Shelf>);

/// tower-http puts `./` before what was asked for.
fn parsed(path: PathBuf) -> io::Result<Option<ArtifactPath>> {
    let path = path.strip_prefix(".").unwrap_or(&path).to_str().and_then(|path| path.parse().ok());
    path.map(Some).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Backend for FromShelf {
    type File = Opened;
    type Metadata = About;
    type OpenFuture = BoxFuture<'static, io::Result<Opened>>;
    type MetadataFuture = BoxFuture<'static, io::Result<About>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let shelf = self.0.clone();
        async move {
            let (file, about) = shelf.open(parsed(path)?).await?;
            Ok(Opened { file, about })
        }
        .boxed()
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let shelf = self.0.clone();
        async move { shelf.look(parsed(path)?).await }.boxed()
    }
}

pub struct Opened {
    file: tokio::fs::File,
    about: About,
}

impl AsyncRead for Opened {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(cx, buffer)
    }
}

impl AsyncSeek for Opened {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(cx)
    }
}

impl File for Opened {
    type Metadata = About;
    type MetadataFuture<'a> = Ready<io::Result<About>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.about))
    }
}

impl Metadata for About {
    fn is_dir(&self) -> bool {
        self.folder
    }

    fn modified(&self) -> io::Result<SystemTime> {
        Ok(self.modified)
    }

    fn len(&self) -> u64 {
        self.bytes
    }
}

/// Answers for what the backend does not have.
#[derive(Clone)]
pub struct Missing;

impl tower::Service<Request> for Missing {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        ready(Ok((StatusCode::NOT_FOUND, Body::empty()).into_response()))
    }
}
