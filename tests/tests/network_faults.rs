//! What befalls a node's network: its packet rules are removed, its address becomes another one, its
//! agent dies, nobody upstream knows names. Services and their names go on, or are back within seconds.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use skiff_tests::cluster::text;
use skiff_tests::hosts::Hosts;
use skiff_tests::skiff::run;
use skiff_tests::wait;
use skiff_tests::world::{Answer, Asker, PORT, Pod, World};

const SERVICES: &str = "/api/v1/namespaces/default/services";

/// At the start: a word of the servers.
const SOON: Duration = Duration::from_secs(20);

/// Until rules that somebody removed are back: they are looked after all the time, those that let the
/// Engine forward every five seconds.
const REPAIRED_MAX: Duration = Duration::from_secs(10);

/// Until a node whose address has become another one is reached as before: its agent looks every three
/// seconds and believes what it sees twice.
const RENUMBERED_MAX: Duration = Duration::from_secs(30);

/// How long it is watched that everything goes on.
const WATCHED: Duration = Duration::from_secs(3);

/// Times that a name is asked for while nobody upstream answers, and how slow the slowest may be: far
/// below the seconds that are waited for upstream, on a machine whose processors are shared.
const QUESTIONS: usize = 20;
const NAMED_MAX_MS: u64 = 500;

const NODES: usize = 2;

struct Town {
    world: World,
    pods: Vec<Pod>,
    service: String,
    /// It holds the file that says who is upstream.
    folder: tempfile::TempDir,
}

#[test]
fn services_and_names_survive_what_befalls_a_node() {
    let mut town = Town::new();
    town.names_are_answered_while_nobody_is_upstream();
    town.a_table_that_is_gone_is_back_within_seconds();
    town.leave_to_be_forwarded_is_asked_for_again();
    town.rules_that_are_all_gone_are_back_within_seconds();
    town.a_node_that_gets_another_address_is_reached_again();
    town.without_an_agent_all_goes_on();
}

impl Town {
    fn new() -> Self {
        let hosts = Hosts::new(NODES);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("resolv.conf");
        // An address of their link that nobody has: what is sent there is lost.
        let net = hosts.address(0);
        let net = net.rsplit_once('.').map(|(net, _)| net.to_owned());
        let nobody = format!("nameserver {}.200\n", net.expect("an address"));
        fs::write(&file, nobody).expect("write resolv.conf");
        let flags = ["--resolv-conf", &file.display().to_string()];
        let world = World::new(hosts, NODES, &flags);
        let mut town = Self {
            pods: world.pods(),
            world,
            service: String::new(),
            folder,
        };
        town.service = town.create_service("far");
        wait::until("the service is reached", SOON, || town.all_is_well());
        town
    }

    fn resolv_conf(&self) -> String {
        self.folder.path().join("resolv.conf").display().to_string()
    }

    /// A service that leads to the last pod; its address.
    fn create_service(&self, name: &str) -> String {
        let service = json!({"metadata": {"name": name}, "spec": {"selector": {"app": "p1"},
            "ports": [{"port": 80, "targetPort": PORT}]}});
        let service = self.world.cluster.api().create(SERVICES, &service);
        text(&service["spec"]["clusterIP"])
    }

    fn all_is_well(&self) -> Result<(), String> {
        self.all_is_well_by("far")
    }

    /// Every pod and every host reaches the service, and is told its name.
    fn all_is_well_by(&self, name: &str) -> Result<(), String> {
        let url = format!("http://{}/cgi-bin/name", self.service);
        let pods = self.pods.iter().map(Asker::Pod);
        for asker in pods.chain((0..NODES).map(Asker::Host)) {
            let said = Answer::Said("p1".to_owned());
            self.world.curl(asker, &url).expect(&said)?;
        }
        self.pods.iter().try_for_each(|pod| {
            let seen = dig(pod, name)?.0;
            if seen == self.service {
                Ok(())
            } else {
                Err(seen)
            }
        })
    }

    fn names_are_answered_while_nobody_is_upstream(&self) {
        let pod = &self.pods[0];
        let asks = |number: usize| {
            let mut dig = pod.command("dig");
            dig.args(["+tries=1", "+time=5", &format!("n{number}.example")]);
            dig.stdout(Stdio::null()).spawn().expect("dig starts")
        };
        // All the time somebody waits for a name that only upstream could tell.
        let mut waiting: Vec<_> = (0..QUESTIONS).map(asks).collect();
        for _ in 0..QUESTIONS {
            let (seen, took) = dig(pod, "far").expect("an answer");
            assert_eq!(seen, self.service);
            assert!(took < NAMED_MAX_MS, "{took} ms");
        }
        for one in &mut waiting {
            one.kill().unwrap_or_default();
            one.wait().expect("wait for dig");
        }
    }

    /// The name of a node's table.
    fn table(&self, node: usize) -> Result<String, String> {
        let instance = self.world.cluster.instance();
        let name = instance.rsplit('=').next().unwrap_or_default();
        let tables = self.world.hosts().ask(node, "nft list tables ip");
        let names = tables
            .lines()
            .filter_map(|line| line.strip_prefix("table ip "));
        let mut ours = names.filter(|table| table.starts_with(name));
        ours.next().map(str::to_owned).ok_or(tables.clone())
    }

    fn a_table_that_is_gone_is_back_within_seconds(&self) {
        let table = self.table(0).expect("the node has a table");
        let delete = format!("nft delete table ip {table}");
        let _nothing = self.world.hosts().ask(0, &delete);
        wait::until("the table is back", REPAIRED_MAX, || self.table(0));
        wait::until("services are", REPAIRED_MAX, || self.all_is_well());
    }

    /// An Engine that is started again begins with chains of its own.
    fn leave_to_be_forwarded_is_asked_for_again(&self) {
        let _nothing = self.world.hosts().ask(1, "iptables -F DOCKER-USER");
        wait::until("the leave is there again", REPAIRED_MAX, || {
            let rules = self.world.hosts().ask(1, "iptables -S DOCKER-USER");
            let both = rules.matches("skiff-pods").count() == 2;
            both.then_some(()).ok_or(rules)
        });
        wait::until("services are", REPAIRED_MAX, || self.all_is_well());
    }

    fn rules_that_are_all_gone_are_back_within_seconds(&self) {
        for node in 0..NODES {
            let _nothing = self.world.hosts().ask(node, "nft flush ruleset");
        }
        wait::until("services are back", REPAIRED_MAX, || self.all_is_well());
    }

    fn a_node_that_gets_another_address_is_reached_again(&mut self) {
        let engine = self.world.engine(1);
        let running = || {
            let mut all = engine.containers(&[], false);
            all.sort();
            let began = |id: &String| engine.inspect(id, "{{.Id}} {{.State.StartedAt}}");
            all.iter().map(began).collect::<Vec<_>>()
        };
        let before = running();
        assert!(!before.is_empty());
        let new = self.world.hosts().renumber(1);
        let api = self.world.cluster.api();
        wait::until("the node has the new address", RENUMBERED_MAX, || {
            let node = api.get("/api/v1/nodes/n1");
            let address = &node["status"]["addresses"][0];
            let is_new = *address == json!({"type": "InternalIP", "address": new});
            is_new.then_some(()).ok_or(address.to_string())
        });
        wait::until("others lead there", RENUMBERED_MAX, || {
            let routes = self.world.hosts().ask(0, "ip route show proto 91");
            let leads = routes.contains(&format!("via {new} "));
            leads.then_some(()).ok_or(routes)
        });
        wait::until("its pods are reached", RENUMBERED_MAX, || {
            let url = format!("http://{}:{PORT}/cgi-bin/name", self.pods[1].address);
            let said = self.world.curl(Asker::Pod(&self.pods[0]), &url);
            said.expect(&Answer::Said("p1".to_owned()))
        });
        wait::until("services are", RENUMBERED_MAX, || self.all_is_well());
        wait::until("pods are said to be there", RENUMBERED_MAX, || {
            let status = &api.get("/api/v1/namespaces/default/pods/p1")["status"];
            assert_eq!(text(&status["podIP"]), self.pods[1].address);
            let is_new = status["hostIP"] == *new && status["hostIPs"][0]["ip"] == *new;
            is_new.then_some(()).ok_or(status.to_string())
        });
        assert_eq!(running(), before, "containers go on");
        assert!(self.world.cluster.agent("n1").runs(), "so does the agent");
    }

    fn without_an_agent_all_goes_on(&mut self) {
        for node in 0..NODES {
            self.world.cluster.agent(&format!("n{node}")).kill();
        }
        wait::throughout("services go on", WATCHED, || self.all_is_well());
        let late = self.create_service("late");
        for node in 0..NODES {
            let engine = self.world.engine(node);
            let flags = ["--resolv-conf", &self.resolv_conf()];
            let cluster = &mut self.world.cluster;
            cluster.add_agent_on(node, &format!("n{node}"), &engine, &flags);
        }
        self.service = late;
        wait::until("new agents follow what came meanwhile", SOON, || {
            self.all_is_well_by("late")
        });
    }
}

/// A service's address by its name, and how many milliseconds it took to tell.
fn dig(pod: &Pod, service: &str) -> Result<(String, u64), String> {
    let name = format!("{service}.default.svc.cluster.local");
    let mut dig = pod.command("dig");
    let said = run(dig.args(["+tries=1", "+time=2", &name, "A"])).result()?;
    let mut lines = said.lines();
    let answer = lines.find(|line| line.starts_with(&name));
    let address = answer.and_then(|line| line.split_whitespace().last());
    let took = said.split("Query time: ").nth(1);
    let took = took.and_then(|rest| rest.split(' ').next()?.parse().ok());
    match (address, took) {
        (Some(address), Some(took)) => Ok((address.to_owned(), took)),
        _ => Err(said),
    }
}
