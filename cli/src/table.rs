//! Tables: columns as wide as their widest cell, three spaces between, as kubectl prints them.

use serde_json::Value;

use crate::json;

/// Spaces between two columns.
const GAP: usize = 3;

/// Which columns of a server's table are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    /// Those of priority 0.
    Usual,
    /// All.
    Wide,
}

/// Rows of cells under headings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// What is added to the columns that the server sends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra<'a> {
    /// A first column with the namespace.
    pub namespace: bool,
    /// What stands before each name: `deployment.apps/`.
    pub prefix: &'a str,
    /// A last column with the labels.
    pub labels: bool,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self {
            headings: headings.iter().map(|text| (*text).to_owned()).collect(),
            rows: vec![],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Whether it has no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Reads a `meta.k8s.io/v1 Table`.
    pub(crate) fn from_server(table: &Value, columns: Columns, extra: &Extra) -> Self {
        let definitions = json::items(table, "/columnDefinitions");
        let shown: Vec<bool> = definitions
            .iter()
            .map(|column| columns == Columns::Wide || json::int(column, "/priority") == 0)
            .collect();
        let pick = |cells: Vec<String>| -> Vec<String> {
            let wanted = shown.iter().chain(std::iter::repeat(&false));
            cells
                .into_iter()
                .zip(wanted)
                .filter(|(_, shown)| **shown)
                .map(|(c, _)| c)
                .collect()
        };
        let name_at = definitions
            .iter()
            .position(|column| json::text(column, "/format") == "name");
        let mut headings = pick(
            definitions
                .iter()
                .map(|c| json::text(c, "/name").to_uppercase())
                .collect(),
        );
        if extra.namespace {
            headings.insert(0, "NAMESPACE".to_owned());
        }
        if extra.labels {
            headings.push("LABELS".to_owned());
        }
        let read = |row: &Value| {
            let mut cells: Vec<String> = json::items(row, "/cells").iter().map(cell).collect();
            if let Some(name) = cells.get_mut(name_at.unwrap_or(0)) {
                name.insert_str(0, extra.prefix);
            }
            let mut cells = pick(cells);
            if extra.namespace {
                cells.insert(0, json::text(row, "/object/metadata/namespace").to_owned());
            }
            if extra.labels {
                cells.push(labels(
                    row.pointer("/object").unwrap_or(&Value::Null),
                    "<none>",
                ));
            }
            cells
        };
        Self {
            headings,
            rows: json::items(table, "/rows").iter().map(read).collect(),
        }
    }

    /// The text, each line with its end.
    pub(crate) fn text(&self, with_headings: bool) -> String {
        self.text_at_least(with_headings, &mut Vec::new())
    }

    /// The text with columns at least as wide as `widths`, which grow to what was needed: so the
    /// rows of a watch stand under each other.
    pub(crate) fn text_at_least(&self, with_headings: bool, widths: &mut Vec<usize>) -> String {
        let headings = with_headings.then_some(&self.headings);
        let lines: Vec<&Vec<String>> = headings.into_iter().chain(&self.rows).collect();
        for line in &lines {
            for (index, cell) in line.iter().enumerate() {
                let width = cell.chars().count();
                match widths.get_mut(index) {
                    Some(known) => *known = width.max(*known),
                    None => widths.push(width),
                }
            }
        }
        let mut text = String::new();
        for line in lines {
            let mut padding = 0;
            for (cell, width) in line.iter().zip(widths.iter()) {
                text.extend(std::iter::repeat_n(' ', padding));
                text.push_str(cell);
                padding = width - cell.chars().count() + GAP;
            }
            // kubectl pads the last column too, when it is not the widest; scripts rely on neither.
            text.push('\n');
        }
        text
    }
}

/// A cell's text on one line.
fn cell(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.lines().next().unwrap_or_default().to_owned(),
        None if value.is_null() => "<none>".to_owned(),
        None => value.to_string(),
    }
}

/// `app=web,tier=front`, or `none` if there are no labels.
pub(crate) fn labels(object: &Value, none: &str) -> String {
    let pairs: Vec<String> = json::entries(object, "/metadata/labels")
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() {
        none.to_owned()
    } else {
        pairs.join(",")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use snapbox::{assert_data_eq, str};

    use super::*;

    fn pods() -> Value {
        json!({
            "columnDefinitions": [
                {"name": "Name", "format": "name", "priority": 0},
                {"name": "Ready", "priority": 0}, {"name": "Restarts", "priority": 0},
                {"name": "Node", "priority": 1},
            ],
            "rows": [
                {"cells": ["front-7x2kq", "1/1", 0, "n1"],
                 "object": {"metadata": {"namespace": "shop", "labels": {"app": "front"}}}},
                {"cells": ["b", "0/1", "12 (3m ago)", null],
                 "object": {"metadata": {"namespace": "default"}}},
            ],
        })
    }

    #[test]
    fn tables_are_printed_as_kubectl_does() {
        let usual = Table::from_server(&pods(), Columns::Usual, &Extra::default());
        assert_data_eq!(
            usual.text(true),
            str![[r#"
NAME          READY   RESTARTS
front-7x2kq   1/1     0
b             0/1     12 (3m ago)

"#]]
        );
        let extra = Extra {
            namespace: true,
            prefix: "pod/",
            labels: true,
        };
        let wide = Table::from_server(&pods(), Columns::Wide, &extra);
        assert_data_eq!(
            wide.text(true),
            str![[r#"
NAMESPACE   NAME              READY   RESTARTS      NODE     LABELS
shop        pod/front-7x2kq   1/1     0             n1       app=front
default     pod/b             0/1     12 (3m ago)   <none>   <none>

"#]]
        );
        assert_data_eq!(
            usual.text(false),
            str![[r#"
front-7x2kq   1/1   0
b             0/1   12 (3m ago)

"#]]
        );
    }

    #[test]
    fn rows_of_a_watch_stand_under_each_other() {
        let usual = Table::from_server(&pods(), Columns::Usual, &Extra::default());
        let mut widths = vec![13, 7, 1];
        assert_data_eq!(
            usual.text_at_least(false, &mut widths),
            str![[r#"
front-7x2kq     1/1       0
b               0/1       12 (3m ago)

"#]]
        );
        assert_eq!(widths, [13, 7, 11]);
    }
}
