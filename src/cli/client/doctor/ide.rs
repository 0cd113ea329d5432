//! `zlh doctor ide`: a gateway goes a browser's way into an IDE; the report shows each hop, and what cures the one that failed.
use super::super::{Session, print};
use crate::{
    cli::{failure::Failure, show},
    model::doctor::{Finding, Health},
};
use serde::Deserialize;

/// As the gateway names them; a newer one may have more.
const HOPS: [&str; 7] = ["container", "token", "cookie", "page", "asset", "handshake", "first frame"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Diagnosis {
    ok: bool,
    url: String,
    hops: Vec<Hop>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hop {
    name: String,
    ok: bool,
    detail: String,
    cure: String,
    took_ms: u64,
}

pub async fn examine(session: &Session, vmid: u32) -> Result<(), Failure> {
    let answer = session.agent.read(&format!("api/dev/{vmid}/ide/doctor")).await?;
    let diagnosis: Diagnosis = session.parse(&answer.body)?;
    if session.json {
        super::print_json(&answer.body)?;
    } else {
        let findings: Vec<Finding> = diagnosis.hops.iter().map(finding).collect();
        print(&format!("{}\n\n{}", diagnosis.url, show::doctor::report(&findings, session.look)))?;
    }
    if diagnosis.ok { Ok(()) } else { Err(Failure::No) }
}

fn finding(hop: &Hop) -> Finding {
    Finding {
        name: HOPS.into_iter().find(|name| *name == hop.name).unwrap_or("hop"),
        health: if hop.ok { Health::Ok } else { Health::Fail },
        found: format!("{} ({} ms)", hop.detail, hop.took_ms),
        cure: hop.cure.clone(),
    }
}
