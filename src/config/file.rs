//! agent.toml: each value with its line, and every syntax fault of the file.
use super::{Entry, Fault, Origin};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

const LARGEST_FILE: u64 = 1 << 20;
const DEEPEST: usize = 8;

/// The file's values in no particular order. One that is absent is a fault only if it was asked for by name.
pub fn entries(path: &Path, asked_for: bool, faults: &mut Vec<Fault>) -> Vec<Entry> {
    match read(path) {
        Ok(text) => parse(path, &text, faults),
        Err(e) if e.kind() == io::ErrorKind::NotFound && !asked_for => Vec::new(),
        Err(e) => {
            let origin = Origin::File { path: path.to_owned(), line: 1 };
            faults.push(Fault::new(origin, "(file)", format!("cannot be read: {e}")));
            Vec::new()
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other(format!("larger than {LARGEST_FILE} bytes")));
    }
    Ok(text)
}

fn parse(path: &Path, text: &str, faults: &mut Vec<Fault>) -> Vec<Entry> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reading = Reading { path, text, faults, entries: Vec::new() };
    for error in errors {
        let origin = reading.origin(error.span().map_or(0, |span| span.start));
        reading.faults.push(Fault::new(origin, "(syntax)", error.message()));
    }
    reading.table("", table.get_ref(), 0);
    reading.entries
}

struct Reading<'a> {
    path: &'a Path,
    text: &'a str,
    faults: &'a mut Vec<Fault>,
    entries: Vec<Entry>,
}

impl Reading<'_> {
    fn origin(&self, byte: usize) -> Origin {
        let before = &self.text.as_bytes()[..byte.min(self.text.len())];
        Origin::File { path: self.path.to_owned(), line: before.iter().filter(|b| **b == b'\n').count() + 1 }
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>, depth: usize) {
        for (name, value) in table {
            let origin = self.origin(name.span().start);
            let key =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            match value.get_ref() {
                DeValue::Table(inner) if depth < DEEPEST => self.table(&key, inner, depth + 1),
                other => match text_of(other) {
                    Some(value) => self.entries.push(Entry { key, value, origin }),
                    None => {
                        self.faults.push(Fault::new(origin, key, format!("a {} cannot be a setting", other.type_str())))
                    }
                },
            }
        }
    }
}

/// The text that `--set` would take for the same value.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Array(items) => list_of(items),
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn list_of(items: &DeArray<'_>) -> Option<String> {
    let one = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::Array(_) => None,
        single => text_of(single),
    };
    items.iter().map(one).collect::<Option<Vec<_>>>().map(|all| all.join(","))
}
