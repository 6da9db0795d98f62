//! `skiff cluster status`: the servers in a table, and what may still be lost.

use serde_json::Value;
use skiff_client::Request;

use crate::args::{ClusterStatusArgs, VersionFormat};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::get::pretty_json;
use crate::table::Table;
use crate::{json, print};

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &ClusterStatusArgs) -> Result<(), CliError> {
    let request = Request::get("/skiff/v1/cluster/status");
    let status: Value = cluster.client.json(request).await?;
    match args.output {
        Some(VersionFormat::Json) => print::text(&pretty_json(&status)),
        Some(VersionFormat::Yaml) => print::text(&skiff_api::manifest::to_yaml(&status)),
        None => {
            print::text(&table(&status).text(true))?;
            print::line(&verdict(&status))
        }
    }
}

fn table(status: &Value) -> Table {
    let mut table = Table::new(&["NAME", "ID", "ROLE", "ADDRESS", "LAG", "HEALTH"]);
    for member in json::items(status, "/members") {
        let lag = member.pointer("/lag").and_then(Value::as_u64);
        table.row(vec![
            shown(json::text(member, "/name")),
            json::int(member, "/id").to_string(),
            shown(json::text(member, "/role")),
            shown(json::text(member, "/address")),
            lag.map_or("<unknown>".to_owned(), |lag| lag.to_string()),
            health(member).to_owned(),
        ]);
    }
    table
}

fn shown(text: &str) -> String {
    if text.is_empty() { "<none>" } else { text }.to_owned()
}

/// How a server does, in a word or three.
fn health(member: &Value) -> &'static str {
    let active = member.pointer("/active").and_then(Value::as_bool);
    match (json::text(member, "/role"), active) {
        (_, None) => "unknown",
        ("", Some(_)) => "not in the group",
        (_, Some(false)) => "silent",
        (_, Some(true)) if json::flag(member, "/inSnapshot") => "receiving a snapshot",
        ("learner", Some(true)) => "catching up",
        (_, Some(true)) => "ok",
    }
}

/// What the cluster can bear, in a sentence.
fn verdict(status: &Value) -> String {
    let members = json::items(status, "/members");
    let voters = members
        .iter()
        .filter(|member| matches!(json::text(member, "/role"), "leader" | "voter"));
    let (voters, alive) = voters.fold((0, 0), |(voters, alive), member| {
        (
            voters + 1,
            alive + usize::from(json::flag(member, "/active")),
        )
    });
    let leader = json::int(status, "/leader");
    if leader == 0 {
        let needed = voters / 2 + 1;
        return format!(
            "There is no leader: {needed} of {voters} servers with a vote must be alive."
        );
    }
    if members
        .iter()
        .all(|member| member.pointer("/active").is_none_or(Value::is_null))
    {
        return "The leader could not be asked how the others do.".to_owned();
    }
    let spare = alive.saturating_sub(voters / 2 + 1);
    let may = match spare {
        0 => "none may be lost".to_owned(),
        1 => "one may be lost".to_owned(),
        more => format!("{more} may be lost"),
    };
    format!("{alive} of {voters} servers with a vote are alive: {may}.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(name: &str, role: &str, active: bool, lag: u64) -> Value {
        json!({"id": 1, "name": name, "role": role, "address": "h:1", "active": active,
            "lag": lag, "inSnapshot": false})
    }

    #[test]
    fn the_table_says_who_leads_and_who_lags() {
        let mut snapshot = member("d", "learner", true, 900);
        snapshot["inSnapshot"] = true.into();
        let members = json!([
            member("a", "leader", true, 0),
            member("b", "voter", false, 12),
            member("c", "learner", true, 3),
            snapshot,
            {"id": 9, "name": "e", "role": null, "address": "h:9", "active": false},
        ]);
        let status = json!({"leader": 1, "members": members});
        let expected = "\
NAME   ID   ROLE      ADDRESS   LAG         HEALTH
a      1    leader    h:1       0           ok
b      1    voter     h:1       12          silent
c      1    learner   h:1       3           catching up
d      1    learner   h:1       900         receiving a snapshot
e      9    <none>    h:9       <unknown>   not in the group
";
        assert_eq!(table(&status).text(true), expected);
    }

    #[test]
    fn the_sentence_says_what_may_be_lost() {
        let group = |alive: &[bool]| {
            let roles = ["leader"].into_iter().chain(std::iter::repeat("voter"));
            let members = roles
                .zip(alive)
                .map(|(role, alive)| member("x", role, *alive, 0));
            json!({"leader": 1, "members": members.collect::<Vec<_>>()})
        };
        let follower = json!({"leader": 1, "members": [
            {"role": "leader", "active": null}, {"role": "voter", "active": null}]});
        let orphaned = json!({"leader": null, "members": [
            {"role": "voter", "active": null}, {"role": "voter", "active": null}]});
        let cases = [
            (
                group(&[true]),
                "1 of 1 servers with a vote are alive: none may be lost.",
            ),
            (
                group(&[true; 3]),
                "3 of 3 servers with a vote are alive: one may be lost.",
            ),
            (
                group(&[true, true, false]),
                "2 of 3 servers with a vote are alive: none may be lost.",
            ),
            (
                group(&[true; 5]),
                "5 of 5 servers with a vote are alive: 2 may be lost.",
            ),
            (follower, "The leader could not be asked how the others do."),
            (
                orphaned,
                "There is no leader: 2 of 2 servers with a vote must be alive.",
            ),
        ];
        for (status, expected) in cases {
            assert_eq!(verdict(&status), expected);
        }
    }
}
