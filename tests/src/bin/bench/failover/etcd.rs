//! Three members of etcd under the fail-over benchmark, with the settings they are shipped with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use skiff_tests::api::{Call, Connection};
use skiff_tests::cluster::{free_address, text};
use skiff_tests::process::Process;
use skiff_tests::wait;

use super::group::{Endpoint, Group};

/// Where Debian puts it.
const PROGRAM: &str = "/usr/bin/etcd";
const COUNT: usize = 3;
/// Until a member answers, or has caught up.
const UP_MAX: Duration = Duration::from_secs(60);
/// From the first key to the one after the last, as this benchmark's clients name them.
const KEYS: [&str; 2] = ["w", "x"];

/// One member of the group.
struct Member {
    /// Where clients ask.
    address: String,
    args: Vec<String>,
    process: Process,
}

/// The group.
pub(super) struct Members {
    members: Vec<Member>,
    runtime: tokio::runtime::Runtime,
    // Dropped last: it holds everybody's data.
    folder: tempfile::TempDir,
}

impl Members {
    /// Starts a group and waits until it has a leader; nothing if etcd is not installed.
    pub(super) fn start() -> Option<Self> {
        if !Path::new(PROGRAM).is_file() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let peers: Vec<String> = (0..COUNT).map(|_| free_address()).collect();
        let group: Vec<String> = peers
            .iter()
            .enumerate()
            .map(|(number, peer)| format!("m{number}=http://{peer}"))
            .collect();
        let members = peers
            .iter()
            .enumerate()
            .map(|(number, peer)| {
                let address = free_address();
                let data = folder.path().join(format!("m{number}"));
                let args = args(number, &data, [&address, peer], &group.join(","));
                Member {
                    process: run(number, &args, folder.path()),
                    address,
                    args,
                }
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let group = Self {
            members,
            runtime,
            folder,
        };
        group.leader();
        Some(group)
    }

    fn ask(&self, member: usize, path: &str, body: &Value) -> Result<Value, String> {
        let address = &self.members[member].address;
        let answer = self.runtime.block_on(async {
            let mut connection = Connection::plain(address).await?;
            connection.send(&Call::post(path, body)).await
        })?;
        if answer.status == 200 {
            Ok(answer.json())
        } else {
            Err(answer.text())
        }
    }

    fn status(&self, member: usize) -> Result<Value, String> {
        self.ask(member, "/v3/maintenance/status", &json!({}))
    }
}

fn args(number: usize, data: &Path, [client, peer]: [&str; 2], group: &str) -> Vec<String> {
    let data = data.display().to_string();
    let (name, client) = (format!("m{number}"), format!("http://{client}"));
    let peer = format!("http://{peer}");
    [
        ("--name", &name),
        ("--data-dir", &data),
        ("--listen-client-urls", &client),
        ("--advertise-client-urls", &client),
        ("--listen-peer-urls", &peer),
        ("--initial-advertise-peer-urls", &peer),
        ("--initial-cluster", &group.to_owned()),
        ("--initial-cluster-state", &"new".to_owned()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value.clone()])
    .collect()
}

fn run(number: usize, args: &[String], folder: &Path) -> Process {
    let mut command = Command::new(PathBuf::from(PROGRAM));
    Process::start(&format!("etcd-{number}"), command.args(args), folder)
}

impl Group for Members {
    fn endpoints(&self) -> Vec<Endpoint> {
        let members = self.members.iter();
        members
            .map(|member| Endpoint::Etcd(member.address.clone()))
            .collect()
    }

    fn leader(&self) -> usize {
        wait::until("a member of etcd leads", UP_MAX, || {
            let mut seen = Vec::new();
            for member in 0..COUNT {
                match self.status(member) {
                    Ok(status) if leads(&status) => return Ok(member),
                    Ok(status) => seen.push(status.to_string()),
                    Err(why) => seen.push(why),
                }
            }
            Err(seen.join("; "))
        })
    }

    fn kill(&mut self, server: usize) {
        self.members[server].process.kill();
    }

    fn bring_back(&mut self, server: usize) {
        let process = run(server, &self.members[server].args, self.folder.path());
        self.members[server].process = process;
        let leader = self.leader();
        let mut goal = None;
        wait::until("the member of etcd has caught up", UP_MAX, || {
            let own = number(&self.status(server)?, "raftAppliedIndex")?;
            let goal = match goal {
                Some(goal) => goal,
                None => *goal.insert(number(&self.status(leader)?, "raftIndex")?),
            };
            if own >= goal {
                Ok(())
            } else {
                Err(format!("{own} of {goal}"))
            }
        });
    }

    fn stored(&self, server: usize) -> BTreeSet<String> {
        let [from, to] = KEYS.map(|key| STANDARD.encode(key));
        let range = json!({"key": from, "range_end": to, "keys_only": true});
        let found = self.ask(server, "/v3/kv/range", &range);
        let found = found.unwrap_or_else(|why| panic!("read from etcd: {why}"));
        let pairs = found["kvs"].as_array().into_iter().flatten();
        pairs
            .map(|pair| {
                let key = STANDARD.decode(text(&pair["key"])).expect("base64");
                String::from_utf8(key).expect("a key of ours")
            })
            .collect()
    }
}

fn leads(status: &Value) -> bool {
    let own = &status["header"]["member_id"];
    own.is_string() && *own == status["leader"]
}

/// The gateway writes 64-bit numbers as text.
fn number(status: &Value, field: &str) -> Result<u64, String> {
    let text = status[field].as_str();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| status.to_string())
}
