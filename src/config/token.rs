//! The bearer token: a file named by a flag, else the environment, else a file named elsewhere.
use super::{Fault, Origin, Origins, value};
use crate::model::settings::{Secret, Settings};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// Longer files hold something else.
const LARGEST_FILE: u64 = 8 << 10;
/// Shorter tokens can be guessed.
const SHORTEST: usize = 16;

/// Puts the token in force into `settings.token`.
pub fn settle(settings: &mut Settings, origins: &mut Origins, faults: &mut Vec<Fault>) {
    let by_flag = matches!(origins.of("token_file"), Origin::Flag(_) | Origin::Set);
    if let Some(path) = settings.token_file.clone().filter(|_| by_flag || settings.token.is_none()) {
        match read(&path, &mut origins.notes) {
            Ok(token) => {
                settings.token = Some(token);
                origins.set("token", Origin::TokenFile(path));
            }
            Err(e) => {
                let problem = format!("{} cannot be used: {e}", path.display());
                faults.push(Fault::new(origins.of("token_file"), "token_file", problem));
            }
        }
    }
    if settings.token.as_ref().is_some_and(|token| token.0.len() < SHORTEST) {
        origins.notes.push(format!("the token ({}) is shorter than {SHORTEST} characters", origins.of("token")));
    }
}

fn read(path: &Path, notes: &mut Vec<String>) -> io::Result<Secret> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let note = format!("{} can be read by others (mode {mode:03o}); chmod 600 it", path.display());
        notes.push(note);
    }
    let mut text = String::new();
    file.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other(format!("larger than {LARGEST_FILE} bytes")));
    }
    value::secret(text.trim()).map_err(io::Error::other)
}
