//! `skiff events`, and the events of one object for `describe`.

use serde_json::Value;
use skiff_api::{Key, Kind, Millis};
use skiff_client::{ClientError, Event, ListOptions, Watcher};

use crate::args::EventsArgs;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::resource;
use crate::table::Table;
use crate::{age, json, print};

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &EventsArgs) -> Result<(), CliError> {
    let mut options = ListOptions::default();
    if let Some(about) = &args.about {
        let target = resource::parse_slashed(about)?;
        let kind = target.kind.info().name;
        let name = target.names.concat();
        options = ListOptions::field(format!(
            "involvedObject.kind={kind},involvedObject.name={name}"
        ));
    }
    let scope = cluster.scope(args.all_namespaces);
    let list = cluster
        .client
        .list::<Value>(Kind::Event, scope, &options)
        .await?;
    let mut events = wanted(list.items, &args.types);
    events.sort_by_key(last_seen);
    let mut widths = Vec::new();
    if events.is_empty() && !args.watch {
        print::note(&if args.all_namespaces {
            "No events found.".to_owned()
        } else {
            format!("No events found in {} namespace.", cluster.namespace)
        });
        return Ok(());
    }
    print::text(&table(&events, args.all_namespaces).text_at_least(true, &mut widths))?;
    if !args.watch {
        return Ok(());
    }
    let scope = scope.map(str::to_owned);
    let mut watcher = Watcher::new(cluster.client.clone(), Kind::Event, scope, options)
        .from_revision(list.revision);
    loop {
        let more = match watcher.next().await {
            Ok(Event::Applied(event)) => vec![event],
            Ok(Event::Restarted(events)) => events,
            Ok(Event::Deleted(_)) => Vec::new(),
            Err(error) => {
                print::warning(&format!("{}; trying again", CliError::from(error).line()));
                Vec::new()
            }
        };
        let rows = table(&wanted(more, &args.types), args.all_namespaces);
        print::text(&rows.text_at_least(false, &mut widths))?;
    }
}

fn wanted(mut events: Vec<Value>, types: &[String]) -> Vec<Value> {
    events.retain(|event| {
        let kind = json::text(event, "/type");
        types.is_empty() || types.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
    });
    events
}

fn table(events: &[Value], with_namespace: bool) -> Table {
    let headings = [
        "NAMESPACE",
        "LAST SEEN",
        "TYPE",
        "REASON",
        "OBJECT",
        "MESSAGE",
    ];
    let skipped = usize::from(!with_namespace);
    let mut table = Table::new(headings.get(skipped..).unwrap_or_default());
    let now = age::now();
    for event in events {
        let object = format!(
            "{}/{}",
            json::text(event, "/involvedObject/kind"),
            json::text(event, "/involvedObject/name")
        );
        let cells = [
            json::namespace(event).to_owned(),
            seen(event, now),
            json::text(event, "/type").to_owned(),
            json::text(event, "/reason").to_owned(),
            object,
            json::text(event, "/message").trim().replace('\n', " "),
        ];
        table.row(cells.into_iter().skip(skipped).collect());
    }
    table
}

/// The events about one object, the oldest first.
pub(crate) async fn about(
    cluster: &Cluster,
    key: &Key,
    uid: &str,
) -> Result<Vec<Value>, ClientError> {
    let kind = key.kind.info().name;
    let mut selector = format!(
        "involvedObject.kind={kind},involvedObject.name={}",
        key.name
    );
    if !uid.is_empty() && key.kind != Kind::Node {
        selector.push_str(&format!(",involvedObject.uid={uid}"));
    }
    let scope = Some(&*key.namespace).filter(|namespace| !namespace.is_empty());
    let list = cluster
        .client
        .list::<Value>(Kind::Event, scope, &ListOptions::field(selector))
        .await?;
    let mut events = list.items;
    events.sort_by_key(last_seen);
    Ok(events)
}

/// `3m (x5 over 10m)`, or `3m`.
pub(crate) fn seen(event: &Value, now: Millis) -> String {
    let last = age::since(last_text(event), now);
    let count = json::int(event, "/count").max(json::int(event, "/series/count"));
    let first = json::text(event, "/firstTimestamp");
    if count > 1 && !first.is_empty() {
        format!("{last} (x{count} over {})", age::since(first, now))
    } else {
        last
    }
}

fn last_seen(event: &Value) -> Millis {
    Millis::parse(last_text(event)).unwrap_or_default()
}

fn last_text(event: &Value) -> &str {
    [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ]
    .iter()
    .map(|pointer| json::text(event, pointer))
    .find(|text| !text.is_empty())
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repeated_events_say_how_often() {
        let now = Millis::parse("2026-11-23T01:10:00Z").unwrap();
        let once = json!({"lastTimestamp": "2026-11-23T01:09:00Z", "count": 1});
        let often = json!({"lastTimestamp": "2026-11-23T01:09:00Z", "count": 5,
            "firstTimestamp": "2026-11-23T01:00:00Z"});
        let new_form = json!({"eventTime": "2026-11-23T01:09:50.000000Z", "lastTimestamp": null});
        assert_eq!(seen(&once, now), "60s");
        assert_eq!(seen(&often, now), "60s (x5 over 10m)");
        assert_eq!(seen(&new_form, now), "10s");
    }
}
