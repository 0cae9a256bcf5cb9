//! Tables for people: columns under capital headings, without lines, as kubectl prints them.

use comfy_table::ContentArrangement;
use jiff::{SignedDuration, Timestamp, Unit};
use taskqueue_plain as plain;

/// How much of a message fits into a table.
const TEXT_WIDTH: usize = 100;

/// A table. Whatever is in a cell, a row is a line.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn add_row<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let cells = cells.into_iter();
        self.0
            .add_row(cells.map(|cell| plain::cell(cell.as_ref()).into_owned()));
    }
}

/// A table with these headings.
pub(crate) fn with_headings<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.to_vec());
    Table(table)
}

/// The table's lines, each without the padding at its ends.
pub(crate) fn lines(Table(table): &mut Table) -> Vec<String> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// A message without line breaks and what else a terminal would heed, cut to what fits.
pub(crate) fn one_line(message: &str) -> String {
    let flat: String = message
        .chars()
        .map(|c| if plain::steers(c) { ' ' } else { c })
        .collect();
    match flat.char_indices().nth(TEXT_WIDTH) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}

/// How long ago something was, with its largest unit: `45s`, `12m`, `3h`, `8d`.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(since))
}

/// A duration with its largest unit.
pub(crate) fn span(duration: SignedDuration) -> String {
    let seconds = duration
        .round(Unit::Second)
        .unwrap_or(duration)
        .as_secs()
        .max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let mut table = with_headings(["QUEUE", "N"]);
        table.add_row(["default/long-name", "1"]);
        table.add_row(["a/b", "22"]);
        assert_eq!(
            lines(&mut table),
            [
                "QUEUE              N",
                "default/long-name  1",
                "a/b                22"
            ]
        );
    }

    #[test]
    fn a_span_shows_its_largest_unit() {
        let shown = [0, 1, 119, 120, 7199, 7200, 172_799, 172_800]
            .map(|s| span(SignedDuration::from_secs(s)));
        assert_eq!(shown, ["0s", "1s", "119s", "2m", "119m", "2h", "47h", "2d"]);
        assert_eq!(span(SignedDuration::from_millis(-5000)), "0s");
    }

    #[test]
    fn a_message_takes_one_line_of_bounded_width() {
        assert_eq!(one_line("exit status 1: a\nb"), "exit status 1: a b");
        assert_eq!(
            one_line(&"é".repeat(200)),
            format!("{}…", "é".repeat(TEXT_WIDTH))
        );
    }
}
