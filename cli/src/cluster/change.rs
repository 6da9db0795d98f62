//! `skiff cluster remove`, `promote`, `transfer`: one request each; the server decides.

use http::Method;
use serde_json::{Value, json};
use skiff_client::Request;

use crate::args::{MemberArgs, TransferArgs};
use crate::connect::Cluster;
use crate::error::CliError;
use crate::{json, print};

/// Removes a server.
pub(crate) async fn remove(cluster: &Cluster, args: &MemberArgs) -> Result<(), CliError> {
    let body = json!({"name": args.member, "force": args.force});
    let removed = post(cluster, "/skiff/v1/cluster/remove", &body).await?;
    print::line(&format!("server/{} removed", name(&removed)))?;
    print::note("Stop it on its machine, and move its data directory away before it joins again.");
    Ok(())
}

/// Gives a server its vote.
pub(crate) async fn promote(cluster: &Cluster, args: &MemberArgs) -> Result<(), CliError> {
    let body = json!({"name": args.member, "force": args.force});
    let promoted = post(cluster, "/skiff/v1/cluster/promote", &body).await?;
    print::line(&format!("server/{} has a vote", name(&promoted)))
}

/// Lets another server lead.
pub(crate) async fn transfer(cluster: &Cluster, args: &TransferArgs) -> Result<(), CliError> {
    let body = json!({"to": args.to});
    let leader = post(cluster, "/skiff/v1/cluster/transfer", &body).await?;
    print::line(&format!("server/{} leads", name(&leader)))
}

/// Sends a change and returns what the server says about it.
pub(super) async fn post(cluster: &Cluster, path: &str, body: &Value) -> Result<Value, CliError> {
    let request = Request::new(Method::POST, path).json("application/json", body)?;
    Ok(cluster.client.json(request).await?)
}

fn name(server: &Value) -> &str {
    json::text(server, "/name")
}
