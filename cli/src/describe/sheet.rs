//! A sheet of names and values in levels, aligned as kubectl aligns them.

use serde_json::Value;
use skiff_api::Millis;

use crate::table::Table;
use crate::{events, json};

/// Spaces per level.
const LEVEL: usize = 2;

/// Lines of `Name:  value`; neighbours on one level stand under each other.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Field {
        level: usize,
        name: String,
        values: Vec<String>,
    },
    Text(String),
}

impl Sheet {
    /// A name and its value; an empty one shows as `<none>`.
    pub(super) fn field(&mut self, level: usize, name: &str, value: &str) {
        let value = if value.is_empty() { "<none>" } else { value };
        self.list(level, name, vec![value.to_owned()]);
    }

    /// A name and its value, if there is one.
    pub(super) fn field_opt(&mut self, level: usize, name: &str, value: &str) {
        if !value.is_empty() {
            self.field(level, name, value);
        }
    }

    /// A name and its values, one per line.
    pub(super) fn list(&mut self, level: usize, name: &str, mut values: Vec<String>) {
        if values.is_empty() {
            values.push("<none>".to_owned());
        }
        self.lines.push(Line::Field {
            level,
            name: name.to_owned(),
            values,
        });
    }

    /// A name whose content follows on the next level.
    pub(super) fn heading(&mut self, level: usize, name: &str) {
        let pad = " ".repeat(level * LEVEL);
        self.lines.push(Line::Text(format!("{pad}{name}:")));
    }

    /// A line as it is.
    pub(super) fn line(&mut self, level: usize, text: &str) {
        let pad = " ".repeat(level * LEVEL);
        self.lines.push(Line::Text(format!("{pad}{text}")));
    }

    /// A table on a level, its headings underlined.
    pub(super) fn table(&mut self, level: usize, headings: &[&str], rows: Vec<Vec<String>>) {
        let underlines = headings
            .iter()
            .map(|heading| "-".repeat(heading.len()))
            .collect();
        let mut table = Table::new(headings);
        table.row(underlines);
        rows.into_iter().for_each(|row| table.row(row));
        table
            .text(true)
            .lines()
            .for_each(|line| self.line(level, line));
    }

    /// Labels, annotations, selectors: `key=value` or `key: value`, one per line.
    pub(super) fn map(&mut self, name: &str, object: &Value, pointer: &str, between: &str) {
        let values = json::entries(object, pointer)
            .filter(|(key, _)| *key != crate::merge::LAST_APPLIED)
            .map(|(key, value)| format!("{key}{between}{}", value.as_str().unwrap_or_default()))
            .collect();
        self.list(0, name, values);
    }

    /// Name, namespace, labels, annotations.
    pub(super) fn metadata(&mut self, object: &Value) {
        self.field(0, "Name", json::name(object));
        self.field_opt(0, "Namespace", json::namespace(object));
        self.map("Labels", object, "/metadata/labels", "=");
        self.map("Annotations", object, "/metadata/annotations", ": ");
    }

    /// The conditions of a status, with the given columns: heading and field.
    pub(super) fn conditions(&mut self, object: &Value, columns: &[(&str, &str)]) {
        let conditions = json::items(object, "/status/conditions");
        if conditions.is_empty() {
            return;
        }
        self.heading(0, "Conditions");
        let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
        let row = |condition: &Value| {
            let cell = |field: &str| json::text(condition, &format!("/{field}")).to_owned();
            columns.iter().map(|(_, field)| cell(field)).collect()
        };
        self.table(1, &headings, conditions.iter().map(row).collect());
    }

    /// The events about the object.
    pub(super) fn events(&mut self, found: &[Value], now: Millis) {
        if found.is_empty() {
            self.field(0, "Events", "");
            return;
        }
        self.heading(0, "Events");
        let row = |event: &Value| {
            let from = json::text(event, "/source/component");
            let from = if from.is_empty() {
                json::text(event, "/reportingComponent")
            } else {
                from
            };
            vec![
                json::text(event, "/type").to_owned(),
                json::text(event, "/reason").to_owned(),
                events::seen(event, now),
                from.to_owned(),
                json::text(event, "/message").trim().replace('\n', " "),
            ]
        };
        let headings = ["Type", "Reason", "Age", "From", "Message"];
        self.table(1, &headings, found.iter().map(row).collect());
    }

    /// The text. Within a run of fields, those of one level stand under each other.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for run in self
            .lines
            .chunk_by(|a, b| a.level().is_some() && b.level().is_some())
        {
            for line in run {
                let peers = run.iter().filter(|other| other.level() == line.level());
                line.write(peers.map(Line::name_width).max().unwrap_or(0), &mut text);
            }
        }
        text
    }
}

impl Line {
    fn level(&self) -> Option<usize> {
        match self {
            Self::Field { level, .. } => Some(*level),
            Self::Text(_) => None,
        }
    }

    fn name_width(&self) -> usize {
        match self {
            Self::Field { name, .. } => name.chars().count(),
            Self::Text(_) => 0,
        }
    }

    fn write(&self, width: usize, out: &mut String) {
        match self {
            Self::Text(text) => {
                out.push_str(text.trim_end());
                out.push('\n');
            }
            Self::Field {
                level,
                name,
                values,
            } => {
                let pad = " ".repeat(level * LEVEL);
                for (index, value) in values.iter().enumerate() {
                    let name = if index == 0 {
                        format!("{name}:")
                    } else {
                        String::new()
                    };
                    out.push_str(format!("{pad}{name:<0$}{value}", width + 3).trim_end());
                    out.push('\n');
                }
            }
        }
    }
}
