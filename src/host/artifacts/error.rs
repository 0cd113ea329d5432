//! Why something could not be fetched: the step, the address, the fault, the cure.
use crate::model::catalog::Digest;
use std::{fmt, time::Duration};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchStep {
    /// Setting up: addresses, certificates.
    Prepare,
    /// Connecting and asking.
    Ask,
    /// Taking the bytes.
    Transfer,
    /// Comparing with what was promised.
    Verify,
    /// Keeping the bytes on disk.
    Keep,
}

impl fmt::Display for FetchStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FetchStep::Prepare => "preparing to fetch",
            FetchStep::Ask => "asking for",
            FetchStep::Transfer => "fetching",
            FetchStep::Verify => "verifying",
            FetchStep::Keep => "keeping",
        })
    }
}

/// A fetch that failed for good: what passes by itself was tried again before.
#[derive(Debug, thiserror::Error)]
#[error("{step} {url}: {fault}{}", also(others.as_deref()))]
pub struct FetchError {
    pub step: FetchStep,
    /// Without a password.
    pub url: String,
    pub fault: Fault,
    /// Mirrors that were tried too, each with what was wrong there.
    pub others: Option<Box<Others>>,
}

/// Apart, so that an error stays small where nothing failed.
#[derive(Debug, Default)]
pub struct Others(Vec<String>);

fn also(others: Option<&Others>) -> String {
    others.into_iter().flat_map(|others| &others.0).map(|other| format!("; also tried {other}")).collect()
}

impl FetchError {
    pub(super) fn new(step: FetchStep, url: String, fault: Fault) -> FetchError {
        FetchError { step, url, fault, others: None }
    }

    /// The first of several is what a person can see to; the rest were only tried. `None` for no failure at all.
    pub(super) fn of_all(failures: Vec<FetchError>) -> Option<FetchError> {
        let mut failures = failures.into_iter();
        let mut first = failures.next()?;
        for other in failures {
            let others = &mut first.others.get_or_insert_default().0;
            others.push(format!("{}: {}", other.url, other.fault));
            others.extend(other.others.into_iter().flat_map(|others| others.0));
        }
        Some(first)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{0}; write it as http://host:port/ or https://host/")]
    Address(String),
    #[error("cannot be reached ({0}); check that the artifact server runs and that this machine gets there")]
    Unreachable(String),
    #[error("its TLS certificate is not accepted: {0}")]
    Certificate(String),
    #[error("is not there (404); check the catalog, or publish the file")]
    NotFound,
    #[error("the server answered {0}; look into the artifact server's log")]
    Status(u16),
    #[error("is a web page where a file was expected; a proxy or login page stands before the artifact server")]
    WebPage,
    #[error("the server encodes it ({0}), which changes its bytes; turn compression off for artifacts")]
    Encoded(String),
    #[error("redirects to {0}, which is neither the same host nor named in install.redirect_hosts")]
    Redirected(String),
    #[error("redirects too often; check the artifact server's configuration")]
    RedirectLoop,
    #[error("{size} bytes are more than the {most} that {setting} allows")]
    TooLarge { size: u64, most: u64, setting: &'static str },
    #[error("no byte came for {0:?} (install.stall); check the network and the artifact server")]
    Stalled(Duration),
    #[error("the connection ended after {at} of {of} bytes ({why}); check the artifact server, then try again")]
    Ended { at: u64, of: String, why: String },
    #[error("the server sent another part than was asked for ({0}); check the proxy before the artifact server")]
    WrongPart(String),
    #[error("the file changed on the server while it was fetched; try again when publishing is over")]
    Changed,
    #[error("{got} bytes, the catalog says {expected}; publish the file again or correct the catalog")]
    Size { expected: u64, got: u64 },
    #[error(
        "SHA-256 is {got}, {expected} was promised; nothing was installed. Publish the file again, or find out who changed it"
    )]
    Digest { expected: Digest, got: Digest },
    #[error("{0}; free some space or see to the file system")]
    Disk(std::io::Error),
    #[error("{0}")]
    Setup(String),
    #[error("was cancelled")]
    Cancelled,
}

impl Fault {
    /// May the same request succeed a little later?
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Fault::Unreachable(_) | Fault::Stalled(_) | Fault::Ended { .. } => true,
            Fault::Status(code) => matches!(code, 408 | 425 | 429 | 500..),
            _ => false,
        }
    }

    /// Would another address of the same file help?
    pub(in crate::host) fn is_local(&self) -> bool {
        matches!(self, Fault::Cancelled | Fault::Disk(_) | Fault::Setup(_))
    }
}
