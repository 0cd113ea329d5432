//! The artifact server's face: files of one folder, to read only. Nobody is asked who they are: everything is public.
//!
//! Ranges, validators and conditions are tower-http's (RFC 9110); what it lacks is added here: `If-Range`, folder
//! listings, and that nothing hidden and nothing outside the folder can be named ([`Shelf`] opens what is asked for).
mod files;
mod listing;

use super::{
    Response,
    problem::Code,
    server::{
        Traffic,
        connection::{Answer, Connection, Face},
    },
};
use crate::model::catalog::ArtifactPath;
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::IntoResponse,
};
pub use files::{About, Shelf};
use files::{FromShelf, Missing};
use hyper::body::Incoming;
use std::{io, sync::Arc};
use tower::ServiceExt;
use tower_http::services::ServeDir;

/// Bytes read from disk at a time.
const CHUNK: usize = 256 << 10;

/// Answers requests for files of one shelf.
#[derive(Clone)]
pub struct ArtifactsFace {
    shelf: Arc<dyn Shelf>,
    files: ServeDir<Missing, FromShelf>,
    traffic: Arc<Traffic>,
}

impl ArtifactsFace {
    pub fn new(shelf: Arc<dyn Shelf>) -> ArtifactsFace {
        let files = ServeDir::with_backend("", FromShelf(shelf.clone()))
            .append_index_html_on_directories(false)
            .redirect_to_trailing_slash(false)
            .with_buf_chunk_size(CHUNK)
            .ignore_multi_range_requests(true)
            .fallback(Missing);
        ArtifactsFace { shelf, files, traffic: Arc::new(Traffic::default()) }
    }

    pub fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }

    async fn respond(self, request: Request) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let refusal = Code::METHOD_NOT_ALLOWED.because("Artifacts are only read: GET or HEAD.").into_response();
            return with(refusal, header::ALLOW, "GET, HEAD");
        }
        let Some(wanted) = Wanted::of(request.uri()) else { return missing() };
        match self.shelf.look(wanted.path.clone()).await {
            Ok(about) if about.folder && wanted.as_folder => self.listing(wanted.path, request.method()).await,
            Ok(about) if about.folder => redirect(request.uri()),
            // `file/` is no folder.
            Ok(_) if wanted.as_folder => missing(),
            Ok(_) => self.file(request).await,
            Err(e) => refusal(&e),
        }
    }

    async fn listing(self, path: Option<ArtifactPath>, method: &Method) -> Response {
        match self.shelf.list(path.clone()).await {
            Ok(entries) => {
                let page = listing::page(path.as_ref(), &entries);
                let length = page.len().to_string();
                let body = if method == Method::HEAD { Body::empty() } else { Body::from(page) };
                let page = with(body.into_response(), header::CONTENT_TYPE, "text/html; charset=utf-8");
                let page = with(page, header::CACHE_CONTROL, "no-cache");
                with(page, header::CONTENT_LENGTH, &length)
            }
            Err(e) => refusal(&e),
        }
    }

    async fn file(self, mut request: Request) -> Response {
        let uri = request.uri().clone();
        if let Some(condition) = request.headers_mut().remove(header::IF_RANGE)
            && request.headers().contains_key(header::RANGE)
            && !self.is_still(&uri, &condition).await
        {
            // What the client has is of another file: it gets this one whole (RFC 9110 §13.1.5).
            request.headers_mut().remove(header::RANGE);
        }
        let response = match self.files.oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        };
        if response.status() == StatusCode::NOT_FOUND {
            return missing(); // it went away since it was looked at
        }
        // Catalogs change in place; files of a version never do, but a cache shall ask rather than believe.
        with(with(response, header::CACHE_CONTROL, "no-cache"), header::X_CONTENT_TYPE_OPTIONS, "nosniff")
    }

    async fn is_still(&self, uri: &Uri, condition: &HeaderValue) -> bool {
        let mut head = Request::new(Body::empty());
        (*head.method_mut(), *head.uri_mut()) = (Method::HEAD, uri.clone());
        let now = match self.files.clone().oneshot(head).await {
            Ok(response) => response.headers().clone(),
            Err(never) => match never {},
        };
        let same = |now: &HeaderMap, name: HeaderName| now.get(name) == Some(condition);
        same(&now, header::ETAG) || same(&now, header::LAST_MODIFIED)
    }
}

impl Face for ArtifactsFace {
    fn answer(&self, _: &Arc<Connection>, request: hyper::Request<Incoming>) -> Answer {
        let (face, request) = (self.clone(), request.map(Body::new));
        Answer::Later(Box::pin(async move {
            let (method, uri) = (request.method().clone(), request.uri().clone());
            let response = face.respond(request).await;
            tracing::debug!(%method, path = uri.path(), status = response.status().as_u16(), "artifact");
            response
        }))
    }
}

/// What a URL names.
struct Wanted {
    /// `None`: the top.
    path: Option<ArtifactPath>,
    as_folder: bool,
}

impl Wanted {
    /// `None` for what no artifact can be called: hidden names, `..`, odd characters, also when written with `%`.
    fn of(uri: &Uri) -> Option<Wanted> {
        let path = percent_encoding::percent_decode_str(uri.path()).decode_utf8().ok()?;
        let inner = path.strip_prefix('/')?;
        let as_folder = inner.is_empty() || inner.ends_with('/');
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let path = if inner.is_empty() { None } else { Some(inner.parse().ok()?) };
        Some(Wanted { path, as_folder })
    }
}

fn missing() -> Response {
    Code::NOT_FOUND.because("There is no such file.").into_response()
}

fn refusal(error: &io::Error) -> Response {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => missing(),
        io::ErrorKind::PermissionDenied => Code::NOT_FOUND.because("The file may not be read.").into_response(),
        _ => {
            tracing::error!(%error, "an artifact cannot be read");
            Code::INTERNAL.because("The file cannot be read; the server's log says why.").into_response()
        }
    }
}

fn redirect(uri: &Uri) -> Response {
    // Relative to this server whatever the path begins with: `//evil` would be another host.
    let location = format!("/{}/", uri.path().trim_matches('/'));
    with(StatusCode::MOVED_PERMANENTLY.into_response(), header::LOCATION, &location)
}

fn with(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
