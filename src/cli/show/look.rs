//! Colours, widths and tables: what depends on where the text goes.
use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Table, presets};
use std::io::IsTerminal;

/// What a text means; the look decides how that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Doubtful,
    Bad,
    Faint,
    Strong,
}

/// Where the text goes.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub colour: bool,
    /// Columns a table may take.
    pub width: u16,
}

/// Width of text that goes into a file or a pipe.
const PLAIN_WIDTH: u16 = 160;

impl Look {
    /// As standard output is: colours only on a terminal, and never with NO_COLOR (no-color.org) or TERM=dumb.
    pub fn of_stdout() -> Look {
        let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let terminal = std::io::stdout().is_terminal();
        let width = crossterm::terminal::size().ok().filter(|_| terminal).map(|(columns, _)| columns.max(40));
        Look { colour: terminal && !set("NO_COLOR") && !dumb, width: width.unwrap_or(PLAIN_WIDTH) }
    }

    /// Text without colours, for files and tests.
    pub const fn plain(width: u16) -> Look {
        Look { colour: false, width }
    }

    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Doubtful => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
            Tone::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A borderless table whose last column takes the rest of the line and wraps.
    pub fn table(self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(self.width).set_header(header.iter().map(|h| self.cell(Tone::Strong, h)));
        match self.colour {
            true => table.enforce_styling(),
            false => table.force_no_tty(),
        };
        table
    }

    pub fn cell(self, tone: Tone, text: &str) -> Cell {
        let cell = Cell::new(text);
        match tone {
            Tone::Good => cell.fg(comfy_table::Color::Green),
            Tone::Doubtful => cell.fg(comfy_table::Color::Yellow),
            Tone::Bad => cell.fg(comfy_table::Color::Red),
            Tone::Faint => cell.add_attribute(comfy_table::Attribute::Dim),
            Tone::Strong => cell.add_attribute(comfy_table::Attribute::Bold),
        }
    }
}

/// The finished table: first column flush left, no column but the last wraps, no blanks at line ends.
pub fn finish(mut table: Table) -> String {
    let last = table.column_count().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at < last { 2 } else { 0 }));
        if at < last {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_has_no_escapes_and_colour_has() {
        assert_eq!(Look::plain(80).paint(Tone::Bad, "x"), "x");
        assert_eq!(Look { colour: true, width: 80 }.paint(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
        let table = |look: Look| {
            let mut table = look.table(&["A"]);
            table.add_row([look.cell(Tone::Good, "x")]);
            finish(table)
        };
        assert_eq!(table(Look::plain(80)), "A\nx\n");
        assert!(table(Look { colour: true, width: 80 }).contains("\x1b["));
    }

    #[test]
    fn only_the_last_column_wraps() {
        let look = Look::plain(30);
        let mut table = look.table(&["Id", "Text"]);
        table.add_row(["0123456789", "one two three four five six"]);
        assert_eq!(finish(table), "Id          Text\n0123456789  one two three four\n            five six\n");
    }
}
