//! `zlh artifacts list`: what is published, as a table or as JSON.
use super::desk::Desk;
use crate::{
    cli::{
        client::print,
        failure::Failure,
        show::{
            look::{Look, Tone, finish},
            words,
        },
    },
    model::{
        catalog::{AgentManifest, PLATFORM, Product},
        time::WallTime,
    },
    policy::publish::{
        book::{Book, Document},
        target::Target,
    },
};
use serde::Serialize;
use std::collections::BTreeMap;

/// One version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    target: String,
    version: String,
    /// Channels that mean it.
    current: Vec<String>,
    /// The only channel it is offered in.
    channel: Option<String>,
    size: Option<u64>,
    sha256: Option<String>,
    released_at: Option<WallTime>,
    path: Option<String>,
}

pub fn run(desk: &Desk, only: Option<&Target>) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for document in Document::ALL {
        let Some((book, dirt)) = desk.book(document)? else { continue };
        dirt.iter().for_each(|dirt| eprintln!("warning: {dirt}"));
        rows.extend(of(&book));
    }
    if let Some(only) = only {
        rows.retain(|row| row.target == only.to_string());
    }
    if desk.json {
        return print(&format!("{}\n", serde_json::json!({"versions": rows})));
    }
    print(&shown(&rows, desk.look))
}

pub fn of(book: &Book) -> Vec<Row> {
    match book {
        Book::Agents(manifest) => builds(manifest),
        book => book.products().into_iter().flat_map(|(target, product)| releases(&target, product)).collect(),
    }
}

fn releases(target: &Target, product: &Product) -> Vec<Row> {
    let row = |release: &crate::model::catalog::Release| Row {
        target: target.to_string(),
        version: release.version.clone(),
        current: meaning(&product.current, &release.version),
        channel: release.channel.clone(),
        size: release.size,
        sha256: release.sha256.map(|digest| digest.to_string()),
        released_at: release.released_at,
        path: release.path.as_ref().map(ToString::to_string),
    };
    product.versions.iter().map(row).collect()
}

fn builds(manifest: &AgentManifest) -> Vec<Row> {
    let row = |(version, builds): (&String, &BTreeMap<String, crate::model::catalog::AgentBuild>)| {
        let build = builds.get(PLATFORM)?;
        Some(Row {
            target: Target::Agent.to_string(),
            version: version.clone(),
            current: meaning(&manifest.channels, version),
            channel: None,
            size: build.size,
            sha256: build.sha256.map(|digest| digest.to_string()),
            released_at: None,
            path: Some(format!("agents/{}", build.binary)),
        })
    };
    manifest.artifacts.iter().filter_map(row).collect()
}

fn meaning(channels: &BTreeMap<String, String>, version: &str) -> Vec<String> {
    channels.iter().filter(|(_, means)| *means == version).map(|(channel, _)| channel.clone()).collect()
}

fn shown(rows: &[Row], look: Look) -> String {
    if rows.is_empty() {
        return "nothing is published\n".into();
    }
    let mut table = look.table(&["WHAT", "VERSION", "CHANNELS", "SIZE", "RELEASED", "SHA-256", "PATH"]);
    for row in rows {
        let day: String = row.released_at.map_or_else(|| "-".into(), |at| at.to_string().chars().take(10).collect());
        table.add_row([
            look.cell(Tone::Strong, &row.target),
            (&row.version).into(),
            look.cell(Tone::Good, &row.current.join(" ")),
            row.size.map_or_else(|| "-".into(), words::bytes).into(),
            day.into(),
            look.cell(Tone::Faint, row.sha256.as_deref().map_or("none", |hex| &hex[..12])),
            row.path.as_deref().unwrap_or("by convention").into(),
        ]);
    }
    finish(table)
}
