//! Judges an archive by the names in it: is it the compiled release it should be, and how is it packed?
use crate::model::catalog::{ArchiveEntry, EntryKind, Layout};

/// Folders around the tree that are looked past.
const DEEPEST_STRIP: usize = 2;

/// How to unpack and use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub strip: u32,
    pub bin: Vec<String>,
}

/// Why it is not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it is no {product} release: {} not in it (it holds {}){hint}", missing.join(", "), saw.join(", "))]
    Missing { product: &'static str, missing: Vec<String>, saw: Vec<String>, hint: &'static str },
    #[error("{program} is built for {machine}; linux on x86-64 is needed")]
    OtherMachine { program: String, machine: &'static str },
    #[error("{0} cannot be run: its mode in the archive has no x bit, or it is no file")]
    NotExecutable(String),
    #[error("it is empty")]
    Empty,
    #[error("it is no program file for linux (ELF)")]
    NoProgram,
    #[error("it is no jar: META-INF/MANIFEST.MF is not in it")]
    NoJar,
}

/// `layout` is what its tree must look like.
pub fn judge(layout: &Layout, entries: &[ArchiveEntry]) -> Result<Found, Unfit> {
    let names: Vec<Vec<&str>> =
        entries.iter().map(|entry| parts(&entry.path)).filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err(Unfit::Empty);
    }
    let mut best: Option<Vec<String>> = None;
    for strip in (0..=DEEPEST_STRIP).take_while(|strip| is_wrapped(&names, *strip)) {
        let missing = missing(layout, &names, strip);
        if missing.is_empty() {
            check_programs(layout, entries, strip)?;
            return Ok(Found { strip: strip as u32, bin: layout.bin.iter().map(|bin| (*bin).to_owned()).collect() });
        }
        if best.as_ref().is_none_or(|best| missing.len() < best.len()) {
            best = Some(missing);
        }
    }
    let missing = best.unwrap_or_default();
    Err(Unfit::Missing { product: layout.id, missing, saw: tops(&names), hint: hint(&names) })
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !matches!(*part, "" | ".")).collect()
}

/// Do all names lie within the same `depth` folders?
fn is_wrapped(names: &[Vec<&str>], depth: usize) -> bool {
    let Some(longest) = names.iter().max_by_key(|name| name.len()) else { return false };
    longest.len() > depth && names.iter().all(|name| name.iter().zip(longest).take(depth).all(|(a, b)| a == b))
}

fn missing(layout: &Layout, names: &[Vec<&str>], strip: usize) -> Vec<String> {
    let has = |wanted: &str| {
        let wanted = parts(wanted);
        names.iter().any(|name| name.get(strip..).is_some_and(|name| name.starts_with(&wanted)))
    };
    let lacking = |wanted: &&&str| !has(wanted);
    let programs = layout.programs.iter().filter(lacking).map(|program| (*program).to_owned());
    programs.chain(layout.folders.iter().filter(lacking).map(|folder| format!("{folder}/"))).collect()
}

fn check_programs(layout: &Layout, entries: &[ArchiveEntry], strip: usize) -> Result<(), Unfit> {
    for program in layout.programs {
        let wanted = parts(program);
        let Some(entry) = entries.iter().find(|e| parts(&e.path).get(strip..) == Some(&wanted)) else { continue };
        match entry.kind {
            // Where a link leads is in the archive too, or the installer's first run will tell.
            EntryKind::Link => {}
            EntryKind::Program => {
                if let Some(machine) = other_machine(&entry.head) {
                    return Err(Unfit::OtherMachine { program: entry.path.clone(), machine });
                }
            }
            EntryKind::Folder | EntryKind::File | EntryKind::Other => {
                return Err(Unfit::NotExecutable(entry.path.clone()));
            }
        }
    }
    Ok(())
}

/// What a program file is built for, if that is not linux on x86-64. Scripts run anywhere.
pub fn other_machine(head: &[u8]) -> Option<&'static str> {
    const X86_64: u8 = 62;
    const AARCH64: u8 = 183;
    match head {
        [0x7f, b'E', b'L', b'F', ..] => match head.get(18) {
            Some(&X86_64) => None,
            Some(&AARCH64) => Some("aarch64"),
            _ => Some("another processor"),
        },
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => Some("macOS"),
        [b'M', b'Z', ..] => Some("Windows"),
        _ => None,
    }
}

/// By the first bytes of a program that is to be run by itself.
pub fn judge_program(head: &[u8]) -> Result<(), Unfit> {
    match other_machine(head) {
        Some(machine) => Err(Unfit::OtherMachine { program: "the program".into(), machine }),
        None if head.starts_with(b"\x7fELF") => Ok(()),
        None => Err(Unfit::NoProgram),
    }
}

/// A server or an installer in Java.
pub fn judge_jar(entries: &[ArchiveEntry]) -> Result<(), Unfit> {
    let manifest = entries.iter().any(|entry| entry.path.eq_ignore_ascii_case("META-INF/MANIFEST.MF"));
    if manifest { Ok(()) } else { Err(Unfit::NoJar) }
}

/// The first names at the top, eight at most.
fn tops(names: &[Vec<&str>]) -> Vec<String> {
    let mut tops: Vec<String> = Vec::new();
    for name in names {
        let is_folder = names.iter().any(|other| other.len() > 1 && other[0] == name[0]);
        let top = if is_folder { format!("{}/", name[0]) } else { name[0].to_owned() };
        if tops.len() < 8 && !tops.contains(&top) {
            tops.push(top);
        }
    }
    tops
}

/// Signs of a source tree, which is what people publish by mistake.
fn hint(names: &[Vec<&str>]) -> &'static str {
    const SIGNS: [&str; 8] = [
        "configure",
        "configure.ac",
        "Makefile",
        "CMakeLists.txt",
        "package.json",
        "tsconfig.json",
        "build.sh",
        "setup.py",
    ];
    let source = names.iter().any(|name| name.len() <= 2 && name.last().is_some_and(|last| SIGNS.contains(last)));
    if source { "; it looks like a source tree: publish the compiled release instead" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog::layout;

    const ELF: [u8; 20] = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 62, 0];

    /// `x*` may be run, `x@` is a link, `x/` a folder.
    fn archive(names: &[&str]) -> Vec<ArchiveEntry> {
        let entry = |name: &&str| {
            let (path, kind) = match name.as_bytes().last() {
                Some(b'*') => (name.trim_end_matches('*'), EntryKind::Program),
                Some(b'@') => (name.trim_end_matches('@'), EntryKind::Link),
                Some(b'/') => (*name, EntryKind::Folder),
                _ => (*name, EntryKind::File),
            };
            ArchiveEntry { path: path.into(), kind, head: ELF.to_vec() }
        };
        names.iter().map(entry).collect()
    }

    #[test]
    fn real_releases_are_recognised_with_and_without_a_top_folder() {
        let table: [(&str, &[&str], u32); 7] = [
            (
                "node",
                &["node-v22.11.0-linux-x64/", "node-v22.11.0-linux-x64/bin/node*", "node-v22.11.0-linux-x64/LICENSE"],
                1,
            ),
            ("python", &["python/bin/python3.12*", "python/bin/python3@", "python/lib/python3.12/os.py"], 1),
            ("go", &["go/bin/go*", "go/src/fmt/print.go", "go/VERSION"], 1),
            ("java", &["./jdk-21.0.5+11/bin/java*", "./jdk-21.0.5+11/lib/modules"], 1),
            ("dotnet", &["./", "./dotnet*", "./shared/Microsoft.NETCore.App/8.0.1/x.dll"], 0),
            ("python", &["python/install/bin/python3*", "python/install/lib/x"], 2),
            (
                "code-server",
                &[
                    "code-server-4.96.4-linux-amd64/bin/code-server*",
                    "code-server-4.96.4-linux-amd64/lib/node*",
                    "code-server-4.96.4-linux-amd64/node_modules/x/package.json",
                    "code-server-4.96.4-linux-amd64/package.json",
                ],
                1,
            ),
        ];
        for (id, names, strip) in table {
            let found = judge(layout(id).unwrap(), &archive(names));
            assert_eq!(found.unwrap_or_else(|e| panic!("{id}: {e}")).strip, strip, "{id}");
        }
    }

    #[test]
    fn a_source_tree_is_refused_and_called_so() {
        let table: [(&str, &[&str]); 4] = [
            (
                "code-server",
                &[
                    "code-server-4.96.4/package.json",
                    "code-server-4.96.4/src/node/cli.ts",
                    "code-server-4.96.4/lib/vscode/x",
                ],
            ),
            ("node", &["node-v22/configure", "node-v22/src/node.cc"]),
            ("python", &["Python-3.12.1/configure", "Python-3.12.1/Modules/main.c", "Python-3.12.1/lib/x"]),
            ("java", &["jdk-21/configure", "jdk-21/src/x"]),
        ];
        for (id, names) in table {
            let said = judge(layout(id).unwrap(), &archive(names)).unwrap_err().to_string();
            assert!(said.contains("source tree"), "{id}: {said}");
        }
        let said = judge(layout("code-server").unwrap(), &archive(table[0].1)).unwrap_err().to_string();
        assert!(said.contains("bin/code-server, node_modules/ not in it"), "{said}");
    }

    #[test]
    fn what_cannot_run_here_is_refused() {
        let node = layout("node").unwrap();
        let mut other = archive(&["n/bin/node*"]);
        for (at, byte, machine) in [(18, 183, "aarch64"), (0, 0xcf, "")] {
            other[0].head[at] = byte;
            match judge(node, &other) {
                Err(Unfit::OtherMachine { machine: said, .. }) => assert_eq!(said, machine),
                other => assert!(machine.is_empty() && other.is_ok(), "{other:?}"),
            }
        }
        other[0].head = vec![0xcf, 0xfa, 0xed, 0xfe, 7];
        assert!(matches!(judge(node, &other), Err(Unfit::OtherMachine { machine: "macOS", .. })));
        assert_eq!(judge(node, &archive(&["n/bin/node"])), Err(Unfit::NotExecutable("n/bin/node".into())));
        assert_eq!(judge(node, &archive(&["n/bin/node/"])), Err(Unfit::NotExecutable("n/bin/node/".into())));
        assert_eq!(judge(node, &[]), Err(Unfit::Empty));
        assert_eq!((judge_program(&ELF), judge_program(b"#!/bin/sh")), (Ok(()), Err(Unfit::NoProgram)));
        assert!(judge_jar(&archive(&["META-INF/MANIFEST.MF"])).is_ok() && judge_jar(&archive(&["x"])).is_err());
        let said = judge(node, &archive(&["a/x", "b/y"])).unwrap_err().to_string();
        assert_eq!(said, "it is no node release: bin/node not in it (it holds a/, b/)");
    }
}
