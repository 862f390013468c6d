//! Tables for people.

/// Rows under their headings, each column as wide as its widest cell.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..headings.len()).map(width).collect();
    let mut text = line(headings.iter().copied(), &widths);
    for row in rows {
        text += &line(row.iter().map(String::as_str), &widths);
    }
    text
}

fn line<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let padded: Vec<_> =
        cells.zip(widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
    padded.join("  ").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_columns_are_as_wide_as_their_widest_cell() {
        let rows = [["0", "worker-1"], ["10", "w"]].map(|row| row.map(String::from).to_vec());
        assert_eq!(
            table(&["process", "host"], &rows),
            "process  host\n0        worker-1\n10       w\n"
        );
    }
}
