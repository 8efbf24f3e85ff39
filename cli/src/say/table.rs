//! Tables and lists of facts, aligned.

use unicode_width::UnicodeWidthStr as _;

use super::plain;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// In capitals.
    pub title: &'static str,
    /// Shown with `-o wide` alone.
    pub wide: bool,
}

impl Column {
    /// Shown always.
    pub const fn new(title: &'static str) -> Self {
        Self { title, wide: false }
    }

    /// Shown with `-o wide` alone.
    pub const fn wide(title: &'static str) -> Self {
        Self { title, wide: true }
    }
}

/// A row of a table: a cell for each column.
#[derive(Clone, Debug)]
pub struct Row {
    /// What `-o name` prints.
    pub name: String,
    /// What the columns show.
    pub cells: Vec<String>,
}

/// A list in words for people.
#[derive(Clone, Debug)]
pub struct Table {
    /// What is shown.
    pub columns: &'static [Column],
    /// Of what.
    pub rows: Vec<Row>,
}

impl Table {
    pub(super) fn print(&self, out: &mut String, titles: bool, wide: bool) {
        let shown: Vec<usize> =
            (0..self.columns.len()).filter(|at| wide || !self.columns[*at].wide).collect();
        let mut lines: Vec<Vec<String>> = Vec::new();
        if titles {
            lines.push(shown.iter().map(|at| self.columns[*at].title.to_owned()).collect());
        }
        for row in &self.rows {
            let cell = |at: &usize| row.cells.get(*at).filter(|it| !it.is_empty());
            lines.push(shown.iter().map(|at| cell(at).map_or("-".to_owned(), |it| line(it))).collect());
        }
        align(out, &lines);
    }
}

/// A line for each fact that there is something to say about.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let lines: Vec<_> = facts
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(title, value)| vec![format!("{title}:"), plain(value).replace('\n', "\n  ")])
        .collect();
    let mut out = String::new();
    align(&mut out, &lines);
    out
}

/// A cell is one line, whatever is in it.
fn line(cell: &str) -> String {
    plain(cell).replace('\n', " ")
}

fn align(out: &mut String, lines: &[Vec<String>]) {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|at| lines.iter().filter_map(|line| line.get(at)).map(|it| it.width()).max().unwrap_or_default())
        .collect();
    for line in lines {
        for (at, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if at + 1 < line.len() {
                out.push_str(&" ".repeat(widths[at] - cell.width() + 3));
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::new("NAME"), Column::wide("MODE"), Column::new("ENDPOINT")];

    fn table() -> Table {
        let row = |name: &str, mode: &str, endpoint: &str| Row {
            name: name.to_owned(),
            cells: [name, mode, endpoint].map(str::to_owned).to_vec(),
        };
        Table { columns: COLUMNS, rows: vec![row("a", "Edge", "https://a"), row("län\n", "", "\x1b[31m")] }
    }

    #[test]
    fn columns_are_aligned_and_wide_ones_are_shown_where_asked_for() {
        let mut out = String::new();
        table().print(&mut out, true, false);
        assert_eq!(out, "NAME   ENDPOINT\na      https://a\nlän    \\u{1b}[31m\n");
        out.clear();
        table().print(&mut out, false, true);
        assert_eq!(out, "a      Edge   https://a\nlän    -      \\u{1b}[31m\n");
    }

    #[test]
    fn facts_that_are_empty_are_left_out() {
        let told = [("Name", "a".to_owned()), ("Project", String::new()), ("Endpoint", "b".to_owned())];
        assert_eq!(facts(&told), "Name:       a\nEndpoint:   b\n");
    }
}
