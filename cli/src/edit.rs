//! `skiff edit`: an object as YAML in the user's editor, and back as a patch.

use std::io::Write;
use std::path::Path;

use serde_json::Value;
use skiff_api::Kind;
use skiff_api::manifest;
use skiff_client::{Patch, WriteOptions};

use crate::args::EditArgs;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::resource::{self, Filter};
use crate::{json, merge, print};

/// What stands above the object in the editor.
const HEADER: &str = "\
# Edit the object below. Lines that begin with '#' are ignored; an empty file ends the edit.
# If it cannot be saved, this file is opened again with the reason.
";

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &EditArgs) -> Result<(), CliError> {
    let targets = resource::parse_named(&args.selection.resources)?;
    for (kind, object) in resource::fetch(cluster, &targets, &Filter::default()).await? {
        edit(cluster, kind, object).await?;
    }
    Ok(())
}

async fn edit(cluster: &Cluster, kind: Kind, mut object: Value) -> Result<(), CliError> {
    if let Some(meta) = object
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
    {
        meta.remove("managedFields");
    }
    let name = resource::display_object(kind, &object);
    let key = json::key(kind, &object);
    let mut text = format!("{HEADER}#\n{}", manifest::to_yaml(&object));
    loop {
        let edited = in_editor(&text)?;
        let refused = match read(&edited, &object) {
            Ok(None) => return print::line("Edit cancelled, no changes made."),
            Ok(Some(patch)) => {
                let options = WriteOptions {
                    field_validation: Some("Strict"),
                    ..WriteOptions::by("kubectl-edit")
                };
                let patch = Patch::Merge(patch);
                match cluster
                    .client
                    .patch::<Value>(&key, None, &patch, &options)
                    .await
                {
                    Ok(_) => return print::line(&format!("{name} edited")),
                    Err(error) => CliError::from(error),
                }
            }
            Err(error) => error,
        };
        // The same text twice: the user gives up, and keeps what was written.
        if edited == text {
            return Err(refused);
        }
        text = with_reason(&edited, &refused.line());
    }
}

/// The patch that the user's text asks for; `None` if it changes nothing or is empty.
fn read(edited: &str, object: &Value) -> Result<Option<Value>, CliError> {
    let mut documents = manifest::parse("edited", edited)?;
    let Some(document) = documents.pop() else {
        return Ok(None);
    };
    if !documents.is_empty() {
        return Err(CliError::Usage(
            "one object was to be edited, and there are several".into(),
        ));
    }
    let same = |pointer: &str| document.value.pointer(pointer) == object.pointer(pointer);
    if ![
        "/apiVersion",
        "/kind",
        "/metadata/name",
        "/metadata/namespace",
    ]
    .iter()
    .all(|p| same(p))
    {
        return Err(CliError::Usage(
            "apiVersion, kind, name and namespace cannot be edited".into(),
        ));
    }
    let Some(mut patch) = merge::diff(object, &document.value) else {
        return Ok(None);
    };
    // The user saw this revision: a change in between is a conflict, not overwritten.
    let revision = json::text(object, "/metadata/resourceVersion");
    if let Some(meta) = json::map_at(&mut patch, "metadata") {
        meta.insert("resourceVersion".into(), revision.into());
    }
    Ok(Some(patch))
}

/// The user's text below the reason why it was not saved.
fn with_reason(edited: &str, reason: &str) -> String {
    let kept = edited.lines().skip_while(|line| line.starts_with('#'));
    let kept: Vec<&str> = kept.collect();
    format!("{HEADER}#\n# {reason}\n#\n{}\n", kept.join("\n"))
}

fn in_editor(text: &str) -> Result<String, CliError> {
    let folder = tempfile::tempdir()
        .map_err(|source| failed("make a folder in", Path::new("/tmp"), source))?;
    let path = folder.path().join("object.yaml");
    let mut file = std::fs::File::create(&path).map_err(|source| failed("write", &path, source))?;
    file.write_all(text.as_bytes())
        .map_err(|source| failed("write", &path, source))?;
    drop(file);
    let named = ["KUBE_EDITOR", "EDITOR", "VISUAL"]
        .iter()
        .find_map(std::env::var_os);
    let program = named.filter(|program| !program.is_empty()).map_or_else(
        || "vi".to_owned(),
        |program| program.to_string_lossy().into_owned(),
    );
    // An editor may come with arguments, `code --wait`: the shell takes them apart.
    let status = std::process::Command::new("sh")
        .args(["-c", &format!("{program} \"$1\""), "sh"])
        .arg(&path)
        .status()
        .map_err(|source| CliError::Run {
            program: program.clone(),
            source,
        })?;
    if !status.success() {
        return Err(CliError::Usage(format!(
            "{program} ended with {status}; set $EDITOR"
        )));
    }
    std::fs::read_to_string(&path).map_err(|source| failed("read", &path, source))
}

fn failed(doing: &'static str, path: &Path, source: std::io::Error) -> CliError {
    CliError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object() -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1", "b": "2"},
            "metadata": {"name": "c", "namespace": "d", "resourceVersion": "7"}})
    }

    #[test]
    fn an_edit_is_the_patch_between_what_was_shown_and_what_came_back() {
        let text = manifest::to_yaml(&object());
        assert_eq!(read(&text, &object()).unwrap(), None, "no change");
        assert_eq!(
            read("# only comments\n", &object()).unwrap(),
            None,
            "emptied"
        );
        let edited = text
            .replace("a: \"1\"", "a: \"9\"")
            .replace("  b: \"2\"\n", "");
        let expected = json!({"data": {"a": "9", "b": null}, "metadata": {"resourceVersion": "7"}});
        assert_eq!(read(&edited, &object()).unwrap(), Some(expected));
        assert!(read(&text.replace("name: c", "name: x"), &object()).is_err());
        assert!(read("a: [", &object()).is_err());
    }

    #[test]
    fn a_refused_text_comes_back_with_the_reason() {
        let again = with_reason("# old reason\nkind: X\n", "error: no");
        assert!(again.ends_with("#\n# error: no\n#\nkind: X\n"), "{again}");
        assert!(!again.contains("old reason"));
    }
}
