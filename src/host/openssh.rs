//! Debian's OpenSSH server on this machine: there, with a host key that stays, and an account that keys can open.
use super::{
    accounts::{self, person},
    errand::{self, Errand},
    managed_file,
};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

const KEYGEN: &str = "/usr/bin/ssh-keygen";
const PACKAGE: &str = "openssh-server";
/// Where an sshd of Debian's wants an empty folder of root's.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";
/// Asked by invoke-rc.d(8) before a package's service is started; 101: it may not be.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const NO_SERVICES: &str = "#!/bin/sh\n# Made by zlh while it installs openssh-server.\nexit 101\n";
/// The package's own services would listen on port 22 with the system's rules.
const UNITS: [&str; 2] = ["ssh.service", "ssh.socket"];
const UNIT_FOLDER: &str = "/etc/systemd/system";

/// Are server and key maker there?
pub fn is_installed(program: &Path) -> bool {
    program.is_file() && Path::new(KEYGEN).is_file()
}

/// By the machine's package manager; `told` hears each line. Its own service is neither started nor enabled: ours is
/// another one.
pub async fn install(patience: Duration, told: impl Fn(&str)) -> Result<(), String> {
    let quiet = NoServices::begin(Path::new(POLICY), Path::new(UNIT_FOLDER)).map_err(|e| format!("{POLICY}: {e}"))?;
    let updated = apt(&["update"], patience, &told).await;
    let installed = apt(&["install", "-y", "--no-install-recommends", PACKAGE], patience, &told).await;
    drop(quiet);
    installed.map_err(|why| {
        let before = updated.err().map(|why| format!("\nbefore that, {why}")).unwrap_or_default();
        format!(
            "{PACKAGE} could not be installed: give the container a package mirror it can reach, or install {PACKAGE} \
             in its template, and send /config again. {why}{before}"
        )
    })
}

async fn apt(words: &[&str], patience: Duration, told: impl Fn(&str)) -> Result<(), String> {
    let usual = ["apt-get", "-q", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=60"];
    let env = [("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("DEBIAN_FRONTEND", "noninteractive"), ("LANG", "C.UTF-8")];
    let errand = Errand {
        argv: usual.iter().chain(words).map(|word| (*word).to_owned()).collect(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        cwd: "/".into(),
        account: accounts::own().map_err(|e| e.to_string())?,
        patience,
    };
    errand::run(&errand, told).await.map_err(|e| e.to_string())
}

/// While this lives no package starts a service; afterwards those of this package stay off.
struct NoServices {
    ours: Option<PathBuf>,
}

impl NoServices {
    fn begin(policy: &Path, units: &Path) -> io::Result<NoServices> {
        if units.is_dir() {
            for unit in UNITS.map(|unit| units.join(unit)) {
                match symlink("/dev/null", &unit) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                    _ => {}
                }
            }
        }
        // One that was left behind by an agent that was killed is ours as well.
        let present = fs::read_to_string(policy).ok();
        if present.as_ref().is_some_and(|text| text != NO_SERVICES) {
            return Ok(NoServices { ours: None });
        }
        managed_file::edit(policy, |_| NO_SERVICES.into())?;
        fs::set_permissions(policy, fs::Permissions::from_mode(0o755))?;
        Ok(NoServices { ours: Some(policy.to_owned()) })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(Err(why)) = self.ours.as_ref().map(fs::remove_file) {
            tracing::warn!(%why, "{POLICY} could not be removed: until it is, no package starts a service");
        }
    }
}

/// Makes the host key if there is none; one that is there stays, whatever else is done again. Blocking.
pub fn ensure_host_key(folder: &Path, name: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    let key = folder.join(name);
    if fs::symlink_metadata(&key).is_ok_and(|about| about.is_file() && about.len() > 0) {
        return fs::set_permissions(&key, fs::Permissions::from_mode(0o600));
    }
    let fresh = folder.join(format!(".{name}.new"));
    // What an agent that was killed left half made.
    _ = fs::remove_file(&fresh);
    let mut command = Command::new(KEYGEN);
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "zlh", "-f"]).arg(&fresh);
    run(command)?;
    fs::File::open(&fresh)?.sync_all()?;
    fs::rename(fresh.with_extension("new.pub"), folder.join(format!("{name}.pub")))?;
    fs::rename(&fresh, &key)?;
    fs::File::open(folder)?.sync_all()
}

/// Everything else that a start needs. Blocking.
pub fn prepare(user: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(PRIVILEGE_SEPARATION)?;
    person::open_to_keys(user)
}

/// What the server itself says of its configuration. Blocking.
pub fn check(program: &str, config: &Path) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg("-t").arg("-f").arg(config);
    run(command)
}

fn run(mut command: Command) -> io::Result<()> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let done = command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{shown}: {}", String::from_utf8_lossy(&done.stderr).trim()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_key_is_made_once_and_shown_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let (keys, name) = (folder.path().join("state/keys"), "ssh_host_ed25519_key");
        fs::create_dir_all(&keys).unwrap();
        fs::write(keys.join(".ssh_host_ed25519_key.new"), "half").unwrap();
        ensure_host_key(&keys, name).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let first = fs::read(keys.join(name)).unwrap();
        assert!(first.starts_with(b"-----BEGIN OPENSSH PRIVATE KEY-----"));
        assert_eq!((mode(&keys), mode(&keys.join(name))), (0o700, 0o600));
        fs::set_permissions(keys.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        ensure_host_key(&keys, name).unwrap();
        assert_eq!((fs::read(keys.join(name)).unwrap(), mode(&keys.join(name))), (first, 0o600));
        let mut names: Vec<_> = fs::read_dir(&keys).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [name, "ssh_host_ed25519_key.pub"]);
    }

    #[test]
    fn a_package_starts_no_service_of_its_own_and_others_policies_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (policy, units) = (folder.path().join("policy-rc.d"), folder.path().join("units"));
        fs::create_dir(&units).unwrap();
        for _ in 0..2 {
            let quiet = NoServices::begin(&policy, &units).unwrap();
            assert_eq!(Command::new("sh").arg(&policy).status().unwrap().code(), Some(101));
            drop(quiet);
            assert!(!policy.exists());
        }
        assert_eq!(fs::read_link(units.join("ssh.service")).unwrap(), Path::new("/dev/null"));
        fs::write(&policy, "#!/bin/sh\nexit 0\n").unwrap();
        drop(NoServices::begin(&policy, &units).unwrap());
        assert!(policy.exists());
    }

    #[test]
    fn the_servers_own_words_tell_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        fs::write(&config, "Nonsense yes\n").unwrap();
        let why = check("/usr/sbin/sshd", &config).unwrap_err().to_string();
        assert!(why.contains("Nonsense"), "{why}");
    }
}
