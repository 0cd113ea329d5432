//! `import` from every upstream: its recorded answers (`tests/upstreams`), served here, with small archives of our own in
//! place of its releases. Where an upstream's files lie on another host than its pages, the test redirects to one.
use super::Shop;
use crate::support::web::{Ask, Web, file as serve};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};
use std::{
    collections::HashMap,
    fs,
    io::Write,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

/// One upstream as it was recorded.
struct Recorded {
    target: &'static str,
    wish: &'static str,
    /// What `wish` means, and what nobody has.
    version: &'static str,
    absent: &'static str,
    /// Of which there are pre-releases only; empty where its pages name none.
    unripe: &'static str,
    /// Below this machine's address.
    from: &'static str,
    /// Path and query, and the file in `tests/upstreams`.
    pages: &'static [(&'static str, &'static str)],
    /// Path of the release's file, and the checksum that the pages give for it.
    file: &'static str,
    checksum: &'static str,
    /// How it is packed, its top folder, and what is in it.
    packed: &'static str,
    top: &'static str,
    programs: &'static [&'static str],
    /// In the catalog.
    released_at: Option<&'static str>,
}

const UPSTREAMS: [Recorded; 8] = [
    Recorded {
        target: "node",
        wish: "18",
        version: "18.9.0",
        absent: "99",
        unripe: "",
        from: "/dist",
        pages: &[("/dist/index.json", "node-index.json"), ("/dist/v18.9.0/SHASUMS256.txt", "node-SHASUMS256.txt")],
        file: "/dist/v18.9.0/node-v18.9.0-linux-x64.tar.xz",
        checksum: "0137e43f5492dd97b6ef1f39ea4581975016e5f1e70db461d7292c6853ace066",
        packed: "tar.xz",
        top: "node-v18.9.0-linux-x64",
        programs: &["bin/node"],
        released_at: Some("2022-09-08T00:00:00.000Z"),
    },
    Recorded {
        target: "go",
        wish: "1.22",
        version: "1.22.0",
        absent: "1.99",
        unripe: "1.23",
        from: "/dl",
        pages: &[("/dl/?mode=json&include=all", "go.json")],
        file: "/dl/go1.22.0.linux-amd64.tar.gz",
        checksum: "f6c8a87aa03b92c4b0bf3d558e28ea03006eb29db78917daec5cfb6ec1046265",
        packed: "tar.gz",
        top: "go",
        programs: &["bin/go", "src/a.go"],
        released_at: None,
    },
    Recorded {
        target: "java",
        wish: "21",
        version: "21.0.9+10",
        absent: "99",
        unripe: "",
        from: "",
        pages: &[(
            "/v3/assets/latest/21/hotspot?architecture=x64&image_type=jdk&os=linux&vendor=eclipse",
            "temurin-21-jdk.json",
        )],
        file: "/adoptium/temurin21-binaries/releases/download/jdk-21.0.9%2B10/OpenJDK21U-jdk_x64_linux_hotspot_21.0.9_10.tar.gz",
        checksum: "810d3773df7e0d6c4394e4e244b264c8b30e0b05a0acf542d065fd78a6b65c2f",
        packed: "tar.gz",
        top: "jdk-21.0.9+10",
        programs: &["bin/java", "lib/modules"],
        released_at: Some("2025-10-22T10:00:00.000Z"),
    },
    Recorded {
        target: "game-java",
        wish: "21",
        version: "21.0.9+10",
        absent: "21.0.1",
        unripe: "",
        from: "",
        pages: &[(
            "/v3/assets/latest/21/hotspot?architecture=x64&image_type=jre&os=linux&vendor=eclipse",
            "temurin-21-jre.json",
        )],
        file: "/adoptium/temurin21-binaries/releases/download/jdk-21.0.9%2B10/OpenJDK21U-jre_x64_linux_hotspot_21.0.9_10.tar.gz",
        checksum: "4444444444444444444444444444444444444444444444444444444444444444",
        packed: "tar.gz",
        top: "jdk-21.0.9+10-jre",
        programs: &["bin/java", "lib/modules"],
        released_at: Some("2025-10-22T10:00:00.000Z"),
    },
    Recorded {
        target: "dotnet",
        wish: "8.0",
        version: "8.0.404",
        absent: "8.0.999",
        unripe: "8.0.100",
        from: "/dotnet/release-metadata",
        pages: &[("/dotnet/release-metadata/8.0/releases.json", "dotnet-8.0.json")],
        file: "/download/pr/4e3b04aa-c015-4e06-a42e-05f9f3c54ed2/74d1bb68e330eea13ecfc47f7cf9aeb7/dotnet-sdk-8.0.404-linux-x64.tar.gz",
        checksum: "2f166f7f3bd508154d72d1783ffac6e0e3c92023ccc2c6de49d22b411fc8b9e6dd03e7576acc1bb5870a6951181129ba77f3bf94bb45fe9c70105b1b896b9bb9",
        packed: "tar.gz",
        top: ".",
        programs: &["dotnet", "shared/a.dll"],
        released_at: Some("2024-11-12T00:00:00.000Z"),
    },
    Recorded {
        target: "python",
        wish: "3.12",
        version: "3.12.7",
        absent: "3.9",
        unripe: "3.14",
        from: "/repos/astral-sh/python-build-standalone",
        pages: &[
            ("/repos/astral-sh/python-build-standalone/releases/latest", "python-latest.json"),
            ("/astral-sh/python-build-standalone/releases/download/20241016/SHA256SUMS", "python-SHA256SUMS"),
        ],
        file: "/astral-sh/python-build-standalone/releases/download/20241016/cpython-3.12.7%2B20241016-x86_64-unknown-linux-gnu-install_only.tar.gz",
        checksum: "4444444444444444444444444444444444444444444444444444444444444444",
        packed: "tar.gz",
        top: "python",
        programs: &["bin/python3", "lib/os.py"],
        released_at: Some("2024-10-16T18:31:06.000Z"),
    },
    Recorded {
        target: "code-server",
        wish: "4.96.4",
        version: "4.96.4",
        absent: "4.0.0",
        unripe: "",
        from: "/repos/coder/code-server",
        pages: &[("/repos/coder/code-server/releases/tags/v4.96.4", "code-server-v4.96.4.json")],
        file: "/coder/code-server/releases/download/v4.96.4/code-server-4.96.4-linux-amd64.tar.gz",
        checksum: "9999999999999999999999999999999999999999999999999999999999999999",
        packed: "tar.gz",
        top: "code-server-4.96.4-linux-amd64",
        programs: &["bin/code-server", "lib/node", "node_modules/a.js"],
        released_at: Some("2025-01-21T00:29:53.000Z"),
    },
    Recorded {
        target: "minecraft/paper",
        wish: "1.21.6",
        version: "1.21.6-46",
        absent: "1.21.6-47",
        unripe: "",
        from: "/v3",
        pages: &[("/v3/projects/paper/versions/1.21.6/builds", "paper-1.21.6-builds.json")],
        file: "/v1/objects/cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc/paper-1.21.6-46.jar",
        checksum: "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc",
        packed: "zip",
        top: "",
        programs: &["META-INF/MANIFEST.MF", "a.class"],
        released_at: Some("2025-06-19T12:00:00.000Z"),
    },
];

/// An upstream that is up.
struct Upstream {
    web: Web,
    of: &'static Recorded,
    /// By path and query; changed by tests that spoil something.
    pages: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Upstream {
    fn start(shop: &Shop, of: &'static Recorded) -> Upstream {
        let archive = archive(shop, of);
        let pages = Arc::<Mutex<HashMap<String, Vec<u8>>>>::default();
        let served = pages.clone();
        let web = Web::start(move |ask, out| answer(ask, out, &served.lock().unwrap()));
        let up = Upstream { web, of, pages };
        for (path, recorded) in of.pages {
            let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upstreams").join(recorded)).unwrap();
            up.put(path, up.adapted(&String::from_utf8(text).unwrap(), &archive));
        }
        // As on the release hosts: the address in the listing leads on to another host.
        let elsewhere = format!("/elsewhere{}", of.file);
        let to = format!("-> {}{elsewhere}", up.web.url.replace("127.0.0.1", "localhost"));
        up.put(of.file, to.into_bytes());
        up.put(&elsewhere, archive);
        up
    }

    /// Our address for each upstream's, and our archive's checksum and size for the release's.
    fn adapted(&self, text: &str, archive: &[u8]) -> Vec<u8> {
        let sum = match self.of.checksum.len() {
            64 => data_encoding::HEXLOWER.encode(&Sha256::digest(archive)),
            _ => data_encoding::HEXLOWER.encode(&Sha512::digest(archive)),
        };
        let Ok(mut listing) = serde_json::from_str::<Value>(text) else {
            return text.replace(self.of.checksum, &sum).into_bytes();
        };
        adapt(&mut listing, self, &sum, archive.len());
        listing.to_string().into_bytes()
    }

    fn put(&self, path: &str, page: Vec<u8>) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.pages.lock().unwrap().get_mut(path).unwrap());
    }

    fn from(&self) -> String {
        format!("{}{}", self.web.url, self.of.from)
    }

    fn asked_for_file(&self) -> usize {
        self.web.asked().iter().filter(|ask| ask.path == self.of.file).count()
    }
}

fn adapt(value: &mut Value, up: &Upstream, sum: &str, size: usize) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix("https://") {
                let path = rest.find('/').map_or("", |at| &rest[at..]);
                *text = format!("{}{path}", up.web.url);
            } else {
                *text = text.replace(up.of.checksum, sum);
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|one| adapt(one, up, sum, size)),
        Value::Object(fields) => {
            let ours = fields.values().any(|field| field.to_string().contains(up.of.checksum));
            let named = fields
                .get("name")
                .is_some_and(|name| up.of.file.replace("%2B", "+").ends_with(name.as_str().unwrap_or(" ")));
            fields.values_mut().for_each(|field| adapt(field, up, sum, size));
            if let Some(told) = fields.get_mut("size").filter(|_| ours || named) {
                *told = size.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn answer(ask: &Ask, out: &mut dyn Write, pages: &HashMap<String, Vec<u8>>) -> std::io::Result<()> {
    match pages.get(&ask.path) {
        Some(page) => match page.strip_prefix(b"-> ") {
            Some(to) => {
                let to = String::from_utf8_lossy(to);
                write!(out, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            }
            None => serve(ask, out, page, "\"1\""),
        },
        None => out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    }
}

/// A small release with the upstream's layout, made by the tools that upstreams use.
fn archive(shop: &Shop, of: &Recorded) -> Vec<u8> {
    let folder = shop.sandbox.root().join("release").join(of.top);
    for program in of.programs {
        let path = folder.join(program);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\necho {} {}\n", of.target, of.version)).unwrap();
    }
    assert!(Command::new("chmod").args(["-R", "755"]).arg(&folder).status().unwrap().success());
    let out = shop.sandbox.root().join("packed");
    let (above, top) = (shop.sandbox.root().join("release"), if of.top.is_empty() { "." } else { of.top });
    let mut pack = match of.packed {
        "zip" => Command::new("python3"),
        _ => Command::new("tar"),
    };
    match of.packed {
        "zip" => pack.args(["-m", "zipfile", "-c"]).arg(&out).args(["META-INF/", "a.class"]),
        "tar.xz" => pack.arg("-cJf").arg(&out).arg(top),
        _ => pack.arg("-czf").arg(&out).arg(top),
    };
    let done = pack.current_dir(above).output().unwrap();
    assert!(done.status.success(), "{pack:?}: {}", String::from_utf8_lossy(&done.stderr));
    fs::read(out).unwrap()
}

fn import<'a>(target: &'a str, wish: &'a str, from: &'a str) -> [&'a str; 5] {
    ["import", target, wish, "--from", from]
}

fn published(shop: &Shop, target: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(&shop.run(&["list", target, "--json"])).unwrap();
    list["versions"].as_array().unwrap().clone()
}

#[test]
fn from_every_upstream_a_release_is_found_fetched_checked_and_published() {
    for of in &UPSTREAMS {
        let shop = Shop::new();
        let up = Upstream::start(&shop, of);
        let from = up.from();
        let order = import(of.target, of.wish, &from);
        let dry = shop.run(&[&order[..], &["--dry-run"]].concat());
        assert!(dry.contains(&format!("{} would be fetched", of.version)), "{dry}");
        assert_eq!((up.asked_for_file(), published(&shop, of.target).len()), (0, 0), "{}", of.target);

        let done = shop.try_run(&[&order[..], &["--promote"]].concat());
        let (said, steps) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{}: {steps}", of.target);
        assert!(said.contains("published, stable now"), "{said}");
        assert!(steps.contains("fetching") && steps.contains("100 %"), "progress where no bar can be drawn: {steps}");
        let rows = published(&shop, of.target);
        assert_eq!((rows.len(), &rows[0]["version"]), (1, &of.version.into()), "{}", of.target);
        assert_eq!(rows[0]["current"][0], "stable");
        if let Some(at) = of.released_at {
            assert_eq!(rows[0]["releasedAt"], at, "{}: the upstream's date, not today", of.target);
        }
        let file = shop.store().join(rows[0]["path"].as_str().unwrap());
        assert_eq!(fs::read(&file).unwrap(), up.pages.lock().unwrap()[&format!("/elsewhere{}", of.file)]);
        shop.run(&["verify"]);

        let again = shop.run(&[&order[..], &["--promote"]].concat());
        assert!(again.contains("was published already"), "{again}");
        assert_eq!(up.asked_for_file(), 1, "{}: nothing is fetched twice", of.target);
        let dry = shop.run(&[&order[..], &["--dry-run"]].concat());
        assert!(dry.contains("is published already"), "{dry}");
    }
}

#[test]
fn what_does_not_fit_its_checksum_is_not_published() {
    for of in &UPSTREAMS {
        let shop = Shop::new();
        let up = Upstream::start(&shop, of);
        // The same size: nothing but the checksum can tell.
        up.change(&format!("/elsewhere{}", of.file), |bytes| *bytes.last_mut().unwrap() ^= 1);
        let said = shop.refused(1, &import(of.target, of.wish, &up.from()));
        assert!(said.contains("checksum") && said.contains("nothing was published"), "{}: {said}", of.target);
        assert!(said.contains(of.file), "{}: the URL is named: {said}", of.target);
        assert!(published(&shop, of.target).is_empty());
        assert_eq!(fs::read_dir(shop.store().join(".zlh/incoming")).unwrap().count(), 0);
    }
}

#[test]
fn a_version_that_is_not_there_is_named_and_no_pre_release_takes_its_place() {
    for of in &UPSTREAMS {
        let shop = Shop::new();
        let up = Upstream::start(&shop, of);
        let from = up.from();
        for wish in [of.absent, of.unripe].into_iter().filter(|wish| !wish.is_empty()) {
            let said = shop.refused(1, &import(of.target, wish, &from));
            assert!(said.contains(&format!("no release {wish:?}")), "{}: {said}", of.target);
        }
        assert_eq!(up.asked_for_file(), 0);
        // What is named exactly is meant.
        if of.target == "minecraft/paper" {
            let dry = shop.run(&[&import(of.target, "1.21.6-48", &from)[..], &["--dry-run"]].concat());
            assert!(dry.contains("1.21.6-48 would be fetched"), "{dry}");
        }
        if of.target == "dotnet" {
            let dry = shop.run(&[&import(of.target, "8.0.307", &from)[..], &["--dry-run"]].concat());
            assert!(dry.contains("8.0.307 would be fetched"), "{dry}");
        }
    }
}

#[test]
fn an_upstream_that_is_no_upstream_is_told() {
    let shop = Shop::new();
    for of in &UPSTREAMS {
        let up = Upstream::start(&shop, of);
        up.change(of.pages[0].0, |page| *page = b"<html>Please log in</html>".to_vec());
        let said = shop.refused(1, &import(of.target, of.wish, &up.from()));
        assert!(said.contains("not understood"), "{}: {said}", of.target);
    }
    let nobody = shop.refused(1, &import("node", "22", "http://127.0.0.1:1"));
    assert!(nobody.contains("127.0.0.1:1"), "{nobody}");
    let anonymous = shop.refused(2, &["import", "minecraft/paper", "1.21.6"]);
    assert!(anonymous.contains("--contact"), "{anonymous}");
}

#[test]
fn an_upstream_is_told_who_asks() {
    let shop = Shop::new();
    let of = UPSTREAMS.iter().find(|of| of.target == "minecraft/paper").unwrap();
    let up = Upstream::start(&shop, of);
    shop.run(&[&import(of.target, of.wish, &up.from())[..], &["--contact", "admin@example.org"]].concat());
    for ask in up.web.asked() {
        let agent = ask.head.lines().find(|line| line.to_ascii_lowercase().starts_with("user-agent:")).unwrap();
        assert!(agent.contains("zlh/") && agent.contains("(admin@example.org)"), "{agent}");
    }
}
