//! RuntimeCatalog: what the artifact server offers for dev containers, as the portal shows it; read again when it is old.
use crate::{
    host::artifacts::{ArtifactServer, FetchError},
    model::catalog::{Product, paths},
    policy::catalog::read::{Unreadable, dev},
};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// So long a catalog is shown without looking again.
const FRESH: Duration = Duration::from_secs(10);
/// Larger documents are no catalogs.
const LARGEST: u64 = 4 << 20;

/// What can be installed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Offer {
    pub runtimes: Vec<Offered>,
    pub addons: Vec<Offered>,
    /// What in the catalog could not be used.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offered {
    pub id: String,
    pub versions: Vec<String>,
    /// The promoted version of each channel.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub current: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum NoOffer {
    #[error("no artifact server is named; set artifacts_url")]
    NoServer,
    #[error("{0}")]
    Fetch(#[from] FetchError),
    #[error("the artifact server has no {}", paths::DEV_CATALOG)]
    Missing,
    #[error("{path}: {0}", path = paths::DEV_CATALOG)]
    Unreadable(#[from] Unreadable),
}

/// When it was read, and what it said.
type Read = (Instant, Arc<Offer>);

/// Clones share one state.
#[derive(Clone)]
pub struct RuntimeCatalog {
    server: Option<ArtifactServer>,
    last: Arc<Mutex<Option<Read>>>,
}

impl RuntimeCatalog {
    pub fn new(server: Option<ArtifactServer>) -> RuntimeCatalog {
        RuntimeCatalog { server, last: Arc::default() }
    }

    /// Who asks while another waits for the server gets the same answer.
    pub async fn offer(&self) -> Result<Arc<Offer>, NoOffer> {
        let server = self.server.as_ref().ok_or(NoOffer::NoServer)?;
        let mut last = self.last.lock().await;
        if let Some((at, offer)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(offer.clone());
        }
        let document = server.document(paths::DEV_CATALOG, LARGEST).await?.ok_or(NoOffer::Missing)?;
        let reading = dev(&document.bytes)?;
        let offer = Arc::new(Offer {
            runtimes: reading.catalog.runtimes.iter().map(offered).collect(),
            addons: reading.catalog.addons.iter().map(offered).collect(),
            warnings: reading.warnings.iter().map(ToString::to_string).collect(),
        });
        *last = Some((Instant::now(), offer.clone()));
        Ok(offer)
    }
}

fn offered(product: &Product) -> Offered {
    Offered {
        id: product.id.clone(),
        versions: product.versions.iter().map(|release| release.version.clone()).collect(),
        current: product.current.clone(),
    }
}
