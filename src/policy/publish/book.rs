//! One catalog file of a store, whichever of the three it is.
use super::target::Target;
use crate::{
    model::{
        catalog::{AgentManifest, DevCatalog, GameCatalog, GameEntry, Product, Stamp, paths},
        time::WallTime,
    },
    policy::catalog::read::{self, Dirt, Unreadable},
};

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    Dev,
    Games,
    Agents,
}

impl Document {
    pub const ALL: [Document; 3] = [Document::Dev, Document::Games, Document::Agents];

    /// Relative to the store.
    pub fn path(self) -> &'static str {
        match self {
            Document::Dev => paths::DEV_CATALOG,
            Document::Games => paths::GAME_CATALOG,
            Document::Agents => paths::AGENT_MANIFEST,
        }
    }
}

/// Its content.
#[derive(Clone, Debug, PartialEq)]
pub enum Book {
    Dev(DevCatalog),
    Games(GameCatalog),
    Agents(AgentManifest),
}

impl Book {
    pub fn empty(document: Document) -> Book {
        match document {
            Document::Dev => Book::Dev(DevCatalog::default()),
            Document::Games => Book::Games(GameCatalog::default()),
            Document::Agents => Book::Agents(AgentManifest::default()),
        }
    }

    /// What cannot be read would be lost by writing the book again: the caller decides about it.
    pub fn read(document: Document, bytes: &[u8]) -> Result<(Book, Vec<Dirt>), Unreadable> {
        Ok(match document {
            Document::Dev => read::dev(bytes).map(|found| (Book::Dev(found.catalog), found.warnings))?,
            Document::Games => read::games(bytes).map(|found| (Book::Games(found.catalog), found.warnings))?,
            Document::Agents => {
                read::agent_manifest(bytes).map(|found| (Book::Agents(found.catalog), found.warnings))?
            }
        })
    }

    /// As it is written into the store: for programs and for people with a pager.
    pub fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = match self {
            Book::Dev(book) => serde_json::to_vec_pretty(book)?,
            Book::Games(book) => serde_json::to_vec_pretty(book)?,
            Book::Agents(book) => serde_json::to_vec_pretty(book)?,
        };
        text.push(b'\n');
        Ok(text)
    }

    /// Every change makes it newer than all before, also where a clock went back.
    pub(super) fn renew(&mut self, now: WallTime) {
        let stamp = match self {
            Book::Dev(book) => &mut book.stamp,
            Book::Games(book) => &mut book.stamp,
            Book::Agents(book) => &mut book.stamp,
        };
        let generated_at = stamp.generated_at.map_or(now, |last| last.max(now));
        *stamp = Stamp { serial: Some(stamp.serial.unwrap_or(0) + 1), generated_at: Some(generated_at) };
    }

    /// Everything with versions in it, in the order of the file; the agent's own releases are no product.
    pub fn products(&self) -> Vec<(Target, &Product)> {
        let runtimes = |product: &Product| Target::Runtime(product.id.clone());
        match self {
            Book::Dev(book) => {
                let own = book.runtimes.iter().map(|product| (runtimes(product), product));
                own.chain(book.addons.iter().map(|product| (Target::Addon(product.id.clone()), product))).collect()
            }
            Book::Games(book) => {
                let variants = book.games.iter().flat_map(|game| {
                    let target =
                        |variant: &Product| Target::Variant { game: game.id.clone(), variant: variant.id.clone() };
                    game.variants.iter().map(move |variant| (target(variant), variant))
                });
                let java = book.runtimes.iter().filter(|product| product.id == "java");
                variants.chain(java.map(|product| (Target::GameJava, product))).collect()
            }
            Book::Agents(_) => Vec::new(),
        }
    }

    pub fn product(&self, target: &Target) -> Option<&Product> {
        self.products().into_iter().find(|(known, _)| known == target).map(|(_, product)| product)
    }

    /// Makes it if it is not there. `None` where the target does not belong into this book.
    pub(super) fn product_mut(&mut self, target: &Target) -> Option<&mut Product> {
        match (self, target) {
            (Book::Dev(book), Target::Runtime(id)) => Some(entry(&mut book.runtimes, id)),
            (Book::Dev(book), Target::Addon(id)) => Some(entry(&mut book.addons, id)),
            (Book::Games(book), Target::GameJava) => Some(entry(&mut book.runtimes, "java")),
            (Book::Games(book), Target::Variant { game, variant }) => {
                let at = book.games.iter().position(|entry| entry.id == *game).unwrap_or_else(|| {
                    book.games.push(GameEntry { id: game.clone(), ..GameEntry::default() });
                    book.games.len() - 1
                });
                Some(entry(&mut book.games[at].variants, variant))
            }
            _ => None,
        }
    }
}

fn entry<'a>(products: &'a mut Vec<Product>, id: &str) -> &'a mut Product {
    let at = products.iter().position(|product| product.id == id).unwrap_or_else(|| {
        products.push(Product { id: id.to_owned(), ..Product::default() });
        products.len() - 1
    });
    &mut products[at]
}
