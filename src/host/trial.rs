//! Runs a short program as an account and tells what it said.
use super::accounts::Account;
use nix::unistd::geteuid;
use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

/// Of each of the two outputs.
const MOST_BYTES: u64 = 16 << 10;

/// Both outputs of a program that ended with 0. Anything else is an error with the end of what it said.
pub async fn run(
    argv: &[String],
    env: &BTreeMap<String, String>,
    folder: &Path,
    account: &Account,
    within: Duration,
) -> Result<String, String> {
    let Some((program, arguments)) = argv.split_first() else { return Err("no program is named".into()) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(env).current_dir(folder).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if geteuid().is_root() {
        // Without supplementary groups: the standard library drops them with the user.
        command.uid(account.uid).gid(account.gid);
    }
    let shown = argv.join(" ");
    match timeout(within, said(command)).await {
        Err(_) => Err(format!("`{shown}` did not end within {} s", within.as_secs())),
        Ok(Err(e)) => Err(format!("`{shown}` could not be run: {e}")),
        Ok(Ok((true, text))) => Ok(text),
        Ok(Ok((false, text))) => Err(format!("`{shown}` failed: {}", last_words(&text))),
    }
}

async fn said(mut command: Command) -> std::io::Result<(bool, String)> {
    let mut child = command.spawn()?;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read_out = async {
        match stdout {
            Some(stdout) => stdout.take(MOST_BYTES).read_to_end(&mut out).await,
            None => Ok(0),
        }
    };
    let read_err = async {
        match stderr {
            Some(stderr) => stderr.take(MOST_BYTES).read_to_end(&mut err).await,
            None => Ok(0),
        }
    };
    tokio::try_join!(read_out, read_err)?;
    let status = child.wait().await?;
    out.extend_from_slice(&err);
    Ok((status.success(), String::from_utf8_lossy(&out).into_owned()))
}

fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    match lines.len() {
        0 => "it said nothing".into(),
        n => lines[n.saturating_sub(5)..].join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::accounts;

    async fn sh(script: &str, within: Duration) -> Result<String, String> {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        let account = accounts::look_up("nobody").unwrap().unwrap();
        run(&argv, &env, Path::new("/"), &account, within).await
    }

    #[tokio::test]
    async fn what_a_program_says_is_told_and_how_it_fails() {
        const LONG: Duration = Duration::from_secs(20);
        assert_eq!(sh("echo out; echo err >&2", LONG).await, Ok("out\nerr\n".into()));
        let failed = sh("echo one; echo why >&2; exit 3", LONG).await.unwrap_err();
        assert!(failed.ends_with("failed: one; why"), "{failed}");
        assert!(sh("exec sleep 60", Duration::from_millis(50)).await.unwrap_err().contains("did not end"));
        if geteuid().is_root() {
            assert_eq!(sh("id -un; env | grep -c TOKEN || true", LONG).await, Ok("nobody\n0\n".into()));
        }
    }
}
