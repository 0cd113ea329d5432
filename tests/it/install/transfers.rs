//! Artifact servers as they misbehave: each time a clear error that names the URL, or an install that is right all the same.
use super::{
    Place,
    archives::{Entry, file, gz, tar},
    contents, names, sha256,
};
use crate::support::web::{Ask, Web, file as serve, head};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use zlh::{
    host::{
        artifacts::{ArtifactServer, FetchError},
        install::{InstallError, Job, Placed, stage},
    },
    model::settings::Install,
};

/// Content that gzip cannot make smaller, the same each time.
fn noise(bytes: usize, mut seed: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend((seed >> 11).to_le_bytes());
    }
    out.truncate(bytes);
    out
}

fn archive(seed: u64) -> Vec<u8> {
    let entries: Vec<Entry> = (0..20).map(|n| file(format!("top/f{n}"), noise(100_000, seed + n))).collect();
    gz(&tar(&entries))
}

fn tree(seed: u64) -> BTreeMap<String, String> {
    let files =
        (0..20).map(|n| (format!("f{n}"), format!("644 {}", String::from_utf8_lossy(&noise(100_000, seed + n)))));
    files.collect()
}

type Answer = fn(&Ask, &mut dyn Write, &[u8]) -> std::io::Result<()>;

/// Installs from a server that behaves like `answer`; with the digest or without.
fn attempt(place: &Place, bytes: &[u8], digest: bool, answer: Answer) -> (Result<Placed, InstallError>, Web) {
    let served = bytes.to_vec();
    let web = Web::start(move |ask, out| answer(ask, out, &served));
    let result = place.install(&web.url, "a.tar.gz", digest.then(|| sha256(bytes)));
    (result, web)
}

#[test]
fn a_connection_that_dies_is_taken_up_where_it_was() {
    let bytes = archive(1);
    for digest in [true, false] {
        let place = Place::new();
        let (placed, web) = attempt(&place, &bytes, digest, |ask, out, bytes| {
            head(ask, out, bytes.len(), "\"v1\"")?;
            let from = ask.from.unwrap_or(0);
            out.write_all(&bytes[from..(from + 700_000).min(bytes.len())])
        });
        placed.unwrap();
        assert_eq!(contents(&place.target()), tree(1));
        let from: Vec<Option<usize>> = web.asked().iter().map(|ask| ask.from).collect();
        assert_eq!(from, [None, Some(700_000), Some(1_400_000)]);
        assert_eq!(web.asked()[1].if_range.as_deref(), Some("\"v1\""));
    }
}

#[test]
fn a_server_that_knows_no_ranges_is_borne() {
    let bytes = archive(2);
    let place = Place::new();
    let (placed, web) = attempt(&place, &bytes, true, |ask, out, bytes| {
        write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
        out.write_all(&bytes[..if ask.nth == 0 { 900_000 } else { bytes.len() }])
    });
    placed.unwrap();
    assert_eq!((contents(&place.target()), web.asked().len()), (tree(2), 2));
}

/// The old beginning is never joined to the new end, not even for a server that takes no notice of If-Range.
#[test]
fn a_file_that_changes_meanwhile_is_fetched_anew() {
    for obeys in [true, false] {
        for digest in [true, false] {
            let (old, new) = (archive(3), archive(4));
            let place = Place::new();
            let (first, second) = (old.clone(), new.clone());
            let web = Web::start(move |ask, out| match ask.nth {
                0 => {
                    head(ask, out, first.len(), "\"old\"")?;
                    out.write_all(&first[..800_000])
                }
                _ if obeys => serve(ask, out, &second, "\"new\""),
                _ => serve(&Ask { if_range: None, ..ask.clone() }, out, &second, "\"new\""),
            });
            place.install(&web.url, "a.tar.gz", digest.then(|| sha256(&new))).unwrap();
            assert_eq!(contents(&place.target()), tree(4), "{obeys} {digest}");
        }
    }
}

#[test]
fn a_file_that_changes_every_time_is_told() {
    let place = Place::new();
    let (result, _web) = attempt(&place, &archive(5), false, |ask, out, bytes| {
        let tag = format!("\"{}\"", ask.nth);
        head(&Ask { if_range: None, ..ask.clone() }, out, bytes.len(), &tag)?;
        let from = ask.from.unwrap_or(0);
        out.write_all(&bytes[from..from + 100_000])
    });
    refused(&place, result, &["changed on the server", "try again"]);
}

/// The error names URL and cure, and nothing is there.
fn refused(place: &Place, result: Result<Placed, InstallError>, holds: &[&str]) {
    let error = result.unwrap_err().to_string();
    for part in holds {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    assert!(error.contains("://127.0.0.1:"), "no URL in: {error}");
    place.assert_untouched(&error);
    assert!(!place.target().exists());
}

#[test]
fn each_misbehaviour_is_told_with_its_cure() {
    let cases: [(&str, &[&str]); 10] = [
        ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", &["asking for", "404", "catalog"]),
        ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", &["answered 500", "log"]),
        ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", &["answered 403"]),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\nhello", &["web page", "proxy"]),
        ("HTTP/1.1 200 OK\r\n\r\n\n<!DOCTYPE html><html>", &["web page", "proxy"]),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nx", &["encodes", "compression"]),
        (
            "HTTP/1.1 302 Go\r\nLocation: http://elsewhere.invalid/x\r\nContent-Length: 0\r\n\r\n",
            &["redirects to http://elsewhere.invalid/x", "install.redirect_hosts"],
        ),
        ("HTTP/1.1 302 Go\r\nLocation: /a.tar.gz\r\nContent-Length: 0\r\n\r\n", &["redirects too often"]),
        ("SSH-2.0-OpenSSH_9.2\r\n", &["cannot be reached"]),
        ("", &["cannot be reached"]),
    ];
    for (answer, holds) in cases {
        let place = Place::new();
        let web = Web::start(move |_, out| out.write_all(answer.as_bytes()));
        refused(&place, place.install(&web.url, "a.tar.gz", Some(sha256(b"x"))), holds);
    }
}

#[test]
fn lengths_and_parts_are_not_believed() {
    let place = Place::new();
    let (result, _web) = attempt(&place, &archive(6), true, |_, out, bytes| {
        write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len() + 10)?;
        out.write_all(bytes)
    });
    refused(&place, result, &["the connection ended after", "bytes"]);
    let (result, _web) = attempt(&place, &archive(6), false, |_, out, bytes| {
        write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len() - 10)?;
        out.write_all(bytes)
    });
    refused(&place, result, &["ends too early"]);
    let (result, _web) = attempt(&Place::new(), &archive(6), true, |ask, out, bytes| match ask.from {
        None => {
            head(ask, out, bytes.len(), "\"v1\"")?;
            out.write_all(&bytes[..1000])
        }
        Some(_) => {
            let (last, size) = (bytes.len() - 1, bytes.len());
            write!(out, "HTTP/1.1 206 Part\r\nContent-Range: bytes 5-{last}/{size}\r\nETag: \"v1\"\r\n\r\n")
        }
    });
    refused(&place, result, &["another part", "proxy"]);
}

#[test]
fn a_wrong_hash_installs_nothing_and_spoils_nothing() {
    let place = Place::new();
    let (good, other) = (archive(7), archive(8));
    let web = Web::of_files(&[("a.tar.gz", &other)]);
    let result = place.install(&web.url, "a.tar.gz", Some(sha256(&good)));
    let [wanted, got] = [&good, &other].map(|bytes| sha256(bytes).to_string());
    refused(&place, result, &["verifying", &wanted, &got, "nothing was installed"]);
    let web = Web::of_files(&[("a.tar.gz", &good)]);
    place.install(&web.url, "a.tar.gz", Some(sha256(&good))).unwrap();
    assert_eq!(contents(&place.target()), tree(7));
}

#[test]
fn a_server_that_stalls_is_left() {
    let mut place = Place::new();
    place.install.stall = Duration::from_secs(1);
    place.install.backoff = vec![];
    let (result, _web) = attempt(&place, &archive(9), true, |ask, out, bytes| {
        head(ask, out, bytes.len(), "\"v1\"")?;
        out.write_all(&bytes[..100_000])?;
        out.flush()?;
        // Until the client hangs up.
        crate::support::eventually_now(Duration::from_secs(60), || out.write_all(b"").and_then(|()| out.flush()).err());
        Ok(())
    });
    refused(&place, result, &["fetching", "no byte came for", "install.stall"]);
}

#[test]
fn who_is_not_there_is_told_and_a_mirror_helps() {
    let bytes = archive(10);
    let web = Web::of_files(&[("a.tar.gz", &bytes)]);
    let place = Place::new();
    refused(
        &place,
        place.install("http://127.0.0.1:9/", "a.tar.gz", None),
        &["cannot be reached", "artifact server runs"],
    );
    let server = ArtifactServer::new("http://127.0.0.1:9", std::slice::from_ref(&web.url), &place.install).unwrap();
    let artifact = server.artifact("a.tar.gz", Some(sha256(&bytes)), Some(bytes.len() as u64)).unwrap();
    let fetched = server.fetch_file(&artifact, None, &place.things(), &place.cancel, &|_, _| ()).unwrap();
    assert_eq!(fetched.received().url, format!("{}/a.tar.gz", web.url));
    fetched.place("kept", 0o6777, None).unwrap();
    assert_eq!(fs::read(place.things().join("kept")).unwrap(), bytes);
    assert_eq!(names(&place.things()), ["kept"]);
}

#[test]
fn a_size_that_the_catalog_knows_is_checked_before_a_byte_is_taken() {
    let (place, bytes) = (Place::new(), archive(11));
    let web = Web::of_files(&[("a.tar.gz", &bytes)]);
    let server = ArtifactServer::new(&web.url, &[], &place.install).unwrap();
    let artifact = server.artifact("a.tar.gz", None, Some(5)).unwrap();
    let error = server.fetch_file(&artifact, None, &place.things(), &place.cancel, &|_, _| ()).unwrap_err();
    assert!(error.to_string().contains("the catalog says 5"), "{error}");
    assert_eq!(names(&place.things()), [""; 0]);
}

#[test]
fn a_redirect_to_a_named_host_is_followed() {
    let bytes = archive(12);
    let files = Web::of_files(&[("b.tar.gz", &bytes)]);
    let to = files.url.replace("127.0.0.1", "localhost");
    let web = Web::start(move |_, out| {
        write!(out, "HTTP/1.1 302 Go\r\nLocation: {to}/b.tar.gz\r\nContent-Length: 0\r\n\r\n")
    });
    let mut place = Place::new();
    let error = place.install(&web.url, "a.tar.gz", None).unwrap_err().to_string();
    assert!(error.contains("install.redirect_hosts"), "{error}");
    place.install.redirect_hosts = vec!["localhost".into()];
    place.install(&web.url, "a.tar.gz", Some(sha256(&bytes))).unwrap();
    assert_eq!(contents(&place.target()), tree(12));
}

#[test]
fn the_cache_serves_the_second_install_and_heals_itself() {
    let (place, bytes) = (Place::new(), archive(13));
    let web = Web::of_files(&[("a.tar.gz", &bytes)]);
    let install = || place.install(&web.url, "a.tar.gz", Some(sha256(&bytes))).unwrap();
    assert!(!install().from_cache);
    assert!(install().from_cache);
    assert_eq!(web.asked().len(), 1);
    let kept = place.folder.path().join("cache/sha256").join(sha256(&bytes).to_string());
    let mut rotten = fs::read(&kept).unwrap();
    rotten[1_000_000] ^= 1;
    fs::write(&kept, rotten).unwrap();
    assert!(!install().from_cache, "a rotten file is fetched again");
    assert_eq!(contents(&place.target()), tree(13));
    assert!(install().from_cache);
    let trimmed = place.cache().trim(0).unwrap();
    assert_eq!((trimmed.files, trimmed.kept), (1, 0));
    assert!(!install().from_cache);
}

/// What a killed transfer left is taken up by the next; if it was spoilt meanwhile, all is fetched again.
#[test]
fn a_beginning_on_disk_is_taken_up_unless_it_is_spoilt() {
    for spoilt in [false, true] {
        let (mut place, bytes) = (Place::new(), archive(14));
        place.install.backoff = vec![];
        let served = bytes.clone();
        let web = Web::start(move |ask, out| {
            head(ask, out, served.len(), "\"v1\"")?;
            let end = if ask.nth == 0 { 1_200_000 } else { served.len() };
            out.write_all(&served[ask.from.unwrap_or(0)..end])
        });
        place.install(&web.url, "a.tar.gz", Some(sha256(&bytes))).unwrap_err();
        let partial = place.folder.path().join("cache/partial").join(sha256(&bytes).to_string());
        assert_eq!(partial.metadata().unwrap().len(), 1_200_000);
        if spoilt {
            let mut bad = fs::read(&partial).unwrap();
            bad[600_000..700_000].fill(0);
            fs::write(&partial, bad).unwrap();
        }
        place.install(&web.url, "a.tar.gz", Some(sha256(&bytes))).unwrap();
        assert_eq!(contents(&place.target()), tree(14));
        let from: Vec<Option<usize>> = web.asked().iter().skip(1).map(|ask| ask.from).collect();
        assert_eq!(from.last(), Some(if spoilt { &None } else { &Some(1_200_000) }), "{from:?}");
        assert_eq!(names(&place.folder.path().join("cache/partial")), [""; 0]);
    }
}

#[test]
fn a_cancelled_install_ends_soon_and_leaves_only_its_beginning() {
    let place = Arc::new(Place::new());
    let web = Web::start(|ask, out| {
        head(ask, out, 10_000_000, "\"v1\"")?;
        out.write_all(&archive(15)[..500_000])?;
        out.flush()?;
        crate::support::eventually_now(Duration::from_secs(60), || out.write_all(b"").and_then(|()| out.flush()).err());
        Ok(())
    });
    let (of, base) = (Arc::clone(&place), web.url.clone());
    let work = thread::spawn(move || of.install(&base, "a.tar.gz", None));
    let came = crate::support::eventually_now(Duration::from_secs(60), || (!web.asked().is_empty()).then_some(()));
    came.expect("the server is asked");
    place.cancel.cancel();
    assert!(matches!(work.join().unwrap(), Err(InstallError::Cancelled)));
    place.assert_untouched("a cancelled install");
}

#[test]
fn progress_is_told_and_ends_at_the_end() {
    let (place, bytes) = (Place::new(), archive(16));
    let web = Web::of_files(&[("a.tar.gz", &bytes)]);
    let told = Mutex::new(Vec::new());
    place.with_job(&web.url, "a.tar.gz", None, |job| {
        let watch = |progress| told.lock().unwrap().push(progress);
        stage(&Job { watch: &watch, label: job.label.clone(), ..*job }).unwrap();
    });
    let told = told.into_inner().unwrap();
    let last = told.last().unwrap();
    assert_eq!((last.done, last.total), (bytes.len() as u64, Some(bytes.len() as u64)));
    assert!(told.windows(2).all(|two| two[0].done <= two[1].done));
}

/// Room for less than the tree: a small file system that only one thread and its children see.
#[test]
fn a_full_disk_is_told_and_the_old_version_stays() {
    let place = Place::new();
    let old = tar(&[file("top/old", "works")]);
    let new = archive(17);
    let web = Web::of_files(&[("old.tar", &old), ("new.tar.gz", &new)]);
    let (error, left) = thread::scope(|scope| {
        let alone = || {
            let nothing = None::<&str>;
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
            mount(Some("none"), &place.things(), Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
            place.install(&web.url, "old.tar", Some(sha256(&old))).unwrap();
            let error = place.install(&web.url, "new.tar.gz", Some(sha256(&new))).unwrap_err().to_string();
            (error, (contents(&place.target()), place.staging()))
        };
        scope.spawn(alone).join().unwrap()
    });
    assert!(error.contains("No space left") && error.contains("free some space"), "{error}");
    assert_eq!(left, (BTreeMap::from([("old".to_owned(), "644 works".to_owned())]), vec![]));
}

fn tls(names: &[&str], change: impl FnOnce(&mut rcgen::CertificateParams)) -> (rustls::ServerConfig, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>()).unwrap();
    change(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    (config, certificate.pem())
}

#[test]
fn tls_is_verified_and_its_faults_are_named() {
    let bytes = archive(18);
    let good: fn(&mut rcgen::CertificateParams) = |_| ();
    let expired: fn(&mut rcgen::CertificateParams) = |of| of.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let early: fn(&mut rcgen::CertificateParams) = |of| of.not_before = rcgen::date_time_ymd(2100, 1, 1);
    let cases = [
        ("127.0.0.1", good, true, None),
        ("127.0.0.1", good, false, Some(["no known authority", "install.ca_file"])),
        ("127.0.0.1", expired, true, Some(["has expired", "renew it"])),
        ("127.0.0.1", early, true, Some(["not valid yet", "clock"])),
        ("example.com", good, true, Some(["another host name", "name that it was made for"])),
    ];
    for (name, change, trusted, fault) in cases {
        let mut place = Place::new();
        let (config, pem) = tls(&[name], change);
        let ca = place.folder.path().join("cache.pem");
        fs::write(&ca, pem).unwrap();
        place.install.ca_file = trusted.then(|| ca.clone());
        let served = bytes.clone();
        let web = Web::start_tls(config, move |ask, out| serve(ask, out, &served, "\"v1\""));
        let result = place.install(&web.url, "a.tar.gz", Some(sha256(&bytes)));
        fs::remove_file(ca).unwrap();
        match fault {
            None => assert_eq!(contents(&place.target()), result.map(|_| tree(18)).unwrap()),
            Some(holds) => refused(&place, result, &holds),
        }
    }
}

#[tokio::test]
async fn small_documents_are_capped_retried_and_told() {
    let count = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&count);
    let web = Web::start(move |ask, out| match ask.path.as_str() {
        "/flaky.json" if asked.fetch_add(1, Ordering::SeqCst) < 2 => {
            out.write_all(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")
        }
        "/flaky.json" => serve(ask, out, b"{}", "\"1\""),
        "/large.json" => serve(ask, out, &[b' '; 5000], "\"1\""),
        "/endless.json" => {
            out.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            (0..10_000).try_for_each(|_| out.write_all(&[b' '; 1000]))
        }
        "/page.json" => serve(ask, out, b"<html>log in", "\"1\""),
        "/a.tar.gz.sha256" => serve(ask, out, format!("{}  a.tar.gz\n", sha256(b"x")).as_bytes(), "\"1\""),
        "/b.tar.gz.sha256" => serve(ask, out, b"none", "\"1\""),
        _ => out.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
    });
    let install = Install { backoff: vec![Duration::from_millis(1); 3], ..Install::default() };
    let server = ArtifactServer::new(&web.url, &[], &install).unwrap();
    let read = async |path: &str| server.document(path, 4096).await;
    let told = |result: Result<_, FetchError>| result.map(|_: Option<_>| ()).unwrap_err().to_string();
    assert_eq!(read("flaky.json").await.unwrap().unwrap().bytes, b"{}");
    assert_eq!(read("absent.json").await.unwrap(), None);
    assert!(told(read("large.json").await).contains("5000 bytes are more than the 4096"));
    assert!(told(read("endless.json").await).contains("more than the 4096"));
    assert!(told(read("page.json").await).contains("web page"));
    assert!(told(read("../x").await).contains("no path below the artifact server"));
    assert_eq!(server.checksum("a.tar.gz").await.unwrap(), Some(sha256(b"x")));
    assert_eq!(server.checksum("c.tar.gz").await.unwrap(), None);
    let error = server.checksum("b.tar.gz").await.unwrap_err().to_string();
    assert!(error.contains("no checksum file") && error.contains("sha256sum"), "{error}");
}
