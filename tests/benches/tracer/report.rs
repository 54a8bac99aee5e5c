//! The results as Markdown, which is also readable on a terminal, and the missed bounds.

use std::fmt;

/// All tables, and the missed bounds.
#[derive(Default)]
pub(crate) struct Report {
    tables: Vec<Table>,
    missed: Vec<String>,
}

/// One table; the first column is text, the others are figures.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    note: String,
}

impl Report {
    /// Judges a figure. Returns the text for the table.
    pub(crate) fn judge(&mut self, what: &str, held: bool, bound: &str) -> String {
        if held {
            return format!("{bound}: held");
        }
        self.missed.push(format!("{what}: {bound}"));
        format!("{bound}: **missed**")
    }

    /// Adds a table after the earlier ones.
    pub(crate) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    /// The missed bounds.
    pub(crate) fn missed(&self) -> &[String] {
        &self.missed
    }
}

impl Table {
    /// An empty table. `note` comes below it, and says how the figures were measured.
    pub(crate) fn new(columns: &[&str], note: String) -> Self {
        let rows = vec![columns.iter().map(ToString::to_string).collect()];
        Self { rows, note }
    }

    /// Adds a row, with a cell for every column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tables
            .iter()
            .try_for_each(|table| writeln!(f, "{table}"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = |at: usize| self.rows.iter().map(move |row| row[at].chars().count());
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|at| column(at).max().unwrap_or(0))
            .collect();
        for (number, row) in self.rows.iter().enumerate() {
            write!(f, "|")?;
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if at == 0 {
                    write!(f, " {cell:width$} |")?;
                } else {
                    write!(f, " {cell:>width$} |")?;
                }
            }
            writeln!(f)?;
            if number == 0 {
                write!(f, "|-{}-|", "-".repeat(widths[0]))?;
                for width in &widths[1..] {
                    write!(f, "-{}:|", "-".repeat(*width))?;
                }
                writeln!(f)?;
            }
        }
        writeln!(f, "\n{}", self.note)
    }
}
