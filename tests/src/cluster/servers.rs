//! Clusters of several servers: the first founds the cluster, the others join it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::{Cluster, Ground, UP_MAX, items};
use crate::api::{Api, Call, Identity};
use crate::docker::Engine;
use crate::hosts::Hosts;
use crate::process::Process;
use crate::skiff::{self, Said};
use crate::slowdisk::SlowDisk;
use crate::{wait, writers};

/// A server that joined.
pub struct Joined {
    /// Its name in the cluster.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Its data.
    pub data: PathBuf,
    /// The process.
    pub process: Process,
    args: Vec<String>,
}

impl Cluster {
    /// So many servers, all of them voters, and no node.
    #[must_use]
    pub fn servers(count: usize) -> Self {
        Self::founded_on(Ground::Here, count)
    }

    /// A server on each of some hosts, all of them voters.
    #[must_use]
    pub fn servers_on(hosts: Hosts) -> Self {
        let count = hosts.count();
        Self::founded_on(Ground::Hosts(hosts), count)
    }

    /// One server on the first of some hosts.
    #[must_use]
    pub fn server_on(hosts: Hosts) -> Self {
        Self::founded_on(Ground::Hosts(hosts), 1)
    }

    /// Starts an agent on a host, with the Engine there and further flags.
    pub fn add_agent_on(&mut self, number: usize, name: &str, engine: &Engine, flags: &[&str]) {
        let mut command = self.hosts().command(number, &skiff::binary());
        command.args(self.agent_args(name));
        if let Some(host) = &engine.host {
            command.args(["--docker-host", host]);
        }
        command.args(flags);
        self.start_agent(name, &mut command);
    }

    /// So many servers with a slow disk, all of them voters.
    #[must_use]
    pub fn servers_on_slow_disk(disk: SlowDisk, count: usize) -> Self {
        Self::founded_on(Ground::SlowDisk(disk), count)
    }

    fn founded_on(ground: Ground, count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("server");
        let mut cluster = Self::start("server", &data, folder, &[], ground);
        for _ in 1..count {
            cluster.join_server();
        }
        cluster.wait_for_voters(count);
        cluster
    }

    /// The hosts on which the servers run.
    ///
    /// # Panics
    /// If they all run on this one.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        match &self.ground {
            Ground::Hosts(hosts) => hosts,
            Ground::Here | Ground::SlowDisk(_) => panic!("the servers share this host"),
        }
    }

    /// How many servers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.joined.len()
    }

    /// Whether a server has its data, as it has from its first start until [`Self::lose_server`].
    fn is_kept(&self, number: usize) -> bool {
        self.kubeconfig_of(number).is_file()
    }

    /// The first server that has its data.
    pub(super) fn first_kept(&self) -> usize {
        let mut kept = (0..self.count()).filter(|number| self.is_kept(*number));
        kept.next().unwrap_or_default()
    }

    /// Loses a server for good, with its disk.
    ///
    /// # Panics
    /// If its data can't be removed.
    pub fn lose_server(&mut self, number: usize) {
        self.process(number).kill();
        fs::remove_dir_all(self.data_of(number)).expect("lose the disk");
    }

    /// Starts another server that joins by the token of one that is there; returns its number.
    ///
    /// # Panics
    /// If that one wrote no token for servers.
    pub fn join_server(&mut self) -> usize {
        let number = self.count();
        let name = format!("{}-s{number}", self.prefix);
        let data = self.folder.path().join(format!("server-{number}"));
        let address = self.ground.address(number);
        let kept = self.first_kept();
        let token = self.data_of(kept).join("server.token");
        let token = fs::read_to_string(token).expect("read server.token");
        let first = format!("https://{}", self.address_of(kept));
        let data_dir = data.display().to_string();
        let args = [
            "server",
            "--data-dir",
            &data_dir,
            "--listen",
            &address,
            "--name",
            &name,
            "--join",
            &first,
            "--token",
            token.trim(),
        ]
        .map(str::to_owned)
        .to_vec();
        let process = self.start_joined(number, &name, &args);
        self.joined.push(Joined {
            name,
            address,
            data,
            process,
            args,
        });
        self.wait_for_server(number);
        number
    }

    fn start_joined(&self, number: usize, name: &str, args: &[String]) -> Process {
        let mut command = self.ground.command(number);
        Process::start(name, command.args(args), self.folder.path())
    }

    /// Starts a server that has ended again, with the same arguments.
    ///
    /// # Panics
    /// If there is no such server.
    pub fn start_server_again(&mut self, number: usize) {
        let Some(at) = number.checked_sub(1) else {
            self.start_server();
            return;
        };
        let (name, args) = {
            let joined = self.joined.get(at).expect("a server of this cluster");
            (joined.name.clone(), joined.args.clone())
        };
        let process = self.start_joined(number, &name, &args);
        self.joined[at].process = process;
    }

    /// A server's process; 0 is the first.
    ///
    /// # Panics
    /// If there is no such server.
    pub fn process(&mut self, number: usize) -> &mut Process {
        match number.checked_sub(1) {
            None => &mut self.server,
            Some(at) => {
                let joined = self.joined.get_mut(at).expect("a server of this cluster");
                &mut joined.process
            }
        }
    }

    /// A server's data directory.
    ///
    /// # Panics
    /// If there is no such server.
    #[must_use]
    pub fn data_of(&self, number: usize) -> PathBuf {
        match number.checked_sub(1) {
            None => self.data.clone(),
            Some(at) => self
                .joined
                .get(at)
                .expect("a server of this cluster")
                .data
                .clone(),
        }
    }

    /// Where a server listens.
    ///
    /// # Panics
    /// If there is no such server.
    #[must_use]
    pub fn address_of(&self, number: usize) -> String {
        match number.checked_sub(1) {
            None => self.address.clone(),
            Some(at) => self
                .joined
                .get(at)
                .expect("a server of this cluster")
                .address
                .clone(),
        }
    }

    /// `skiff ARGS…` as the admin, asking one server; `line` is split at spaces.
    #[must_use]
    pub fn skiff_at(&self, number: usize, line: &str) -> Said {
        skiff::skiff(&self.kubeconfig_of(number), line)
    }

    /// The kubeconfig that a server wrote: it names that server.
    #[must_use]
    pub fn kubeconfig_of(&self, number: usize) -> PathBuf {
        self.data_of(number).join("admin.kubeconfig")
    }

    /// The admin, asking one server.
    #[must_use]
    pub fn identity_of(&self, number: usize) -> Identity {
        Identity::of(&self.kubeconfig_of(number))
    }

    /// The API of one server, as the admin.
    #[must_use]
    pub fn api_of(&self, number: usize) -> Api {
        Api::new(self.identity_of(number))
    }

    /// `https://HOST:PORT` of every server, separated by commas.
    #[must_use]
    pub fn urls(&self) -> String {
        let joined = self.joined.iter().map(|joined| &joined.address);
        let all = std::iter::once(&self.address).chain(joined);
        let urls: Vec<String> = all.map(|address| format!("https://{address}")).collect();
        urls.join(",")
    }

    /// Waits until a server answers that it is ready.
    ///
    /// # Panics
    /// If it ends instead, or takes too long.
    pub fn wait_for_server(&mut self, number: usize) {
        let kubeconfig = self.kubeconfig_of(number);
        wait::until(&format!("server {number} is ready"), UP_MAX, || {
            let process = self.process(number);
            assert!(process.runs(), "server {number} ended:\n{}", process.log());
            if !kubeconfig.is_file() {
                return Err("no admin.kubeconfig yet".to_owned());
            }
            let ready = Api::new(Identity::of(&kubeconfig)).try_send(&Call::get("/readyz"))?;
            if ready.status == 200 {
                Ok(())
            } else {
                Err(ready.text())
            }
        });
    }

    /// Waits until so many servers vote, as any running server sees it.
    pub fn wait_for_voters(&self, count: usize) {
        wait::until(&format!("{count} servers vote"), UP_MAX, || {
            let status = self.status()?;
            let voters = members(&status)
                .filter(|member| member["role"] == "leader" || member["role"] == "voter")
                .count();
            // As long as a change is in its joint phase, the quorum before it counts as well.
            if voters == count && status["changing"] == false {
                Ok(())
            } else {
                Err(status.to_string())
            }
        });
    }

    /// Waits until every server that has its data by itself has all that was acknowledged, whole, and the same.
    pub fn wait_until_all_agree(&self, acknowledged: &BTreeSet<String>) {
        let local = format!("{}?resourceVersion=0", writers::CONFIG_MAPS);
        wait::until("all servers hold the same", UP_MAX, || {
            let lists: Vec<Value> = (0..self.count())
                .filter(|number| self.is_kept(*number))
                .map(|number| self.api_of(number).get(&local))
                .collect();
            for list in &lists {
                writers::check(list, acknowledged)?;
            }
            let contents: Vec<Vec<&Value>> =
                lists.iter().map(|list| items(list).collect()).collect();
            if contents.windows(2).all(|pair| pair[0] == pair[1]) {
                Ok(())
            } else {
                Err("they differ".to_owned())
            }
        });
    }

    /// What the first server that answers says of the cluster.
    ///
    /// # Errors
    /// None answers.
    pub fn status(&self) -> Result<Value, String> {
        let mut last = String::new();
        for number in (0..self.count()).filter(|number| self.is_kept(*number)) {
            let asked = self
                .api_of(number)
                .try_send(&Call::get("/skiff/v1/cluster/status"));
            match asked {
                Ok(answer) if answer.status == 200 => return Ok(answer.json()),
                Ok(answer) => last = answer.text(),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Waits until there is a leader and returns its number.
    pub fn leader(&self) -> usize {
        wait::until("a server leads", UP_MAX, || {
            let status = self.status()?;
            let leader = members(&status).find(|member| member["role"] == "leader");
            let address = leader.map(|member| member["address"].clone());
            let at = |address: &Value| {
                let addresses = std::iter::once(&self.address)
                    .chain(self.joined.iter().map(|joined| &joined.address));
                addresses
                    .enumerate()
                    .find(|(_, one)| address.as_str() == Some(one.as_str()))
                    .map(|(number, _)| number)
            };
            address
                .as_ref()
                .and_then(at)
                .ok_or_else(|| status.to_string())
        })
    }
}

/// The members in a cluster's status.
pub fn members(status: &Value) -> impl Iterator<Item = &Value> {
    status["members"].as_array().into_iter().flatten()
}
