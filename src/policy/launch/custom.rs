//! `game: "custom"`: the body itself says what to run.
use super::{checks, unusable};
use crate::model::{game::ConfigBody, refusal::Refusal};
use std::path::PathBuf;

/// `base` is `/opt/zlh/custom`.
pub fn server_root(base: PathBuf, workdir: Option<&str>) -> PathBuf {
    let names = workdir.unwrap_or("default").split('/').filter(|name| !name.is_empty() && *name != ".");
    names.fold(base, |path, name| path.join(name))
}

pub fn argv(body: &ConfigBody) -> Result<Vec<String>, Refusal> {
    body.command.clone().ok_or_else(|| unusable("command", "a custom game needs a list: program and arguments"))
}

const MAX_ARGUMENTS: usize = 256;

/// Program and arguments as the kernel will take them.
pub fn check_command(command: &[String]) -> Result<(), Refusal> {
    let Some(program) = command.first().filter(|program| !program.is_empty()) else {
        return Err(unusable("command", "the list is empty: it needs at least a program"));
    };
    if command.len() > MAX_ARGUMENTS {
        return Err(unusable("command", format!("{} entries; at most {MAX_ARGUMENTS}", command.len())));
    }
    if let Some(at) = command.iter().position(|text| text.contains('\0')) {
        return Err(unusable(format!("command[{at}]"), "holds a NUL character"));
    }
    if program.contains('/') && !program.starts_with('/') {
        let detail = format!("{program:?} is neither absolute nor a plain name to be found in PATH");
        return Err(unusable("command[0]", detail));
    }
    Ok(())
}

/// Relative, beneath `/opt/zlh/custom/`, each name like any other name.
pub fn check_workdir(workdir: &str) -> Result<(), Refusal> {
    if workdir.starts_with('/') {
        return Err(unusable("workdir", "it is relative to /opt/zlh/custom/ and does not begin with /"));
    }
    let names = workdir.split('/').filter(|name| !name.is_empty() && *name != ".");
    for (depth, name) in names.enumerate() {
        if depth >= 16 {
            return Err(unusable("workdir", "at most 16 folders deep"));
        }
        checks::name("workdir", name)?;
    }
    Ok(())
}
