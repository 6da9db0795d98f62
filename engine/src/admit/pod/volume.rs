//! Volumes: a name and exactly one source, and what the sources need.

use std::collections::BTreeSet;

use crate::admit::field::{At, Errors};
use crate::admit::names;

use super::resources;

const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// Every source that a volume can have, whether Skiff can mount it or not.
#[rustfmt::skip]
pub(super) const SOURCES: [&str; 30] = [
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "configMap", "csi",
    "downwardAPI", "emptyDir", "ephemeral", "fc", "flexVolume", "flocker", "gcePersistentDisk",
    "gitRepo", "glusterfs", "hostPath", "image", "iscsi", "nfs", "persistentVolumeClaim",
    "photonPersistentDisk", "portworxVolume", "projected", "quobyte", "rbd", "scaleIO", "secret",
    "storageos", "vsphereVolume",
];

/// Checks the volumes and returns their names.
pub(super) fn validate<'v>(volumes: &At<'_, 'v>, errors: &mut Errors) -> BTreeSet<&'v str> {
    let mut seen = BTreeSet::new();
    for volume in volumes.each() {
        let name = volume.field("name");
        if name.text().is_empty() {
            errors.required(&name, "");
        } else {
            errors.problems(&name, name.text(), &names::dns_label(name.text()));
            if !seen.insert(name.text()) {
                errors.duplicate(&name, name.text());
            }
        }
        let mut sources = volume.entries().filter(|(key, _)| SOURCES.contains(key));
        match sources.next() {
            None => errors.required(&volume, "must specify a volume type"),
            Some((kind, _)) => source(kind, &volume.field(kind), errors),
        }
        for (kind, _) in sources {
            errors.forbidden(
                &volume.field(kind),
                "may not specify more than 1 volume type",
            );
        }
    }
    seen
}

fn source(kind: &str, at: &At<'_, '_>, errors: &mut Errors) {
    match kind {
        "hostPath" => {
            path(&at.field("path"), errors);
            let wanted = at.field("type");
            if !HOST_PATH_TYPES.contains(&wanted.text()) {
                errors.not_supported(&wanted, &HOST_PATH_TYPES);
            }
        }
        "configMap" => keyed(at, "name", errors),
        "secret" => keyed(at, "secretName", errors),
        "emptyDir" if at.field("sizeLimit").exists() => {
            resources::amount("memory", &at.field("sizeLimit"), errors);
        }
        "downwardAPI" => fields(at, errors),
        "projected" => {
            mode(&at.field("defaultMode"), errors);
            for source in at.field("sources").each() {
                fields(&source.field("downwardAPI"), errors);
            }
        }
        "persistentVolumeClaim" if at.field("claimName").text().is_empty() => {
            errors.required(&at.field("claimName"), "");
        }
        _ => {}
    }
}

/// A source that shows the keys of another object as files.
fn keyed(at: &At<'_, '_>, reference: &str, errors: &mut Errors) {
    let name = at.field(reference);
    if name.text().is_empty() {
        errors.required(&name, "");
    }
    mode(&at.field("defaultMode"), errors);
    for item in at.field("items").each() {
        if item.field("key").text().is_empty() {
            errors.required(&item.field("key"), "");
        }
        let file = item.field("path");
        if file.text().starts_with('/') {
            errors.invalid(&file, "must be a relative path");
        }
        path(&file, errors);
        mode(&item.field("mode"), errors);
    }
}

/// A source that shows fields of the pod as files.
fn fields(at: &At<'_, '_>, errors: &mut Errors) {
    mode(&at.field("defaultMode"), errors);
    for item in at.field("items").each() {
        path(&item.field("path"), errors);
        let (field, resource) = (item.field("fieldRef"), item.field("resourceFieldRef"));
        match (field.exists(), resource.exists()) {
            (false, false) => {
                errors.required(&item, "one of fieldRef and resourceFieldRef is required")
            }
            (true, true) => {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid(&item, detail);
            }
            (true, false) | (false, true) => {}
        }
        mode(&item.field("mode"), errors);
    }
}

fn path(at: &At<'_, '_>, errors: &mut Errors) {
    if at.text().is_empty() {
        errors.required(at, "");
    }
    no_backsteps(at, errors);
}

/// A path that never steps up: it must stay below where it begins.
pub(super) fn no_backsteps(at: &At<'_, '_>, errors: &mut Errors) {
    if at.text().split('/').any(|part| part == "..") {
        errors.invalid(at, "must not contain '..'");
    }
}

fn mode(at: &At<'_, '_>, errors: &mut Errors) {
    if at.int().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.invalid(
            at,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
}
