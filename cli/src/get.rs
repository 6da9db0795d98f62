//! `skiff get`: tables made by the server, or the objects themselves.

mod watch;

use serde_json::{Value, json};
use skiff_api::{Key, Kind, Scope};
use skiff_client::request::{collection_path, object_path};
use skiff_client::{ClientError, Request};

use crate::args::{GetArgs, OutputFormat};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::jsonpath::Template;
use crate::resource::{self, Filter, Target};
use crate::table::{Columns, Extra, Table};
use crate::{json, print};

/// The form of answer that is a table.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Rows per request.
const PAGE: &str = "500";

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &GetArgs) -> Result<(), CliError> {
    let targets = resource::parse(&args.selection.resources)?;
    let filter = Filter {
        labels: args.selection.selector.as_deref(),
        fields: args.field_selector.as_deref(),
        all_namespaces: args.all_namespaces,
    };
    let view = View {
        cluster,
        args,
        filter,
    };
    if args.watch {
        return watch::run(&view, &targets).await;
    }
    match &args.output {
        None | Some(OutputFormat::Wide) => view.tables(&targets).await,
        Some(format) => view.objects(&targets, format).await,
    }
}

/// What is asked and how it is shown.
struct View<'a> {
    cluster: &'a Cluster,
    args: &'a GetArgs,
    filter: Filter<'a>,
}

impl View<'_> {
    async fn tables(&self, targets: &[Target]) -> Result<(), CliError> {
        let several = targets.len() > 1;
        let mut outcome = Ok(());
        let mut printed = false;
        for target in targets {
            let table = match self.table(target, &mut outcome).await? {
                Some(table) if !json::items(&table, "/rows").is_empty() => table,
                _ => continue,
            };
            if printed {
                print::line("")?;
            }
            let table = self.read(target.kind, &table, several);
            print::text(&table.text(!self.args.no_headers))?;
            printed = true;
        }
        let named = targets.iter().any(|target| !target.names.is_empty());
        if !printed && !named {
            print::note(&resource::nothing_found(
                self.cluster,
                targets,
                self.args.all_namespaces,
            ));
        }
        outcome
    }

    /// The server's table of a target. Names that do not exist are told at once.
    async fn table(
        &self,
        target: &Target,
        outcome: &mut Result<(), CliError>,
    ) -> Result<Option<Value>, CliError> {
        if target.names.is_empty() {
            return self.collection(target.kind).await.map(Some);
        }
        if self.filter.labels.is_some() || self.filter.fields.is_some() {
            return Err(CliError::Usage(
                "a selector and names do not go together".into(),
            ));
        }
        let mut merged = None;
        for name in &target.names {
            let key = Key::new(target.kind, &self.cluster.namespace, name);
            let request = Request::get(object_path(&key, None)).accept(TABLE);
            match self.cluster.client.json::<Value>(request).await {
                Ok(table) => append(&mut merged, table),
                Err(error) => self.tell(error, outcome)?,
            }
        }
        Ok(merged)
    }

    /// Goes on after an object that does not exist; other errors end the verb.
    fn tell(&self, error: ClientError, outcome: &mut Result<(), CliError>) -> Result<(), CliError> {
        if !error.is_not_found() {
            return Err(error.into());
        }
        if !self.args.ignore_not_found {
            print::error(&error.into());
            *outcome = Err(CliError::Reported);
        }
        Ok(())
    }

    /// All rows of a collection, as one table.
    async fn collection(&self, kind: Kind) -> Result<Value, CliError> {
        let scope = self.cluster.scope(self.args.all_namespaces);
        let mut merged = None;
        let mut next = String::new();
        loop {
            let request = Request::get(collection_path(kind, scope)).accept(TABLE);
            let request = self.filter.options().select(request.query("limit", PAGE));
            let more = Some(next).filter(|next| !next.is_empty());
            let table: Value = self
                .cluster
                .client
                .json(request.query_opt("continue", more))
                .await?;
            next = json::text(&table, "/metadata/continue").to_owned();
            append(&mut merged, table);
            if next.is_empty() {
                return Ok(merged.unwrap_or_default());
            }
        }
    }

    fn read(&self, kind: Kind, table: &Value, several: bool) -> Table {
        let wide = self.args.output == Some(OutputFormat::Wide);
        let prefix = if several {
            format!("{}/", resource::qualified(kind))
        } else {
            String::new()
        };
        let extra = Extra {
            namespace: self.args.all_namespaces && kind.info().scope == Scope::Namespaced,
            prefix: &prefix,
            labels: self.args.show_labels,
        };
        Table::from_server(
            table,
            if wide { Columns::Wide } else { Columns::Usual },
            &extra,
        )
    }

    async fn objects(&self, targets: &[Target], format: &OutputFormat) -> Result<(), CliError> {
        let mut outcome = Ok(());
        let mut found = Vec::new();
        for target in targets {
            if target.names.is_empty() {
                let one = std::slice::from_ref(target);
                found.extend(resource::fetch(self.cluster, one, &self.filter).await?);
            }
            for name in &target.names {
                let one = Target {
                    kind: target.kind,
                    names: vec![name.clone()],
                };
                match resource::fetch(self.cluster, &[one], &self.filter).await {
                    Ok(objects) => found.extend(objects),
                    Err(CliError::Client(error)) => self.tell(error, &mut outcome)?,
                    Err(error) => return Err(error),
                }
            }
        }
        let single = matches!(targets, [target] if target.names.len() == 1);
        show(found, single, format)?;
        outcome
    }
}

/// Adds the rows of a table to those before.
fn append(merged: &mut Option<Value>, mut table: Value) {
    let Some(before) = merged else {
        *merged = Some(table);
        return;
    };
    let rows = table
        .pointer_mut("/rows")
        .and_then(Value::as_array_mut)
        .map(std::mem::take);
    if let Some(all) = before.pointer_mut("/rows").and_then(Value::as_array_mut) {
        all.extend(rows.unwrap_or_default());
    }
}

/// Prints objects in a format that is no table.
fn show(found: Vec<(Kind, Value)>, single: bool, format: &OutputFormat) -> Result<(), CliError> {
    if *format == OutputFormat::Name {
        return found
            .iter()
            .try_for_each(|(kind, object)| print::line(&resource::display_object(*kind, object)));
    }
    let mut objects: Vec<Value> = found.into_iter().map(|(_, object)| plain(object)).collect();
    let value = if single {
        let Some(object) = objects.pop() else {
            return Ok(());
        };
        object
    } else {
        json!({"apiVersion": "v1", "kind": "List", "items": objects,
            "metadata": {"resourceVersion": ""}})
    };
    print::text(&formatted(&value, format)?)
}

/// Without what only machines read.
fn plain(mut object: Value) -> Value {
    if let Some(meta) = object
        .pointer_mut("/metadata")
        .and_then(Value::as_object_mut)
    {
        meta.remove("managedFields");
    }
    object
}

fn formatted(value: &Value, format: &OutputFormat) -> Result<String, CliError> {
    match format {
        OutputFormat::Yaml => Ok(skiff_api::manifest::to_yaml(value)),
        OutputFormat::JsonPath(template) => Ok(Template::parse(template)?.render(value)?),
        OutputFormat::Json | OutputFormat::Wide | OutputFormat::Name => Ok(pretty_json(value)),
    }
}

/// JSON with four spaces per level, as kubectl prints it.
pub(crate) fn pretty_json(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => {
            out.push(b'\n');
            String::from_utf8_lossy(&out).into_owned()
        }
        // A `Value` is JSON by construction; its own text is the same without the indentation.
        Err(_) => format!("{value}\n"),
    }
}
