//! `skiff version`: of this program and of the server.

use serde_json::{Value, json};
use skiff_client::Request;

use crate::args::{Connection, VersionArgs, VersionFormat};
use crate::error::CliError;
use crate::get::pretty_json;
use crate::{connect, json, print};

/// This program's version, as Kubernetes writes versions.
const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Runs the verb. Without a server it still says the program's version, and fails.
pub(crate) async fn run(connection: &Connection, args: &VersionArgs) -> Result<(), CliError> {
    let server = if args.client {
        Ok(None)
    } else {
        server(connection).await.map(Some)
    };
    let known = server.as_ref().ok().and_then(Option::as_ref);
    let mut all = json!({"clientVersion": {"gitVersion": VERSION}});
    if let (Some(version), Some(fields)) = (known, all.as_object_mut()) {
        fields.insert("serverVersion".to_owned(), version.clone());
    }
    match args.output {
        Some(VersionFormat::Json) => print::text(&pretty_json(&all))?,
        Some(VersionFormat::Yaml) => print::text(&skiff_api::manifest::to_yaml(&all))?,
        None => {
            print::line(&format!("Client Version: {VERSION}"))?;
            if let Some(version) = known {
                print::line(&format!(
                    "Server Version: {}",
                    json::text(version, "/gitVersion")
                ))?;
            }
        }
    }
    server.map(drop)
}

async fn server(connection: &Connection) -> Result<Value, CliError> {
    let cluster = connect::connect(connection)?;
    Ok(cluster.client.json(Request::get("/version")).await?)
}
