//! A workload's description to the order a keeper understands: everything looked up, nothing left to guess.
use super::Plan;
use crate::{
    host::{cgroup::WorkloadCgroup, keeping::KeepingError},
    keeper::protocol::{Identity, Launch, LaunchStep},
    model::{ids::RunId, workload::WorkloadSpec},
};
use std::{
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

/// Group members may read what a game writes, others may not.
const UMASK: u32 = 0o027;

/// What a failed launch is about, for the sentence a person reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subject {
    pub program: String,
    pub folder: String,
    pub user: String,
}

impl Subject {
    pub(super) fn of(spec: &WorkloadSpec, program: &Path) -> Subject {
        Subject {
            program: program.display().to_string(),
            folder: spec.cwd.display().to_string(),
            user: spec.user.clone().unwrap_or_default(),
        }
    }

    pub(super) fn error(&self, step: LaunchStep, errno: i32) -> KeepingError {
        let cause = io::Error::from_raw_os_error(errno);
        let message = match step {
            LaunchStep::Exec => format!("{}: {cause}", self.program),
            LaunchStep::Workdir => format!("{}: {cause}", self.folder),
            LaunchStep::User => format!("{}: {cause}", self.user),
            _ => cause.to_string(),
        };
        let message = cure(step, errno).map_or(message.clone(), |cure| format!("{message}; {cure}"));
        KeepingError::Launch { step, errno, message }
    }
}

/// What a person can do where the kernel's word alone does not say it.
fn cure(step: LaunchStep, errno: i32) -> Option<&'static str> {
    match (step, errno) {
        (LaunchStep::Exec, libc::ENOEXEC) => Some(
            "it is no program for this machine: a script begins with #! and its interpreter, a binary fits the processor",
        ),
        (LaunchStep::Exec, libc::ENOENT) => Some("it, or the interpreter or loader it names, is missing: install it"),
        (LaunchStep::Exec | LaunchStep::Fork, libc::EAGAIN) => {
            Some("no more processes are allowed: raise the limit (ulimit -u, TasksMax, pids.max) or end some")
        }
        (_, libc::EMFILE | libc::ENFILE) => {
            Some("no more files may be opened: raise the limit (ulimit -n, fs.file-max)")
        }
        (_, libc::ENOMEM) => Some("there is not enough memory to start anything"),
        _ => None,
    }
}

/// The program a spec names: absolute, or relative to the working directory, or found in the spec's own `PATH`.
pub(super) fn program(spec: &WorkloadSpec) -> Result<PathBuf, KeepingError> {
    let name =
        spec.argv.first().filter(|name| !name.is_empty()).ok_or_else(|| {
            KeepingError::Environment(format!("the workload {:?} names no program to run", spec.game))
        })?;
    if name.contains('/') {
        let path = spec.cwd.join(name);
        return executable(&path).map(|()| path.clone()).map_err(|e| not_run(format!("{}: {e}", path.display()), &e));
    }
    let search = spec.env.get("PATH").map_or("", String::as_str);
    let places = search.split(':').filter(|place| place.starts_with('/')).map(|place| Path::new(place).join(name));
    let mut why = io::Error::from_raw_os_error(libc::ENOENT);
    for path in places {
        match executable(&path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => why = e,
            Err(_) => {}
        }
    }
    Err(not_run(format!("{name} is not an executable file anywhere in PATH ({search}): {why}"), &why))
}

fn executable(path: &Path) -> io::Result<()> {
    let meta = std::fs::metadata(path)?;
    match meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::EACCES)),
    }
}

fn not_run(message: String, cause: &io::Error) -> KeepingError {
    KeepingError::Launch { step: LaunchStep::Exec, errno: cause.raw_os_error().unwrap_or(libc::ENOENT), message }
}

/// Puts the order together.
pub(super) fn order(
    plan: &Plan,
    (run, spec, program): (RunId, &WorkloadSpec, &Path),
    identity: Option<Identity>,
    size: (u16, u16),
    cgroup: &WorkloadCgroup,
) -> Launch {
    let path = |p: &PathBuf| p.as_os_str().as_bytes().to_vec();
    Launch {
        run: run.0,
        program: program.as_os_str().as_bytes().to_vec(),
        argv: spec.argv.iter().map(|a| a.clone().into_bytes()).collect(),
        env: spec.env.iter().map(|(key, value)| format!("{key}={value}").into_bytes()).collect(),
        cwd: path(&spec.cwd),
        identity,
        columns: size.0,
        rows: size.1,
        raw: plan.raw,
        umask: UMASK,
        max_files: plan.max_files,
        cgroup_procs: cgroup.procs_files().iter().map(path).collect(),
        cgroup_kill: cgroup.kill_file().as_ref().map(path),
        oom_counter: cgroup.oom_counter().as_ref().map(path),
        log_dir: path(&plan.log_dir()),
        log_bytes: plan.log_bytes,
        leave_rest: plan.leave_rest,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::workload::{ConsoleInput, Readiness, ReadyProbe};
    use std::{fs, time::Duration};

    pub(crate) fn spec(argv: &[&str], cwd: &Path) -> WorkloadSpec {
        WorkloadSpec {
            game: "test".into(),
            variant: String::new(),
            argv: argv.iter().map(|a| a.to_string()).collect(),
            cwd: cwd.into(),
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            user: None,
            memory_bytes: None,
            max_processes: None,
            ports: Vec::new(),
            requires: Vec::new(),
            stop: Vec::new(),
            ready: Readiness { probe: ReadyProbe::None, within: Duration::from_secs(1) },
            signatures: Vec::new(),
            console: ConsoleInput::Pty,
            stop_commands: Vec::new(),
            watched_files: Vec::new(),
            dump_signal: None,
        }
    }

    #[test]
    fn a_program_is_found_as_a_shell_would() {
        let dir = tempfile::tempdir().unwrap();
        for (file, mode) in [("run.sh", 0o755), ("notes.txt", 0o644)] {
            fs::write(dir.path().join(file), "").unwrap();
            fs::set_permissions(dir.path().join(file), fs::Permissions::from_mode(mode)).unwrap();
        }
        let find = |name: &str, search: &str| {
            let mut spec = spec(&[name], dir.path());
            spec.env.insert("PATH".into(), search.into());
            program(&spec)
        };
        let run = dir.path().join("run.sh");
        let here = dir.path().display().to_string();
        assert_eq!(find("./run.sh", "").unwrap(), dir.path().join("./run.sh"));
        assert_eq!(find(run.to_str().unwrap(), "").unwrap(), run);
        assert_eq!(find("run.sh", &format!("relative::/nowhere:{here}")).unwrap(), run);
        for (name, errno) in [("notes.txt", libc::EACCES), ("absent", libc::ENOENT), ("run.sh/x", libc::ENOTDIR)] {
            let Err(KeepingError::Launch { step, errno: got, message }) = find(name, &here) else { panic!("{name}") };
            assert_eq!((step, got), (LaunchStep::Exec, errno), "{message}");
            assert!(message.contains(name), "{message}");
        }
        let Err(KeepingError::Launch { errno, .. }) = find("./", "") else { panic!() };
        assert_eq!(errno, libc::EACCES, "a folder is no program");
        assert!(matches!(find("", ""), Err(KeepingError::Environment(_))));
        assert!(find("run.sh", "").unwrap_err().to_string().contains("PATH"));
    }

    #[test]
    fn a_failure_names_what_it_is_about() {
        let subject = Subject { program: "/p".into(), folder: "/f".into(), user: "u".into() };
        for (step, what) in [(LaunchStep::Exec, "/p: "), (LaunchStep::Workdir, "/f: "), (LaunchStep::User, "u: ")] {
            assert!(subject.error(step, libc::ENOENT).to_string().contains(what));
        }
    }
}
