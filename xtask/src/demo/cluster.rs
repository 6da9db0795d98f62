//! The demo's processes: servers and agents, started, killed, and ended to the last container.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{NODES, network, request};
use crate::shell::{self, Done, Failure, command, read, run, say};
use crate::table::Table;
use crate::tools;

/// Longest wait for anything that the demo shows; on two cores most of it takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);
/// Where the first server listens; the next one on the next port, and so on.
const PORT: u16 = 16443;

/// Where the first server's gateway listens; the next one's on the next port, and so on.
const GATEWAY_PORT: u16 = 18080;

/// The containers of the shop's namespace.
const OF_SHOP: &str = "label=io.skiff.namespace=shop";

/// A running demo.
pub(super) struct Cluster {
    skiff: PathBuf,
    folder: PathBuf,
    servers: usize,
    /// The server whose kubeconfig the person uses, by number.
    asked: usize,
    processes: BTreeMap<String, Child>,
}

impl Cluster {
    /// Starts so many servers, the first of which founds the cluster that the others join, and waits
    /// until all of them vote.
    pub(super) fn start(servers: usize) -> Done<Self> {
        let folder = folder();
        fs::create_dir_all(&folder).map_err(|source| file(&folder, source))?;
        let skiff = tools::skiff_binary();
        let mut cluster = Self {
            skiff,
            folder,
            servers,
            asked: 0,
            processes: BTreeMap::new(),
        };
        for number in 0..servers {
            cluster.start_server(number)?;
            cluster.until("the API answers", &["get", "namespaces"], |_| true)?;
        }
        if servers > 1 {
            cluster.until("all servers vote", &["cluster", "status"], |status| {
                let roles = status.column("ROLE");
                let votes = roles
                    .iter()
                    .filter(|role| ["leader", "voter"].contains(role));
                votes.count() == servers
            })?;
        }
        Ok(cluster)
    }

    /// Starts a server, or starts it again: who joined already needs neither `--join` nor a token,
    /// and does not mind them.
    pub(super) fn start_server(&mut self, number: usize) -> Done {
        let name = server_name(number);
        let data = self.folder.join(&name).display().to_string();
        let listen = address(number);
        let gateway = format!("--gateway=127.0.0.1:{}", gateway_port(number));
        let mut args = vec!["server", "--data-dir", &data, "--listen", &listen];
        args.push(&gateway);
        args.extend(["--pod-cidr", network::PODS]);
        if self.servers > 1 {
            args.extend(["--name", &name]);
        }
        let (founder, token);
        if number > 0 {
            founder = format!("https://{}", address(0));
            token = self.token("server.token")?;
            args.extend(["--join", &founder, "--token", token.trim()]);
        }
        self.spawn(&name, &args)
    }

    /// Ends a server at once, by SIGKILL.
    pub(super) fn kill_server(&mut self, number: usize) {
        let name = server_name(number);
        say(&format!("$ kill -9 <{name}>"));
        if let Some(server) = self.processes.remove(&name) {
            end(server);
        }
    }

    /// Everybody's data and logs.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many servers there are.
    pub(super) const fn servers(&self) -> usize {
        self.servers
    }

    /// The server whose kubeconfig the person uses.
    pub(super) const fn asked(&self) -> usize {
        self.asked
    }

    /// The port of a gateway that outlives what the demo breaks: that of the server in use.
    pub(super) fn gateway(&self) -> u16 {
        gateway_port(self.asked)
    }

    /// Waits until the gateway answers requests for a path with success.
    pub(super) fn until_served(&mut self, port: u16, path: &str) -> Done {
        let began = Instant::now();
        while let Err(failure) = request::get(port, path) {
            self.all_alive()?;
            if began.elapsed() > PATIENCE {
                return Err(failure);
            }
            shell::pause(PAUSE);
        }
        Ok(())
    }

    /// From now on the person uses this server's kubeconfig.
    pub(super) const fn ask(&mut self, number: usize) {
        self.asked = number;
    }

    /// The kubeconfig that a server wrote: it names that server.
    pub(super) fn kubeconfig(&self, number: usize) -> PathBuf {
        self.folder
            .join(server_name(number))
            .join("admin.kubeconfig")
    }

    fn token(&self, name: &str) -> Done<String> {
        let path = self.folder.join(server_name(0)).join(name);
        fs::read_to_string(&path).map_err(|source| file(&path, source))
    }

    /// Starts the agent of a node, which knows all servers and joins by the first one's token.
    pub(super) fn start_agent(&mut self, node: &str) -> Done {
        let token = self.token("agent.token")?;
        let servers = (0..self.servers).map(|number| format!("https://{}", address(number)));
        let server = servers.collect::<Vec<_>>().join(",");
        let data = self.folder.join(node).display().to_string();
        let join = ["--server", &server, "--token", token.trim()];
        let own = ["--data-dir", &data, "--name", node];
        self.spawn(
            node,
            &[&["agent"], join.as_slice(), own.as_slice()].concat(),
        )
    }

    /// Runs a `skiff` command before the person's eyes.
    pub(super) fn show(&self, args: &[&str]) -> Done {
        run(&mut self.skiff(args))
    }

    /// What a `skiff` command prints.
    pub(super) fn read(&self, args: &[&str]) -> Done<String> {
        read(&mut self.skiff(args))
    }

    /// Runs a `kubectl` command before the person's eyes.
    pub(super) fn show_kubectl(&self, args: &[&str]) -> Done {
        let mut kubectl = command("kubectl", []);
        run(kubectl
            .args(args)
            .env("KUBECONFIG", self.kubeconfig(self.asked)))
    }

    /// Ids of the shop's running containers, sandboxes counted, sorted.
    pub(super) fn containers_of_shop(&self) -> Done<Vec<String>> {
        let mut found = ids(&["ps", "--quiet", "--no-trunc", "--filter", OF_SHOP])?;
        found.sort();
        Ok(found)
    }

    /// Waits until the table that a command prints shows a fact.
    pub(super) fn until(
        &mut self,
        fact: &str,
        args: &[&str],
        holds: impl Fn(&Table<'_>) -> bool,
    ) -> Done {
        let began = Instant::now();
        loop {
            let seen = read(&mut self.skiff(args));
            if seen.as_ref().is_ok_and(|text| holds(&Table::parse(text))) {
                return Ok(());
            }
            self.all_alive()?;
            if began.elapsed() > PATIENCE {
                let seen = seen.unwrap_or_else(|failure| failure.to_string());
                let after = PATIENCE.as_secs();
                return Err(Failure::Broken(format!(
                    "{fact}: not within {after} s:\n{seen}"
                )));
            }
            shell::pause(PAUSE);
        }
    }

    /// Kills the running container of the shop's service of that name.
    pub(super) fn kill_one_container(&self, service: &str) -> Done {
        let wanted = format!("label=io.skiff.container={service}");
        let found = ids(&["ps", "--quiet", "--filter", OF_SHOP, "--filter", &wanted])?;
        let first = found
            .first()
            .ok_or_else(|| Failure::Broken(format!("no {service} runs")))?;
        run(&mut command("docker", ["kill", first]))
    }

    /// Ends a node at once: its agent by SIGKILL, its containers by the Engine.
    pub(super) fn lose(&mut self, node: &str) -> Done {
        say(&format!(
            "$ kill -9 <agent {node}>; docker kill <its containers>"
        ));
        if let Some(agent) = self.processes.remove(node) {
            end(agent);
        }
        let label = label(node);
        let containers = ids(&["ps", "--quiet", "--filter", &label])?;
        read(Command::new("docker").arg("kill").args(containers)).map(drop)
    }

    /// Leaves everything running and says how to go on.
    pub(super) fn keep(self) {
        let kubeconfig = self.kubeconfig(self.asked);
        say(&format!(
            "\nThe cluster keeps running. Use it:\n  export KUBECONFIG={}\n  {} get pods -A -o wide\n  \
             kubectl get pods -A -o wide\nEnd it: cargo xtask demo --stop",
            kubeconfig.display(),
            self.skiff.display()
        ));
    }

    /// Ends every process and removes every container, network and file.
    pub(super) fn stop(mut self) -> Done {
        for (_, child) in std::mem::take(&mut self.processes) {
            end(child);
        }
        clean(&self.folder)
    }

    fn skiff(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.skiff);
        command.args(args).current_dir(shell::root());
        command.env("KUBECONFIG", self.kubeconfig(self.asked));
        command
    }

    fn spawn(&mut self, name: &str, args: &[&str]) -> Done {
        let path = self.folder.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(|source| file(&path, source))?;
        let errors = log.try_clone().map_err(|source| file(&path, source))?;
        let mut command = Command::new(&self.skiff);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        let shown = format!("skiff {}", args.first().copied().unwrap_or_default());
        let child = command.spawn().map_err(|source| Failure::Start {
            command: shown,
            source,
        })?;
        let pid = self.folder.join(format!("{name}.pid"));
        fs::write(&pid, child.id().to_string()).map_err(|source| file(&pid, source))?;
        self.processes.insert(name.to_owned(), child);
        Ok(())
    }

    /// A process that ended by itself ends the demo, with its last words.
    fn all_alive(&mut self) -> Done {
        for (name, child) in &mut self.processes {
            if let Ok(Some(status)) = child.try_wait() {
                let log = self.folder.join(format!("{name}.log"));
                let said = fs::read_to_string(log).unwrap_or_default();
                let command = format!("skiff ({name})");
                return Err(Failure::Exit {
                    command,
                    status,
                    said,
                });
            }
        }
        Ok(())
    }
}

/// Ends a demo that was left running, if there is one.
///
/// # Errors
/// The Engine refuses to remove something.
pub(super) fn stop_what_was_left() -> Done {
    let folder = folder();
    let entries = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let pids = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pid"));
    for path in pids {
        let pid = fs::read_to_string(&path).map_err(|source| file(&path, source))?;
        // The id may be another process's by now: ours names the demo's folder.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy()) {
            // The shell's own: a small Debian has no program of this name.
            run(&mut command("sh", ["-c", "kill -KILL \"$0\"", &pid]))?;
        }
    }
    clean(&folder)
}

fn clean(folder: &Path) -> Done {
    for node in NODES {
        let label = label(node);
        remove_all(
            &["ps", "--all", "--quiet", "--filter", &label],
            &["rm", "--force", "--volumes"],
        )?;
        remove_all(
            &["network", "ls", "--quiet", "--filter", &label],
            &["network", "rm"],
        )?;
    }
    network::forget(&NODES)?;
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|source| file(folder, source))?;
    }
    Ok(())
}

/// Removes what a listing command of Docker finds until it finds nothing: the Engine refuses what
/// it is about to remove already, and networks whose last container is not quite gone.
fn remove_all(list: &[&str], remove: &[&str]) -> Done {
    let began = Instant::now();
    loop {
        let found = ids(list)?;
        if found.is_empty() {
            return Ok(());
        }
        let removed = read(Command::new("docker").args(remove).args(found));
        if removed.is_err() && began.elapsed() > PATIENCE {
            return removed.map(drop);
        }
        shell::pause(PAUSE);
    }
}

/// What a listing command of Docker finds.
fn ids(list: &[&str]) -> Done<Vec<String>> {
    let found = read(Command::new("docker").args(list))?;
    Ok(found.lines().map(str::to_owned).collect())
}

/// A server's name, which is also that of its folder.
pub(super) fn server_name(number: usize) -> String {
    match number {
        0 => "server".to_owned(),
        joined => format!("server-{}", joined + 1),
    }
}

fn address(number: usize) -> String {
    format!("127.0.0.1:{}", usize::from(PORT) + number)
}

fn gateway_port(number: usize) -> u16 {
    GATEWAY_PORT.saturating_add(u16::try_from(number).unwrap_or_default())
}

fn label(node: &str) -> String {
    format!("label=io.skiff.node={node}")
}

/// Where the demo keeps data, logs and process ids.
fn folder() -> PathBuf {
    shell::target_dir().join("demo")
}

fn end(mut child: Child) {
    // Both fail only for a process that has ended by itself, which is what is wanted.
    child.kill().unwrap_or_default();
    drop(child.wait());
}

fn file(path: &Path, source: std::io::Error) -> Failure {
    Failure::File {
        path: path.to_owned(),
        source,
    }
}
