//! `zlh artifacts verify`: every file hashed again and compared with what the catalogs say of it.
use super::desk::{Desk, answer};
use crate::{
    cli::{
        client::{print, progress::Progress},
        failure::Failure,
        show::look::{Look, Tone, finish},
    },
    host::artifact_store,
    model::catalog::{ArtifactPath, Digest, PLATFORM, paths},
    policy::{
        catalog::{artifact, signature},
        publish::book::{Book, Document},
    },
};
use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    what: String,
    ok: bool,
    said: String,
}

/// What a catalog says of a file.
struct Promise {
    what: String,
    /// The first that exists is meant.
    candidates: Vec<ArtifactPath>,
    sha256: Option<Digest>,
    size: Option<u64>,
}

pub fn run(desk: &Desk) -> Result<(), Failure> {
    let mut findings = Vec::new();
    for document in Document::ALL {
        let Some((book, dirt)) = desk.book(document)? else { continue };
        findings.extend(dirt.into_iter().map(|dirt| Finding { what: document.path().into(), ok: false, said: dirt }));
        findings.extend(signed(desk, document)?);
        let promises = promises(&book);
        let mut progress = Progress::begin(document.path(), desk.json);
        for (at, promise) in promises.iter().enumerate() {
            progress.step(&format!("{} of {}: {}", at + 1, promises.len(), promise.what));
            findings.push(kept(desk, promise)?);
        }
    }
    let good = findings.iter().all(|finding| finding.ok);
    match desk.json {
        true => print(&format!("{}\n", serde_json::json!({"ok": good, "findings": findings})))?,
        false => print(&shown(&findings, desk.look))?,
    }
    if good { Ok(()) } else { Err(Failure::No) }
}

fn promises(book: &Book) -> Vec<Promise> {
    if let Book::Agents(manifest) = book {
        let builds = manifest.artifacts.iter().filter_map(|(version, builds)| Some((version, builds.get(PLATFORM)?)));
        let promise = |(version, build): (&String, &crate::model::catalog::AgentBuild)| Promise {
            what: format!("agent {version}"),
            candidates: format!("agents/{}", build.binary).parse().into_iter().collect(),
            sha256: build.sha256,
            size: build.size,
        };
        return builds.map(promise).collect();
    }
    let mut promises = Vec::new();
    for (target, product) in book.products() {
        let Some(shelf) = target.shelf() else { continue };
        for release in &product.versions {
            let what = format!("{target} {}", release.version);
            let found = artifact(&shelf, release);
            promises.push(Promise { what, candidates: found.candidates, sha256: found.sha256, size: found.size });
            promises.extend(release.files.iter().map(|file| Promise {
                what: format!("{target} {} {}", release.version, file.to),
                candidates: vec![file.path.clone()],
                sha256: file.sha256,
                size: file.size,
            }));
        }
    }
    promises
}

fn kept(desk: &Desk, promise: &Promise) -> Result<Finding, Failure> {
    let finding = |ok, said: String| Ok(Finding { what: promise.what.clone(), ok, said });
    for path in &promise.candidates {
        let Some((mut file, size)) = desk.store.file(path).map_err(answer)? else { continue };
        let found = artifact_store::digest_of(&mut file).map_err(answer)?;
        let beside = desk.store.document(&paths::checksum_of(path.as_str())).map_err(answer)?;
        let beside = beside.map(|text| Digest::of_checksum_file(&String::from_utf8_lossy(&text)));
        return match (promise.sha256, beside) {
            (Some(expected), _) if expected != found => {
                finding(false, format!("{path} has SHA-256 {found}, the catalog says {expected}"))
            }
            (_, Some(Ok(expected))) if expected != found => {
                finding(false, format!("{path} has SHA-256 {found}, the file beside it says {expected}"))
            }
            (_, Some(Err(e))) => finding(false, format!("{path}.sha256: {e}")),
            _ if promise.size.is_some_and(|expected| expected != size) => {
                finding(false, format!("{path} has {size} bytes, the catalog says {}", promise.size.unwrap_or(0)))
            }
            (None, None) => finding(true, format!("{path} is there, but nothing says what its hash should be")),
            _ => finding(true, format!("{path}, {found}")),
        };
    }
    let tried: Vec<&str> = promise.candidates.iter().map(ArtifactPath::as_str).collect();
    finding(false, format!("no such file: {}", tried.join(", ")))
}

/// A signature that is there must be good; which key is right is known only if one is given.
fn signed(desk: &Desk, document: Document) -> Result<Option<Finding>, Failure> {
    let path = paths::signature_of(document.path());
    let signature = desk.store.document(&path).map_err(answer)?;
    let trusted = desk.public_keys();
    if signature.is_none() && trusted.is_empty() {
        return Ok(None);
    }
    let bytes = desk.store.document(document.path()).map_err(answer)?.unwrap_or_default();
    let (ok, said) = match signature::verify(&bytes, signature.as_deref(), &trusted) {
        Ok(Some(key)) => (true, format!("signed by {}", key.id())),
        Ok(None) => (true, "signed; say --key FILE to check by whom".into()),
        Err(e) => (false, e.to_string()),
    };
    Ok(Some(Finding { what: document.path().into(), ok, said }))
}

fn shown(findings: &[Finding], look: Look) -> String {
    if findings.is_empty() {
        return "nothing is published\n".into();
    }
    let mut table = look.table(&["", "WHAT", "RESULT"]);
    for finding in findings {
        let mark = if finding.ok { look.cell(Tone::Good, "✓") } else { look.cell(Tone::Bad, "✗") };
        table.add_row([mark, (&finding.what).into(), (&finding.said).into()]);
    }
    finish(table)
}
