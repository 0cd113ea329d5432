//! Where `/proc` hides everybody's processes from everybody else: the editor is found and users of a runtime are seen.
use super::hungry::publish;
use crate::{installs::rig::Rig, support::free_port};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

#[test]
fn with_hidepid_the_editor_is_adopted_and_runtimes_in_use_stay() {
    let rig = Rig::new();
    publish(&rig);
    let root = rig.sandbox.root();
    let script = root.with_file_name("hidden.sh");
    fs::write(&script, include_str!("hidden.sh")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let port = free_port().to_string();
    let out = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "bash"])
        .arg(&script)
        .args([env!("CARGO_BIN_EXE_zlh"), root.to_str().unwrap(), &rig.artifacts.url(), &port])
        .env("ZLH_TEST_ID", rig.sandbox.marker())
        .output()
        .unwrap();
    let log = fs::read_to_string(root.with_file_name("err")).unwrap_or_default();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{}\n{said}\n{log}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(said, "dev sees 0 agents\nin use by sleep\nremoval: 409 \"code\":\"in_use\"\nadopted\n");
}
