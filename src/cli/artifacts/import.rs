//! `zlh artifacts import`: asks an upstream's release pages, fetches what they name, checks it, publishes it.
use super::{
    add::{self, Offer},
    args::ImportArgs,
    desk::{Desk, answer},
};
use crate::{
    cli::{
        client::{now, progress::Progress},
        failure::Failure,
    },
    host::{
        artifact_store::{Incoming, digest_of, sha512_of},
        upstream::Upstream,
    },
    model::catalog::Release,
    policy::publish::upstream::{self, Asset, Checksum, Next},
};
use serde_json::json;
use std::io::Seek;

/// Questions asked of one upstream before it is given up.
const MOST_QUESTIONS: usize = 5;

pub fn run(desk: &Desk, args: &ImportArgs) -> Result<(), Failure> {
    if args.contact.is_none() && args.from.is_none() && upstream::wants_contact(&args.target) {
        let why = "PaperMC answers only who says how to be reached: --contact MAIL, or ZLH_CONTACT";
        return Err(Failure::Usage(why.into()));
    }
    let upstream = Upstream::new(args.contact.as_deref())?;
    let asset = found(&upstream, args)?;
    let known = known(desk, args, &asset)?;
    if args.dry_run {
        let what = if known.is_some() { "is published already; it lies at" } else { "would be fetched from" };
        let line = format!("{} {} {what} {}", args.target, asset.version, asset.url);
        let target = args.target.to_string();
        let json = json!({"target": target, "version": asset.version, "url": asset.url, "published": known.is_some()});
        return desk.say(&line, &json);
    }
    if let Some(release) = known {
        return add::again(desk, &args.target, &release, args.promote.as_deref());
    }
    let mut incoming = desk.store.lock().map_err(answer)?.incoming().map_err(answer)?;
    fetch(&upstream, &asset, &mut incoming, desk.json)?;
    check(&asset, &incoming)?;
    let offer = Offer {
        target: &args.target,
        version: &asset.version,
        channel: None,
        promote: args.promote.as_deref(),
        released_at: asset.released_at.unwrap_or_else(now),
        incoming,
    };
    add::publish(desk, offer)
}

fn found(pages: &Upstream, args: &ImportArgs) -> Result<Asset, Failure> {
    let mut query = upstream::begin(&args.target, &args.version, args.from.as_deref()).map_err(answer)?;
    for _ in 0..MOST_QUESTIONS {
        let body = pages.page(&query.url).map_err(answer)?;
        match query.answered(body.as_deref()).map_err(answer)? {
            Next::Ask(next) => query = next,
            Next::Take(asset) => return Ok(asset),
        }
    }
    Err(answer("the upstream leads in circles"))
}

/// The release as it is published already, if its file is there and is what the upstream offers: then there is nothing
/// to fetch. What differs goes the long way and is refused there, by both hashes.
fn known(desk: &Desk, args: &ImportArgs, asset: &Asset) -> Result<Option<Release>, Failure> {
    let Some((book, _)) = desk.book(args.target.document())? else { return Ok(None) };
    let release = book.product(&args.target).and_then(|product| product.release(&asset.version)).cloned();
    let Some(release) = release else { return Ok(None) };
    let Some(path) = &release.path else { return Ok(None) };
    let Some((mut file, _)) = desk.store.file(path).map_err(answer)? else { return Ok(None) };
    let found = digest_of(&mut file)?;
    let same = match &asset.checksum {
        Checksum::Sha256(expected) => *expected == found,
        Checksum::Sha512(expected) => {
            file.rewind()?;
            *expected == sha512_of(&mut file)?
        }
    };
    Ok((same && release.sha256 == Some(found)).then_some(release))
}

fn fetch(pages: &Upstream, asset: &Asset, incoming: &mut Incoming, silent: bool) -> Result<(), Failure> {
    let mut progress = Progress::begin(&format!("fetching {}", asset.url), silent);
    let watch = |at: u64, total: Option<u64>| {
        let tenth = total.and_then(|total| (at * 10).checked_div(total));
        tenth.into_iter().for_each(|tenth| progress.step(&format!("fetching {} %", tenth.min(10) * 10)));
    };
    pages.file(&asset.url, incoming, watch).map_err(answer)
}

fn check(asset: &Asset, incoming: &Incoming) -> Result<(), Failure> {
    let same = match &asset.checksum {
        Checksum::Sha256(expected) => *expected == incoming.digest(),
        Checksum::Sha512(expected) => *expected == sha512_of(&mut incoming.reopen()?)?,
    };
    let sized = asset.size.is_none_or(|size| size == incoming.size());
    if same && sized {
        return Ok(());
    }
    let found = format!("{} bytes, SHA-256 {}", incoming.size(), incoming.digest());
    Err(answer(format!("{} is not what its upstream's checksum says ({found}); nothing was published", asset.url)))
}
