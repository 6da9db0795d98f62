//! Writing JSON: objects of strings and of values that are JSON already. Never reads any.

use std::fmt::Write as _;

/// An object under construction.
#[derive(Default)]
pub(crate) struct Object {
    fields: String,
}

impl Object {
    /// Adds a text.
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        let value = quoted(value);
        self.raw(name, &value)
    }

    /// Adds something that is JSON already: a number, or a neighbour's answer.
    pub(crate) fn raw(mut self, name: &str, value: &str) -> Self {
        if !self.fields.is_empty() {
            self.fields.push(',');
        }
        self.fields.push_str(&quoted(name));
        self.fields.push(':');
        self.fields.push_str(value.trim());
        self
    }

    /// The object as text.
    pub(crate) fn done(self) -> String {
        format!("{{{}}}", self.fields)
    }
}

/// An array of texts.
pub(crate) fn array<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.into_iter().map(quoted).collect();
    format!("[{}]", items.join(","))
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    // Writing to a String can't fail.
                    write!(out, "\\u{unit:04x}").unwrap_or_default();
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_values_are_not() {
        let object = Object::default()
            .text("name", "a\"b\\c\nd")
            .raw("n", " 3 \n")
            .done();
        assert_eq!(object, r#"{"name":"a\"b\\c\u000ad","n":3}"#);
        assert_eq!(array(["x", "y"]), r#"["x","y"]"#);
        assert_eq!(Object::default().done(), "{}");
    }
}
