//! Publishing: what is refused, what channels mean, signatures, two publishers at once, a publisher that dies.
use super::Shop;
use crate::support::eventually_now;
use serde_json::Value;
use std::{collections::BTreeSet, fs, io::Write, process::Stdio, thread, time::Duration};

#[test]
fn a_release_is_published_promoted_rolled_back_and_verified() {
    let shop = Shop::new();
    let (old, new) = (shop.node("a.tar.gz", b"old"), shop.node("b.tar.gz", b"new"));
    let first: Value =
        serde_json::from_str(&shop.run(&["add", "node", "22.11.0", &old, "--promote", "--json"])).unwrap();
    assert_eq!((&first["strip"], &first["bin"][0], &first["channel"]), (&1.into(), &"bin".into(), &"stable".into()));
    shop.run(&["add", "node", "22.12.0", &new]);
    assert_eq!(shop.catalog()["runtimes"][0]["current"]["stable"], "22.11.0");
    shop.run(&["promote", "node", "22.12.0"]);
    assert_eq!(shop.catalog()["runtimes"][0]["current"]["stable"], "22.12.0");
    shop.run(&["rollback", "node"]);
    assert_eq!(shop.catalog()["runtimes"][0]["current"]["stable"], "22.11.0");
    assert!(shop.refused(1, &["rollback", "node"]).contains("nothing to go back to"));
    assert!(shop.run(&["list"]).contains("22.12.0"));
    shop.run(&["verify"]);
    let path = shop.store().join("devcontainer/node/node-22.12.0.tar.gz");
    fs::write(&path, b"rot").unwrap();
    let report = shop.try_run(&["verify", "--json"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let bad: Vec<_> = report["findings"].as_array().unwrap().iter().filter(|f| f["ok"] == false).collect();
    assert_eq!((bad.len(), &bad[0]["what"], &report["ok"]), (1, &"node 22.12.0".into(), &false.into()));
}

#[test]
fn what_is_no_release_is_refused_and_leaves_nothing() {
    let shop = Shop::new();
    let source =
        shop.archive("cs.tar.gz", &[("code-server/package.json", 0o644, b"{}"), ("code-server/src/x.ts", 0o644, b"")]);
    let said = shop.refused(1, &["add", "code-server", "4.96.4", &source]);
    assert!(said.contains("bin/code-server") && said.contains("source tree"), "{said}");
    let html = shop.file("page.html", b"<html>Not found</html>");
    assert!(shop.refused(1, &["add", "node", "22.0.0", &html]).contains("damaged"));
    assert!(shop.refused(1, &["add", "minecraft/paper", "1.21.4", &html]).contains("damaged"));
    assert!(shop.refused(1, &["add", "agent", "1.0.0", &html]).contains("ELF"));
    let program = env!("CARGO_BIN_EXE_zlh");
    assert!(shop.refused(1, &["add", "agent", "latest", program]).contains("semantic version"));
    let whole = fs::read(shop.node("whole.tar.gz", &[7; 5000])).unwrap();
    let cut = shop.file("cut.tar.gz", &whole[..whole.len() - 9]);
    assert!(shop.refused(1, &["add", "node", "22.0.0", &cut]).contains("damaged"));
    let good = shop.node("good.tar.gz", b"x");
    let said = shop.refused(1, &["add", "node", "22.0.0", &good, "--sha256", &"ab".repeat(32)]);
    assert!(said.contains("abab"), "{said}");
    assert!(shop.refused(2, &["add", "ruby", "3.3", &good]).contains("nothing that can be published"));
    let left: Vec<_> = fs::read_dir(shop.store()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".zlh"], "no catalog, no file");
    assert_eq!(fs::read_dir(shop.store().join(".zlh/incoming")).unwrap().count(), 0);
}

#[test]
fn a_version_is_never_given_other_content() {
    let shop = Shop::new();
    shop.run(&["add", "node", "22.11.0", &shop.node("a.tar.gz", b"one")]);
    assert!(shop.run(&["add", "node", "22.11.0", &shop.node("a.tar.gz", b"one")]).contains("already"));
    let before = shop.catalog();
    let said = shop.refused(1, &["add", "node", "22.11.0", &shop.node("b.tar.gz", b"two")]);
    assert!(said.contains("never replaced"), "{said}");
    assert_eq!(shop.catalog(), before);
    shop.run(&["verify"]);
}

#[test]
fn a_signed_store_stays_signed() {
    let shop = Shop::new();
    let key = shop.file("keys/.keep", b"").replace(".keep", "secret");
    shop.run(&["add", "node", "22.11.0", &shop.node("a.tar.gz", b"one")]);
    let inside = shop.store().join("secret").display().to_string();
    assert!(shop.refused(2, &["keygen", &inside]).contains("served"));
    let public = shop.run(&["keygen", &key]);
    assert!(public.starts_with("ed25519:"), "{public}");
    shop.run(&["--key", &key, "sign"]);
    assert!(shop.refused(2, &["promote", "node", "22.11.0"]).contains("--key"));
    let new = shop.node("b.tar.gz", b"two");
    assert!(shop.refused(2, &["add", "node", "22.12.0", &new]).contains("--key"));
    assert!(!shop.store().join("devcontainer/node/node-22.12.0.tar.gz").exists());
    shop.run(&["--key", &key, "promote", "node", "22.11.0"]);
    assert!(shop.run(&["--key", &key, "verify"]).contains("signed by"));
    let catalog = shop.store().join("devcontainer/_catalog.json");
    let mut text = fs::read(&catalog).unwrap();
    text.push(b' ');
    fs::write(&catalog, text).unwrap();
    assert_eq!(shop.try_run(&["--key", &key, "verify"]).status.code(), Some(1), "changed by hand after it was signed");
}

#[test]
fn a_catalog_with_unreadable_entries_is_not_rewritten() {
    let shop = Shop::new();
    let text = r#"{"runtimes":[{"id":"node","versions":["20"]},{"id":"pupur?"}],"motd":"x"}"#;
    fs::create_dir_all(shop.store().join("devcontainer")).unwrap();
    fs::write(shop.store().join("devcontainer/_catalog.json"), text).unwrap();
    let said = shop.refused(1, &["add", "node", "22.11.0", &shop.node("a.tar.gz", b"one")]);
    assert!(said.contains("runtimes[1]"), "{said}");
    assert_eq!(fs::read_to_string(shop.store().join("devcontainer/_catalog.json")).unwrap(), text);
    assert!(!shop.store().join("devcontainer/node").exists());
}

#[test]
fn two_publishers_at_once_lose_nothing() {
    let shop = Shop::new();
    let file = shop.file("thing", b"content");
    const EACH: usize = 10;
    thread::scope(|scope| {
        for publisher in 0..2 {
            let (shop, file) = (&shop, &file);
            scope.spawn(move || {
                for n in 0..EACH {
                    shop.run(&["add", "runtime/demo", &format!("{publisher}.{n}"), file, "--promote"]);
                    shop.catalog();
                }
            });
        }
    });
    let catalog = shop.catalog();
    let versions = catalog["runtimes"][0]["versions"].as_array().unwrap();
    let names: BTreeSet<&str> = versions.iter().map(|v| v["version"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 2 * EACH);
    // Each publication is two edits, an addition and a promotion.
    assert_eq!(catalog["serial"], 4 * EACH);
    shop.run(&["verify"]);
}

#[test]
fn a_publisher_that_is_killed_leaves_nothing_that_counts() {
    let shop = Shop::new();
    shop.run(&["add", "runtime/demo", "1", &shop.file("one", b"1")]);
    let before = shop.catalog();
    let pipe = shop.sandbox.root().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let words = ["add", "runtime/demo", "2", pipe.to_str().unwrap()];
    let mut publisher = shop.command(&words).stderr(Stdio::null()).spawn().unwrap();
    // It has read something and waits for more.
    let mut writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    writer.write_all(&[1; 100_000]).unwrap();
    let incoming = shop.store().join(".zlh/incoming");
    let sizes = || fs::read_dir(&incoming).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum::<u64>();
    eventually_now(Duration::from_secs(60), || (sizes() > 0).then_some(())).expect("the file comes in");
    publisher.kill().unwrap();
    publisher.wait().unwrap();
    assert_eq!(shop.catalog(), before);
    shop.run(&["promote", "runtime/demo", "1"]);
    assert_eq!(fs::read_dir(&incoming).unwrap().count(), 0, "the next publisher cleans up");
    shop.run(&["verify"]);
}
