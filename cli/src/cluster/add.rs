//! `skiff cluster add`: a server is added by starting it on its machine, so this prints how.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::change::post;
use crate::args::AddArgs;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::{json, print};

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &AddArgs) -> Result<(), CliError> {
    let invitation = post(cluster, "/skiff/v1/cluster/token", &json!({})).await?;
    let servers = servers(&invitation);
    if servers.iter().all(|url| is_local(url)) {
        print::warning(
            "the servers are known by addresses of this machine only; for others to reach them, \
             start them with --listen 0.0.0.0:6443 and --advertise HOST:PORT",
        );
    }
    let expires = json::text(&invitation, "/expires");
    let command = command(&servers, json::text(&invitation, "/token"), args);
    print::text(&format!(
        "Run this on the new machine before {expires}:\n\n  {command}\n\n\
         It receives the state and gets its vote by itself; see `skiff cluster status`.\n"
    ))
}

fn servers(invitation: &Value) -> Vec<&str> {
    let servers = json::items(invitation, "/servers").iter();
    servers.filter_map(Value::as_str).collect()
}

fn is_local(url: &str) -> bool {
    let host = url.trim_start_matches("https://");
    ["127.", "[::1]", "localhost"]
        .iter()
        .any(|local| host.starts_with(local))
}

fn command(servers: &[&str], token: &str, args: &AddArgs) -> String {
    let mut command = format!(
        "skiff server --data-dir {}",
        quote(&args.data_dir.to_string_lossy())
    );
    // Writing to a String cannot fail.
    if let Some(name) = &args.name {
        _ = write!(command, " --name {}", quote(name));
    }
    if let Some(address) = &args.advertise {
        _ = write!(command, " --advertise {}", quote(address));
    }
    _ = write!(
        command,
        " --join {} --token {token}",
        quote(&servers.join(","))
    );
    command
}

/// A word as a shell reads it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.:,-_@+=%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted_into_a_shell() {
        let mut args = AddArgs {
            name: None,
            data_dir: "/var/lib/skiff".into(),
            advertise: None,
        };
        let servers = ["https://10.0.0.1:6443", "https://10.0.0.2:6443"];
        assert_eq!(
            command(&servers, "id.secret.hash", &args),
            "skiff server --data-dir /var/lib/skiff --join \
             https://10.0.0.1:6443,https://10.0.0.2:6443 --token id.secret.hash"
        );
        args.name = Some("b".into());
        args.data_dir = "/srv/it's here".into();
        args.advertise = Some("[fd00::2]:6443".into());
        assert_eq!(
            command(&servers[..1], "t", &args),
            r"skiff server --data-dir '/srv/it'\''s here' --name b --advertise '[fd00::2]:6443' --join https://10.0.0.1:6443 --token t"
        );
    }

    #[test]
    fn addresses_that_others_cannot_reach_are_noticed() {
        let cases = [
            ("https://127.0.0.1:6443", true),
            ("https://[::1]:6443", true),
            ("https://10.0.0.1:6443", false),
        ];
        for (url, expected) in cases {
            assert_eq!(is_local(url), expected, "{url}");
        }
    }
}
