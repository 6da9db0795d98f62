//! Objects in the form that the client wants: themselves, rows of a table, or metadata alone.
//! The plain form copies stored bytes and encodes nothing.

use serde::Deserialize;
use serde_json::value::RawValue;
use skiff_api::{Kind, Millis, Object, Revision};

use super::negotiate::{Form, Include, MetaVersion};
use super::table;

/// Writes objects of one kind in one form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    pub(crate) kind: Kind,
    pub(crate) form: Form,
    /// For the ages in tables.
    pub(crate) now: Millis,
}

impl Encoder {
    /// Appends one object that stands by itself.
    pub(crate) fn object(&self, object: &Object, out: &mut Vec<u8>) {
        match self.form {
            Form::Plain => object.write_json(out),
            Form::Metadata(version) => metadata(object, version, out),
            Form::Table(..) => {
                self.begin(out);
                self.item(object, out);
                self.end(object.revision(), None, out);
            }
        }
    }

    /// Appends what comes before the items of a list.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        match self.form {
            Form::Plain => {
                out.extend_from_slice(b"{\"apiVersion\":");
                string(&self.kind.info().api_version(), out);
                out.extend_from_slice(b",\"items\":[");
            }
            Form::Metadata(version) => {
                out.extend_from_slice(b"{\"apiVersion\":");
                string(version.api_version(), out);
                out.extend_from_slice(b",\"items\":[");
            }
            Form::Table(version, _) => {
                out.extend_from_slice(b"{\"apiVersion\":");
                string(version.api_version(), out);
                out.extend_from_slice(b",\"columnDefinitions\":");
                table::write_columns(self.kind, out);
                out.extend_from_slice(b",\"kind\":\"Table\",\"rows\":[");
            }
        }
    }

    /// Appends an item of a list; commas are the caller's business.
    pub(crate) fn item(&self, object: &Object, out: &mut Vec<u8>) {
        match self.form {
            Form::Plain => object.write_json(out),
            Form::Metadata(version) => metadata(object, version, out),
            Form::Table(version, include) => self.row(object, version, include, out),
        }
    }

    /// Appends what comes behind the items of a list.
    pub(crate) fn end(&self, revision: Revision, next: Option<&str>, out: &mut Vec<u8>) {
        out.push(b']');
        match self.form {
            Form::Plain => {
                out.extend_from_slice(b",\"kind\":");
                string(&format!("{}List", self.kind.info().name), out);
            }
            Form::Metadata(_) => {
                out.extend_from_slice(b",\"kind\":\"PartialObjectMetadataList\"");
            }
            Form::Table(..) => {}
        }
        out.extend_from_slice(b",\"metadata\":{");
        if let Some(next) = next {
            out.extend_from_slice(b"\"continue\":");
            string(next, out);
            out.push(b',');
        }
        out.extend_from_slice(format!("\"resourceVersion\":\"{revision}\"}}}}").as_bytes());
    }

    /// Appends a bookmark's object: nothing but a revision, in the form of the watch.
    pub(crate) fn bookmark(&self, revision: Revision, ends_initial: bool, out: &mut Vec<u8>) {
        if let Form::Table(..) = self.form {
            self.begin(out);
            return self.end(revision, None, out);
        }
        let api_version = match self.form {
            Form::Metadata(version) => version.api_version().to_owned(),
            Form::Plain | Form::Table(..) => self.kind.info().api_version(),
        };
        let name = match self.form {
            Form::Metadata(_) => "PartialObjectMetadata",
            Form::Plain | Form::Table(..) => self.kind.info().name,
        };
        let annotations = if ends_initial {
            "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"},"
        } else {
            ""
        };
        let text = format!(
            "{{\"apiVersion\":\"{api_version}\",\"kind\":\"{name}\",\"metadata\":{{{annotations}\
             \"creationTimestamp\":null,\"resourceVersion\":\"{revision}\"}}}}"
        );
        out.extend_from_slice(text.as_bytes());
    }

    fn row(&self, object: &Object, version: MetaVersion, include: Include, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"cells\":");
        table::write_cells(object, self.now, out);
        match include {
            Include::None => {}
            Include::Metadata => {
                out.extend_from_slice(b",\"object\":");
                metadata(object, version, out);
            }
            Include::Object => {
                out.extend_from_slice(b",\"object\":");
                object.write_json(out);
            }
        }
        out.push(b'}');
    }
}

/// Appends an object's `PartialObjectMetadata`; its metadata is copied, not decoded.
fn metadata(object: &Object, version: MetaVersion, out: &mut Vec<u8>) {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let json = object.to_json();
    let whole: Option<Whole<'_>> = serde_json::from_slice(&json).ok();
    out.extend_from_slice(b"{\"apiVersion\":");
    string(version.api_version(), out);
    out.extend_from_slice(b",\"kind\":\"PartialObjectMetadata\",\"metadata\":");
    let text = whole.map_or("{}", |whole| whole.metadata.get());
    out.extend_from_slice(text.as_bytes());
    out.push(b'}');
}

/// Appends a JSON string.
fn string(text: &str, out: &mut Vec<u8>) {
    serialize(&text, out);
}

/// Appends a value; a vector takes every write, and only maps with keys that are no text fail.
pub(crate) fn serialize(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    let begun = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(begun);
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn config_map() -> Object {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1", "b": "2"},
            "metadata": {"name": "x", "namespace": "d", "creationTimestamp": "2026-11-22T17:29:36Z",
                "labels": {"app": "web"}}});
        Object::from_value(value)
            .unwrap()
            .with_revision(Revision(7))
    }

    fn encoder(form: Form) -> Encoder {
        let now = Millis::parse("2026-11-22T17:30:36Z").unwrap();
        Encoder {
            kind: Kind::ConfigMap,
            form,
            now,
        }
    }

    fn read(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        write(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    fn list(form: Form) -> Value {
        let encoder = encoder(form);
        read(|out| {
            encoder.begin(out);
            encoder.item(&config_map(), out);
            encoder.end(Revision(9), Some("abc"), out);
        })
    }

    #[test]
    fn lists_have_the_shape_of_their_form() {
        let object = config_map().to_value();
        let metadata = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": object["metadata"]});
        let list_meta = json!({"continue": "abc", "resourceVersion": "9"});
        let plain = json!({"apiVersion": "v1", "kind": "ConfigMapList", "items": [object],
            "metadata": list_meta});
        assert_eq!(list(Form::Plain), plain);
        let partial = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "items": [metadata], "metadata": list_meta});
        assert_eq!(list(Form::Metadata(MetaVersion::V1)), partial);
        let rows = [
            (Include::None, json!({"cells": ["x", 2, "60s"]})),
            (
                Include::Metadata,
                json!({"cells": ["x", 2, "60s"], "object": metadata}),
            ),
            (
                Include::Object,
                json!({"cells": ["x", 2, "60s"], "object": object}),
            ),
        ];
        for (include, row) in rows {
            let table = list(Form::Table(MetaVersion::V1, include));
            assert_eq!(table["kind"], "Table");
            assert_eq!(table["metadata"], list_meta);
            assert_eq!(table["columnDefinitions"].as_array().unwrap().len(), 3);
            assert_eq!(table["rows"], json!([row]));
        }
    }

    #[test]
    fn a_bookmark_is_an_object_of_the_watch_with_nothing_but_a_revision() {
        let bookmark = |form, ends| read(|out| encoder(form).bookmark(Revision(9), ends, out));
        let plain = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "annotations": {"k8s.io/initial-events-end": "true"},
            "creationTimestamp": null, "resourceVersion": "9"}});
        assert_eq!(bookmark(Form::Plain, true), plain);
        let table = bookmark(Form::Table(MetaVersion::V1, Include::Metadata), false);
        assert_eq!(
            (&table["kind"], &table["rows"]),
            (&json!("Table"), &json!([]))
        );
        assert_eq!(table["metadata"]["resourceVersion"], "9");
    }
}
