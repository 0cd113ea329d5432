//! The HTTP client of installs: addresses, trust, redirects, and failures in plain words.
use super::{Fault, FetchError, FetchStep, certificate};
use crate::model::settings::Install;
use reqwest::{Certificate, Client, redirect};
use std::{error::Error, fs};
use url::Url;

const MOST_REDIRECTS: usize = 5;

/// Parses the address of a folder; it ends with `/` from now on.
pub(super) fn base(text: &str) -> Result<Url, FetchError> {
    let mut url = file(text)?;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// Parses the address of a file.
pub(super) fn file(text: &str) -> Result<Url, FetchError> {
    let refused = |why: String| FetchError::new(FetchStep::Prepare, "the artifact server".into(), Fault::Address(why));
    let url = Url::parse(text).map_err(|e| refused(format!("this is no address ({e})")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refused("only http and https are spoken".into()));
    }
    Ok(url)
}

pub(super) fn no_address(base: &Url, path: &str, why: &str) -> FetchError {
    FetchError::new(FetchStep::Prepare, shown(base), Fault::Address(format!("{path:?} {why}")))
}

/// `path` below `base`, never beside it.
pub(super) fn beneath(base: &Url, path: &str) -> Result<Url, FetchError> {
    let refused = |why: &str| no_address(base, path, why);
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(refused("is no path below the artifact server"));
    }
    let mut url = base.clone();
    let mut parts = url.path_segments_mut().map_err(|()| refused("cannot be joined to this address"))?;
    parts.pop_if_empty().extend(path.split('/'));
    drop(parts);
    Ok(url)
}

/// As it may be printed.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for addresses without a host, which `base` does not let in.
    _ = url.set_password(None);
    _ = url.set_username("");
    url.set_query(None);
    url.to_string()
}

pub(super) fn client(base: &Url, install: &Install) -> Result<Client, FetchError> {
    let failed = |why: String| FetchError::new(FetchStep::Prepare, shown(base), Fault::Setup(why));
    // Fails only if one is installed already.
    _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("zlh/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(install.connect_timeout)
        .redirect(redirects(install.redirect_hosts.clone()))
        // An install is one request; a connection kept would belong to a thread that is gone.
        .pool_max_idle_per_host(0)
        .no_proxy();
    if let Some(file) = &install.ca_file {
        let told =
            |e: String| failed(format!("install.ca_file {}: {e}; name a PEM file with certificates", file.display()));
        let pem = fs::read(file).map_err(|e| told(e.to_string()))?;
        let authorities = Certificate::from_pem_bundle(&pem).map_err(|e| told(e.to_string()))?;
        if authorities.is_empty() {
            return Err(told("holds no certificate".into()));
        }
        builder = builder.tls_certs_merge(authorities);
    }
    builder.build().map_err(|e| failed(format!("the HTTP client cannot be set up: {}", chain(&e))))
}

/// To the same host and to those that are named, never from https back to http.
fn redirects(hosts: Vec<String>) -> redirect::Policy {
    redirect::Policy::custom(move |attempt| {
        let to = attempt.url().clone();
        let Some(from) = attempt.previous().last() else { return attempt.stop() };
        if attempt.previous().len() > MOST_REDIRECTS {
            return attempt.error(RefusedRedirect(None));
        }
        let same = to.host_str() == from.host_str();
        let named = to.host_str().is_some_and(|host| hosts.iter().any(|h| h.eq_ignore_ascii_case(host)));
        let weaker = from.scheme() == "https" && to.scheme() != "https";
        if (same || named) && !weaker { attempt.follow() } else { attempt.error(RefusedRedirect(Some(shown(&to)))) }
    })
}

/// `None`: there were too many.
#[derive(Debug, thiserror::Error)]
#[error("the redirect was refused")]
struct RefusedRedirect(Option<String>);

/// What a failed request means.
pub(super) fn fault(error: &reqwest::Error) -> Fault {
    if let Some(refused) = find::<RefusedRedirect>(error) {
        return match &refused.0 {
            Some(to) => Fault::Redirected(to.clone()),
            None => Fault::RedirectLoop,
        };
    }
    match certificate::complaint(error) {
        Some(why) => Fault::Certificate(why),
        None => Fault::Unreachable(chain(error)),
    }
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The innermost reason: what is above it only repeats the URL.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(inner) = innermost.source() {
        innermost = inner;
    }
    innermost.to_string()
}
