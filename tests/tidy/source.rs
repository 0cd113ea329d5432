//! The project as text: files, code without comments and strings, test parts, functions, and the paths a file names.
use std::{cell::OnceCell, fs, path::Path};

/// Everything the rules look at.
pub struct Project {
    pub sources: Vec<Source>,
    pub cargo_toml: String,
    pub makefile: String,
    pub dependencies_md: String,
    /// (path, text) of documents that tell people what to type.
    pub documents: Vec<(String, String)>,
}

/// One Rust file.
pub struct Source {
    /// Relative to the project, with `/`.
    pub path: String,
    pub text: String,
    /// `text` with comments and literals blanked out, line for line.
    pub code: String,
    /// Where the test part of `code` begins (its length if there is none).
    pub tests_at: usize,
    paths: OnceCell<Vec<(String, usize)>>,
}

/// A function with a body.
#[derive(Clone, Copy, Debug)]
pub struct Function<'a> {
    pub name: &'a str,
    /// 1-based line of the word `fn`.
    pub line: usize,
    /// From its attributes' first line to its closing brace.
    pub whole: &'a str,
    /// From `fn` to its closing brace.
    pub text: &'a str,
}

impl Project {
    pub fn read() -> Project {
        // Asked at run time: the same test program can judge another tree.
        let home = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
        let home = Path::new(&home);
        let read = |name: &str| fs::read_to_string(home.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut files = Vec::new();
        for folder in ["src", "tests", "examples", "benches"] {
            collect(home, Path::new(folder), "rs", &mut files);
        }
        let mut documents = vec!["README.md".to_owned(), "CONTRIBUTING.md".into(), "ARCHITECTURE.md".into()];
        collect(home, Path::new("docs"), "md", &mut documents);
        Project {
            sources: with_test_modules(files.iter().map(|f| Source::of(f, &read(f))).collect()),
            cargo_toml: read("Cargo.toml"),
            makefile: read("Makefile"),
            dependencies_md: read("docs/adr/dependencies.md"),
            documents: documents.into_iter().map(|d| (d.clone(), read(&d))).collect(),
        }
    }

    /// A project of these files alone, for the rules' own tests.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Project {
        Project {
            sources: with_test_modules(files.iter().map(|(path, text)| Source::of(path, text)).collect()),
            cargo_toml: "[dependencies]\n".into(),
            makefile: String::new(),
            dependencies_md: String::new(),
            documents: Vec::new(),
        }
    }
}

/// A file that its parent declares by `#[cfg(test)] mod x;` is a test from its first line on, and so is all below it.
fn with_test_modules(mut sources: Vec<Source>) -> Vec<Source> {
    let declared = |s: &Source| {
        let here = s.path.trim_end_matches(".rs").trim_end_matches("/main").trim_end_matches("/lib").to_owned();
        test_declarations(&s.code).map(|(_, name)| format!("{here}/{name}")).collect::<Vec<_>>()
    };
    let modules: Vec<String> = sources.iter().flat_map(declared).collect();
    let inside = |path: &str| modules.iter().any(|m| path == format!("{m}.rs") || path.starts_with(&format!("{m}/")));
    sources.iter_mut().filter(|s| inside(&s.path)).for_each(|s| s.tests_at = 0);
    sources
}

fn collect(home: &Path, folder: &Path, extension: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(home.join(folder)) else { return };
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = folder.join(&name);
        if home.join(&path).is_dir() {
            collect(home, &path, extension, found);
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path.to_str().unwrap().to_owned());
        }
    }
}

impl Source {
    pub fn of(path: &str, text: &str) -> Source {
        let code = blank_out(text);
        let whole_file = path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/");
        let tests_at = if whole_file { 0 } else { test_module(&code).unwrap_or(code.len()) };
        Source { path: path.into(), text: text.into(), code, tests_at, paths: OnceCell::new() }
    }

    /// The code that ships.
    pub fn production(&self) -> &str {
        &self.code[..self.tests_at]
    }

    pub fn tests(&self) -> &str {
        &self.code[self.tests_at..]
    }

    /// `model` for src/model.rs and src/model/**; `main` and `lib` for the roots; empty outside src.
    pub fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or_default();
        inside.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// The module this file is, as segments after the crate: src/http/agent.rs is `http::agent`.
    pub fn module(&self) -> Vec<&str> {
        let inside = self.path.strip_prefix("src/").unwrap_or_default().trim_end_matches(".rs");
        inside.split('/').filter(|s| !s.is_empty() && *s != "main" && *s != "lib").collect()
    }

    /// 1-based line of a byte position.
    pub fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    /// Every path that the shipped code names, `use` groups unfolded, `crate`, `self` and `super` resolved to
    /// `crate::…`; with its line.
    pub fn paths(&self) -> &[(String, usize)] {
        self.paths.get_or_init(|| self.find_paths())
    }

    fn find_paths(&self) -> Vec<(String, usize)> {
        let code = self.production();
        let mut found = Vec::new();
        let mut rest = 0;
        for (at, statement) in uses(code) {
            inline_paths(&code[rest..at], rest, &mut found);
            unfold(statement, "", &mut |path| {
                found.push((if path.contains("::") { path } else { path + "::self" }, at))
            });
            rest = at + statement.len();
        }
        inline_paths(&code[rest..], rest, &mut found);
        let (mut line, mut seen) = (1, 0); // positions only rise
        found.iter_mut().for_each(|(path, at)| {
            line += code[seen..*at].matches('\n').count();
            (seen, *at) = (*at, line);
            *path = self.resolve(path);
        });
        found
    }

    fn resolve(&self, path: &str) -> String {
        let mut here = self.module();
        let mut segments = path.split("::").peekable();
        match segments.peek() {
            Some(&"crate") => return path.to_owned(),
            Some(&"zlh") => return path.replacen("zlh", "crate", 1),
            Some(&"self") => drop(segments.next()),
            Some(&"super") => {}
            _ => return path.to_owned(),
        }
        while segments.next_if_eq(&"super").is_some() {
            here.pop();
        }
        here.insert(0, "crate");
        here.into_iter().chain(segments).collect::<Vec<_>>().join("::")
    }

    /// Functions with a body in `part` (a slice of this file's code).
    pub fn functions<'a>(&'a self, part: &'a str) -> Vec<Function<'a>> {
        let offset = part.as_ptr() as usize - self.code.as_ptr() as usize;
        let starts = words(part).filter(|(_, word)| *word == "fn").map(|(at, _)| at);
        starts.filter_map(|at| function(part, at).map(|f| Function { line: self.line(offset + at), ..f })).collect()
    }
}

fn function(part: &str, at: usize) -> Option<Function<'_>> {
    let after = &part[at + 2..];
    let (_, name) = words(after).next()?;
    let body = after.find(['{', ';'])?;
    if after.as_bytes()[body] == b';' {
        return None; // a declaration
    }
    let end = at + 2 + body + matching_brace(&after[body..])?;
    let before = part[..at].rfind(['}', ';', '{']).map_or(0, |i| i + 1);
    Some(Function { name, line: 0, whole: &part[before..end], text: &part[at..end] })
}

/// Length up to and with the brace that closes the first one.
fn matching_brace(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(i + 1);
        }
    }
    None
}

/// Identifiers and keywords with their positions.
pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(is_word)?;
        let end = text[start..].find(|c| !is_word(c)).map_or(text.len(), |n| start + n);
        at = end;
        Some((start, &text[start..end]))
    })
}

/// Where the test part of a file begins: at the first `#[cfg(test)]` right before a module that is not just declared.
fn test_module(code: &str) -> Option<usize> {
    let declared: Vec<usize> = test_declarations(code).filter(|(_, name)| *name != "tests").map(|(at, _)| at).collect();
    let modules = code.match_indices("#[cfg(test)]").filter(|(at, _)| {
        let next = words(&code[at + 12..]).map(|(_, w)| w).find(|w| !matches!(*w, "pub" | "crate" | "super"));
        next == Some("mod") && !declared.contains(at)
    });
    modules.map(|(at, _)| at).next()
}

/// (position, name) of every `#[cfg(test)] mod name;`.
fn test_declarations(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.match_indices("#[cfg(test)]").filter_map(|(at, found)| {
        let item = &code[at + found.len()..];
        let end = item.find(['{', ';']).filter(|end| item.as_bytes()[*end] == b';')?;
        let mut names = words(&item[..end]).map(|(_, w)| w).skip_while(|w| *w != "mod");
        names.next()?;
        names.next().map(|name| (at, name))
    })
}

/// (position, text between `use` and `;`).
fn uses(code: &str) -> Vec<(usize, &str)> {
    let starts = words(code).filter(|(_, word)| *word == "use").map(|(at, _)| at + 3);
    starts.map(|at| (at, &code[at..at + code[at..].find(';').unwrap_or(0)])).collect()
}

/// `a::{b, c::{d, self}}` gives `a::b`, `a::c::d`, `a::c`.
fn unfold(tree: &str, prefix: &str, found: &mut dyn FnMut(String)) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
        let prefix = format!("{prefix}{}", tree[..open].trim());
        split_at_commas(inner).into_iter().for_each(|part| unfold(part, &prefix, found));
    } else if !tree.is_empty() {
        let name = tree.split(" as ").next().unwrap_or(tree).trim();
        let path = if name == "self" { prefix.trim_end_matches("::").to_owned() } else { format!("{prefix}{name}") };
        found(path.trim_start_matches("::").to_owned());
    }
}

fn split_at_commas(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (i, b) in text.bytes().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `a::b::c` as written in expressions, types and attributes.
fn inline_paths(part: &str, offset: usize, found: &mut Vec<(String, usize)>) {
    let mut open: Option<(String, usize, usize)> = None; // path so far, where it began, where it ended
    for (at, word) in words(part) {
        open = match open {
            Some((path, start, end)) if part[end..at].trim() == "::" => {
                Some((format!("{path}::{word}"), start, at + word.len()))
            }
            other => {
                found.extend(other.map(|(path, start, _)| (path, offset + start)));
                Some((word.to_owned(), at, at + word.len()))
            }
        };
    }
    found.extend(open.map(|(path, start, _)| (path, offset + start)));
}

/// Comments and the insides of string and character literals become spaces; every newline stays.
fn blank_out(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut i = 0;
    while i < bytes.len() {
        let end = literal_end(text, i);
        if end > i {
            let blank = out[i..end].iter_mut().filter(|b| **b != b'\n');
            blank.for_each(|b| *b = b' ');
            i = end;
        } else {
            i += 1;
        }
    }
    String::from_utf8(out).expect("only whole literals are blanked")
}

/// The end of the comment or literal that starts at `i`; `i` itself if none does.
fn literal_end(text: &str, i: usize) -> usize {
    let (rest, bytes) = (&text.as_bytes()[i..], text.as_bytes());
    let part_of_word = i > 0 && (bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'_');
    match rest[0] {
        b'/' if rest.starts_with(b"//") => i + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        b'/' if rest.starts_with(b"/*") => i + block_comment(rest),
        b'"' => i + quoted(rest, b'"'),
        b'b' if !part_of_word && rest.starts_with(b"b'") => i + 1 + character(&text[i + 1..]),
        b'r' | b'b' | b'c' if !part_of_word => i + raw_string(rest),
        b'\'' if !part_of_word => i + character(&text[i..]),
        _ => i,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i < rest.len() {
        match &rest[i..] {
            [b'/', b'*', ..] => (depth, i) = (depth + 1, i + 1),
            [b'*', b'/', ..] => (depth, i) = (depth - 1, i + 1),
            _ => {}
        }
        i += 1;
        if depth == 0 {
            break;
        }
    }
    i.min(rest.len())
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut i = 1;
    while i < rest.len() && rest[i] != quote {
        i += if rest[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(rest.len())
}

/// `r"…"`, `r#"…"#`, `br"…"`, `b"…"`, `c"…"`; 0 if it is an ordinary word.
fn raw_string(rest: &[u8]) -> usize {
    let prefix = rest.iter().take_while(|b| matches!(b, b'r' | b'b' | b'c')).count();
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    let raw = rest[..prefix].contains(&b'r');
    if prefix > 2 || rest.get(prefix + hashes) != Some(&b'"') || (hashes > 0 && !raw) {
        return 0;
    }
    if !raw {
        return prefix + quoted(&rest[prefix..], b'"');
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let from = prefix + hashes + 1;
    rest[from..].windows(close.len()).position(|w| w == close).map_or(rest.len(), |at| from + at + close.len())
}

/// A character literal, not a lifetime; 0 for the latter.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => quoted(rest.as_bytes(), b'\''),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_no_code() {
        let text = r##"let a = "std::fs \" // x"; // unwrap()
/* a /* nested */ std::env */ let b = 'x'; let c: &'static str = r#"todo!( " "#; let d = b"\"q"; let e = '\'';"##;
        let code = blank_out(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(
            code.split_whitespace().collect::<Vec<_>>().join(" "),
            "let a = ; let b = ; let c: &'static str = ; let d = ; let e = ;"
        );
        assert_eq!(blank_out("br#\"x\"#; for_r(\"y\")"), "       ; for_r(   )");
        assert_eq!(blank_out("b'\"'; b'\\''; 'é'; a"), "    ;      ;     ; a");
    }

    #[test]
    fn paths_are_unfolded_and_resolved() {
        let text =
            "use std::{fs, io::{self, Read as R}};\nuse super::{b, c::D};\nfn f() { tokio::fs::read(crate::x::Y) }";
        let source = Source::of("src/http/agent.rs", text);
        let paths: Vec<String> = source.paths().iter().map(|(p, _)| p.clone()).filter(|p| p.contains("::")).collect();
        let expected = [
            "std::fs",
            "std::io",
            "std::io::Read",
            "crate::http::b",
            "crate::http::c::D",
            "tokio::fs::read",
            "crate::x::Y",
        ];
        assert_eq!(paths, expected);
        assert_eq!(source.paths().iter().find(|(p, _)| p == "tokio::fs::read").unwrap().1, 3);
    }

    #[test]
    fn the_test_part_is_not_production() {
        let source = Source::of(
            "src/a.rs",
            "fn a() {}\n#[cfg(test)]\nfn only_in_tests() {}\n#[cfg(test)]\nmod tests { fn b() {} }\n",
        );
        assert!(source.production().contains("only_in_tests"));
        assert!(source.tests().contains("fn b"));
        let declared = [
            ("src/a.rs", "#[cfg(test)]\nmod golden;\nfn a() {}"),
            ("src/a/golden.rs", ""),
            ("src/a/golden/b.rs", "fn b() {}"),
        ];
        let project = Project::of(&declared);
        assert!(project.sources[0].production().contains("fn a"));
        assert_eq!(project.sources[2].production(), "");
        for path in ["src/a/tests.rs", "tests/it/main.rs", "src/a/tests/b.rs"] {
            assert_eq!(Source::of(path, "fn a() {}").production(), "");
        }
    }

    #[test]
    fn functions_are_found_with_their_attributes() {
        let text = "trait T { fn declared(&self); }\n#[test]\nfn one() {\n  if x { y }\n}\npub async fn two<T>() where T: Z { }\n";
        let source = Source::of("src/a.rs", text);
        let functions = source.functions(source.production());
        assert_eq!(functions.iter().map(|f| (f.name, f.line)).collect::<Vec<_>>(), [("one", 3), ("two", 6)]);
        assert!(functions[0].whole.contains("#[test]") && functions[0].text.ends_with('}'));
        assert_eq!(functions[0].text.lines().count(), 3);
    }
}
