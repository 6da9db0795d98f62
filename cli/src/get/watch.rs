//! `skiff get -w`: what is there, then each change as it comes.

use serde_json::Value;
use skiff_api::Kind;
use skiff_client::{Event, ListOptions, Watcher};

use super::{TABLE, View, formatted, plain};
use crate::args::OutputFormat;
use crate::error::CliError;
use crate::resource::{self, Target};
use crate::{json, print};

pub(super) async fn run(view: &View<'_>, targets: &[Target]) -> Result<(), CliError> {
    let [target] = targets else {
        return Err(CliError::Usage(
            "only one type can be watched at a time".into(),
        ));
    };
    let mut options = view.filter.options();
    match target.names.as_slice() {
        [] => {}
        [name] => options.field_selector = Some(format!("metadata.name={name}")),
        _ => {
            return Err(CliError::Usage(
                "only one name can be watched at a time".into(),
            ));
        }
    }
    match &view.args.output {
        None | Some(OutputFormat::Wide) => rows(view, target, options).await,
        Some(format) => objects(view, target.kind, options, format).await,
    }
}

fn watcher(view: &View<'_>, kind: Kind, options: ListOptions) -> Watcher {
    let scope = view
        .cluster
        .scope(view.args.all_namespaces)
        .map(str::to_owned);
    Watcher::new(view.cluster.client.clone(), kind, scope, options)
}

/// Shows rows of tables; never the headings twice.
async fn rows(view: &View<'_>, target: &Target, options: ListOptions) -> Result<(), CliError> {
    let mut widths = Vec::new();
    let mut headings = !view.args.no_headers;
    let mut show = |table: &Value| {
        let table = view.read(target.kind, table, false);
        if table.is_empty() {
            return Ok(());
        }
        let text = table.text_at_least(headings, &mut widths);
        headings = false;
        print::text(&text)
    };
    let mut outcome = Ok(());
    let Some(table) = view.table(target, &mut outcome).await? else {
        return outcome;
    };
    show(&table)?;
    let revision = json::text(&table, "/metadata/resourceVersion").to_owned();
    let mut watcher = watcher(view, target.kind, options)
        .accept(TABLE)
        .from_revision(revision);
    loop {
        match next(&mut watcher).await {
            Event::Applied(table) | Event::Deleted(table) => show(&table)?,
            // The history was lost; what is there now stands for what was missed.
            Event::Restarted(_) => {
                if let Some(table) = view.table(target, &mut outcome).await? {
                    show(&table)?;
                }
            }
        }
    }
}

/// Shows whole objects.
async fn objects(
    view: &View<'_>,
    kind: Kind,
    options: ListOptions,
    format: &OutputFormat,
) -> Result<(), CliError> {
    let mut watcher = watcher(view, kind, options);
    loop {
        let found = match next(&mut watcher).await {
            Event::Restarted(objects) => objects,
            Event::Applied(object) | Event::Deleted(object) => vec![object],
        };
        for mut object in found {
            resource::stamp(kind, &mut object);
            match format {
                OutputFormat::Name => print::line(&resource::display_object(kind, &object))?,
                OutputFormat::Yaml => {
                    print::text(&format!("---\n{}", formatted(&plain(object), format)?))?;
                }
                OutputFormat::Json | OutputFormat::JsonPath(_) | OutputFormat::Wide => {
                    print::text(&formatted(&plain(object), format)?)?;
                }
            }
        }
    }
}

/// The next event; failures on the way are told and waited out.
async fn next(watcher: &mut Watcher) -> Event {
    loop {
        match watcher.next().await {
            Ok(event) => return event,
            Err(error) => {
                print::warning(&format!("{}; trying again", CliError::from(error).line()))
            }
        }
    }
}
