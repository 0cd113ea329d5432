//! `zlh artifacts`: the publisher's desk over one folder, and the server of that folder.
mod add;
pub mod args;
mod desk;
mod import;
mod keys;
mod list;
mod promote;
mod serve;
mod verify;

use super::{args::ClientArgs, failure::Failure, show::look::Look};
use args::{ArtifactsArgs, ArtifactsVerb};
use desk::Desk;
use std::process::ExitCode;

pub fn run(client: &ClientArgs, args: ArtifactsArgs) -> ExitCode {
    match carry_out(client, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn carry_out(client: &ClientArgs, args: ArtifactsArgs) -> Result<(), Failure> {
    match args.verb {
        ArtifactsVerb::Keygen { file } => keys::make(&args.store, &file, client.json),
        ArtifactsVerb::Serve(serve) => serve::run(&args.store, &serve),
        verb => {
            let desk = Desk::open(&args.store, &args.key, client.json, Look::of_stdout())?;
            match verb {
                ArtifactsVerb::Add(add) => add::run(&desk, &add),
                ArtifactsVerb::List { target } => list::run(&desk, target.as_ref()),
                ArtifactsVerb::Promote { target, version, channel } => promote::run(&desk, &target, &version, &channel),
                ArtifactsVerb::Rollback { target, channel } => promote::back(&desk, &target, &channel),
                ArtifactsVerb::Verify => verify::run(&desk),
                ArtifactsVerb::Trust { new, revoke } => keys::trust(&desk, &new, &revoke),
                ArtifactsVerb::Sign => keys::sign(&desk),
                ArtifactsVerb::Import(import) => import::run(&desk, &import),
                // Done above, without a desk.
                ArtifactsVerb::Keygen { .. } | ArtifactsVerb::Serve(_) => Ok(()),
            }
        }
    }
}
