//! `zlh artifacts add`: a file comes in, is looked at where it cannot change any more, and is named in the catalog.
use super::{
    args::AddArgs,
    desk::{Desk, answer},
};
use crate::{
    cli::{
        client::{now, progress::Progress},
        failure::Failure,
    },
    host::artifact_store::{
        Incoming,
        archive::{self, Packing},
    },
    model::{
        catalog::{ArtifactPath, Release, paths},
        time::WallTime,
    },
    policy::publish::{
        book::Book,
        edit::{self, Change},
        layout,
        target::Target,
    },
};
use serde_json::json;
use std::{
    fs::File,
    io::{self, Read, Write},
};

/// Smaller files are copied before anybody could read how far that is.
const LONG: u64 = 64 << 20;

/// Everything that is known of a file that came in.
pub struct Offer<'a> {
    pub target: &'a Target,
    pub version: &'a str,
    pub channel: Option<&'a str>,
    pub promote: Option<&'a str>,
    pub released_at: WallTime,
    pub incoming: Incoming,
}

pub fn run(desk: &Desk, args: &AddArgs) -> Result<(), Failure> {
    let cannot = |e: io::Error| answer(format!("{}: {e}", args.file.display()));
    let file = File::open(&args.file).map_err(cannot)?;
    let total = file.metadata().map_err(cannot)?.len();
    let mut incoming = desk.store.lock().map_err(answer)?.incoming().map_err(answer)?;
    copy(file, &mut incoming, total, desk.json).map_err(cannot)?;
    let found = incoming.digest();
    if let Some(expected) = args.sha256.filter(|expected| *expected != found) {
        return Err(answer(format!("{} has SHA-256 {found}, not {expected}", args.file.display())));
    }
    let offer = Offer {
        target: &args.target,
        version: &args.version,
        channel: args.channel.as_deref(),
        promote: args.promote.as_deref(),
        released_at: args.released_at.unwrap_or_else(now),
        incoming,
    };
    publish(desk, offer)
}

fn copy(mut from: File, to: &mut Incoming, total: u64, silent: bool) -> io::Result<()> {
    let mut progress = Progress::begin("copying", silent || total < LONG);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n])?,
        }
        // Ten lines at most where no bar can be drawn.
        let tenth = (to.size() * 10).checked_div(total).unwrap_or(10);
        progress.step(&format!("copying {} %", tenth.min(10) * 10));
    }
}

/// Judges what came in and publishes it. The file lies there before the catalog names it.
pub fn publish(desk: &Desk, offer: Offer<'_>) -> Result<(), Failure> {
    let (release, path) = judged(&offer)?;
    let Offer { target, promote, incoming, .. } = offer;
    let change = |book: &mut Book, now| {
        let added = edit::add(book, target, release.clone(), now)?;
        let Some(channel) = promote else { return Ok(added) };
        match edit::promote(book, target, &release.version, channel, now)? {
            Change::Unchanged => Ok(added),
            moved => Ok(moved),
        }
    };
    let locked = desk.store.lock().map_err(answer)?;
    // An edit that will be refused must leave no file: it is tried before the file gets its name.
    desk.signable(target.document().path())?;
    change(&mut desk.clean_book(target.document())?, now()).map_err(answer)?;
    let line = format!("{}  {}\n", incoming.digest(), path.file_name());
    locked.place(incoming, &path).map_err(answer)?;
    locked.replace(&paths::checksum_of(path.as_str()), line.as_bytes()).map_err(answer)?;
    let done = desk.edit_locked(&locked, target.document(), change)?;
    told(desk, target, promote, &release, done != Change::Unchanged)
}

/// What is published already and was found to be as it should be: at most its channel moves.
pub fn again(desk: &Desk, target: &Target, release: &Release, promote: Option<&str>) -> Result<(), Failure> {
    if let Some(channel) = promote {
        desk.edit(target.document(), |book, now| edit::promote(book, target, &release.version, channel, now))?;
    }
    told(desk, target, promote, release, false)
}

fn told(desk: &Desk, target: &Target, channel: Option<&str>, release: &Release, changed: bool) -> Result<(), Failure> {
    let what = if changed { "published" } else { "was published already" };
    let now = channel.map(|channel| format!(", {channel} now")).unwrap_or_default();
    let (version, size) = (&release.version, release.size.unwrap_or(0));
    let path = release.path.as_ref().map_or("", ArtifactPath::as_str);
    let digest = release.sha256.map(|digest| digest.to_string()).unwrap_or_default();
    desk.say(
        &format!("{target} {version} {what}{now}: {path}, {size} bytes, SHA-256 {digest}"),
        &json!({
            "target": target.to_string(), "version": version, "path": path, "size": size, "sha256": digest,
            "strip": release.strip, "bin": release.bin, "changed": changed, "channel": channel,
        }),
    )
}

/// What the catalog will say of it, if it is what it should be.
fn judged(offer: &Offer<'_>) -> Result<(Release, ArtifactPath), Failure> {
    let Offer { target, version, incoming, .. } = offer;
    crate::model::catalog::version(version).map_err(|e| Failure::Usage(e.to_string()))?;
    let unreadable = |e: io::Error| match e.kind() {
        io::ErrorKind::Unsupported => answer(format!("{target} {version}: {e}")),
        _ => answer(format!("{target} {version}: the file is damaged: {e}")),
    };
    let packing = Packing::of(&mut incoming.reopen().map_err(unreadable)?).map_err(unreadable)?;
    let path = target.place(version, packing.ending()).ok_or_else(|| answer("no place for it in the folder"))?;
    let entries = || archive::entries(incoming.reopen()?, packing);
    let found = match target.layout() {
        Some(expected) => Some(layout::judge(expected, &entries().map_err(unreadable)?).map_err(answer)?),
        None => None,
    };
    if *target == &Target::Agent {
        let head = archive::head(&mut incoming.reopen().map_err(unreadable)?).map_err(unreadable)?;
        layout::judge_program(&head).map_err(answer)?;
    }
    if path.file_name().ends_with(".jar") {
        layout::judge_jar(&entries().map_err(unreadable)?).map_err(answer)?;
    }
    let release = Release {
        path: Some(path.clone()),
        sha256: Some(incoming.digest()),
        size: Some(incoming.size()),
        strip: found.as_ref().map(|found| found.strip),
        bin: found.map(|found| found.bin).unwrap_or_default(),
        released_at: Some(offer.released_at),
        channel: offer.channel.map(str::to_owned),
        ..Release::bare(*version)
    };
    Ok((release, path))
}
