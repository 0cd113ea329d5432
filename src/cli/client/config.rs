//! `zlh config show`.
use crate::{
    cli::{
        args::{ClientArgs, ConfigVerb},
        failure::Failure,
    },
    model::settings::Secret,
};

pub fn local_token() -> Option<Secret> {
    None
}

pub fn show(_args: &ClientArgs, _verb: ConfigVerb) -> Result<(), Failure> {
    Ok(())
}
