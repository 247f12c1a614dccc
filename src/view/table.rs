//! Tables for people. On a terminal they have colours and fit its width; elsewhere a line is as long
//! as its text.

use std::borrow::Cow;
use std::fmt::Write as _;

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

/// The space between two columns.
const GAP: u16 = 2;

/// What a cell says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// Neither good nor bad.
    Plain,
    /// Something is as it should be.
    Good,
    /// Something is wrong.
    Bad,
    /// Something may be wrong.
    Warning,
}

/// A cell with a text.
pub(crate) fn cell(tone: Tone, text: &str) -> Cell {
    let cell = Cell::new(printable(text));
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Warning => cell.fg(Color::Yellow),
    }
}

/// A cell with names, `-` if there are none.
pub(crate) fn names(names: &[impl AsRef<str>]) -> Cell {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let text = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    cell(Tone::Plain, &text)
}

/// Writes a table below a line of titles, and ends it with a line break.
pub(crate) fn table(titles: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(titles.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.trim_fmt() + "\n"
}

/// A text as it can be shown on a terminal: characters that would control the terminal or turn the
/// direction of the text are escaped.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| c.is_control() || turns(c);
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            // Writing to a String can't fail.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// Returns whether a character turns the direction of a text, breaks its line, or is not seen.
pub(crate) fn turns(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{Tone, cell, printable, table};

    #[test]
    fn a_table_has_no_spaces_at_the_ends_of_its_lines() {
        let text = table(
            &["HOST", "CAN RUN", "WHY NOT"],
            [
                vec![cell(Tone::Plain, "h"), cell(Tone::Good, "yes"), cell(Tone::Plain, "")],
                vec![cell(Tone::Plain, "host1"), cell(Tone::Bad, "no"), cell(Tone::Plain, "x y")],
            ],
        );
        assert_eq!(text, "HOST   CAN RUN  WHY NOT\nh      yes\nhost1  no       x y\n");
    }

    #[test]
    fn control_characters_and_turned_text_are_escaped() {
        assert_eq!(printable("plain ü → name"), "plain ü → name");
        assert_eq!(printable("a\u{1b}[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\nc\\u{202e}d");
    }
}
