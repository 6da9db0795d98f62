//! Reading a table as `skiff get` prints it: columns start where their headings start.

/// A printed table.
pub(crate) struct Table<'a> {
    header: &'a str,
    rows: Vec<&'a str>,
}

impl<'a> Table<'a> {
    /// Takes the first line for the headings.
    pub(crate) fn parse(text: &'a str) -> Self {
        let mut lines = text.lines();
        Self {
            header: lines.next().unwrap_or_default(),
            rows: lines.collect(),
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// One column's cells, from top to bottom; empty if no heading is called so.
    pub(crate) fn column(&self, heading: &str) -> Vec<&'a str> {
        let Some((start, end)) = self.bounds(heading) else {
            return Vec::new();
        };
        let cell = |row: &&'a str| {
            row.get(start..end.min(row.len()))
                .unwrap_or_default()
                .trim()
        };
        self.rows.iter().map(cell).collect()
    }

    /// Where a column starts and where the next one does. Headings have no spaces next to each
    /// other, columns have.
    fn bounds(&self, heading: &str) -> Option<(usize, usize)> {
        let starts: Vec<usize> = (0..self.header.len())
            .filter(|at| {
                let before = self.header.get(..*at).unwrap_or_default();
                let here = self.header.get(*at..).unwrap_or_default();
                !here.starts_with(' ') && (before.is_empty() || before.ends_with("  "))
            })
            .collect();
        let ends = starts.iter().skip(1).copied().chain([usize::MAX]);
        let mut columns = starts.iter().copied().zip(ends);
        columns.find(|(start, end)| {
            let cell = self.header.get(*start..(*end).min(self.header.len()));
            cell.is_some_and(|text| text.trim_end() == heading)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn cells_may_contain_spaces() {
        let table = Table::parse(
            "NAME    READY   RESTARTS     AGE   NODE     NOMINATED NODE\n\
             front   1/1     1 (3s ago)   9s    demo-1   <none>\n\
             user    0/1     0            9s    demo-2",
        );
        assert_eq!(table.len(), 2);
        assert_eq!(table.column("RESTARTS"), ["1 (3s ago)", "0"]);
        assert_eq!(table.column("NODE"), ["demo-1", "demo-2"]);
        assert_eq!(table.column("NOMINATED NODE"), ["<none>", ""]);
        assert_eq!(table.column("COLOUR"), Vec::<&str>::new());
    }
}
