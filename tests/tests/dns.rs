//! Names, as pods ask for them: the node's resolver, what it says of services, what it asks others,
//! and that it goes on when the agent dies.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skiff_tests::api::Call;
use skiff_tests::cluster::{Cluster, PODS_MAX, UP_MAX, text};
use skiff_tests::given::{self, FOREVER};
use skiff_tests::skiff::run;
use skiff_tests::wait;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

/// Where the upstream server of these tests answers, and where nobody does.
const UPSTREAM: Ipv4Addr = Ipv4Addr::new(127, 53, 7, 1);
const NOBODY: Ipv4Addr = Ipv4Addr::new(127, 53, 7, 2);

/// What upstream says of every name.
const OUTSIDE: [u8; 4] = [192, 0, 2, 80];

/// How late a client hears of a change: the watch, and nothing is kept by `dig`.
const SEEN_MAX: Duration = Duration::from_secs(15);

#[test]
fn pods_find_services_each_other_and_the_world() {
    let town = Town::new();
    town.create_services();
    let pod = town
        .cluster
        .wait_for_pods("default", "app=web", 1)
        .remove(0);
    let ip = text(&pod["status"]["podIP"]);
    let cart = town.address_of("cart");
    let dashed = ip.replace('.', "-");
    let name = |below: &str| format!("{below}.default.svc.cluster.local");
    town.until(&format!("{} A", name("head")), &ip);
    let web = format!("0 100 8080 {}.", name("web-0.head"));
    let reversed = |ip: &str| {
        let parts: Vec<&str> = ip.rsplit('.').collect();
        format!("{}.in-addr.arpa PTR", parts.join("."))
    };
    for (question, expected) in [
        (format!("{} A", name("cart")), &*cart),
        (format!("{} AAAA", name("cart")), ""),
        (format!("{} A", name("web-0.head")), &ip),
        (format!("{} A", name(&format!("{dashed}.head"))), &ip),
        (format!("{} SRV", name("_web._tcp.head")), &web),
        (reversed(&cart), &format!("{}.", name("cart"))),
        (format!("{dashed}.default.pod.cluster.local A"), &ip),
        (
            format!("{} A", name("far")),
            "elsewhere.example.\n192.0.2.80",
        ),
        ("somebody.example A".to_owned(), "192.0.2.80"),
        (format!("{} A", name("somebody.example")), ""),
    ] {
        assert_eq!(town.dig(&question), expected, "{question}");
    }
    let status = |question: &str| town.status(question);
    assert_eq!(status(&format!("{} A", name("absent"))), "NXDOMAIN");
    assert_eq!(status(&format!("{} AAAA", name("cart"))), "NOERROR");
    let by_tcp = format!("{} A +tcp", name("cart"));
    assert_eq!(town.dig(&by_tcp), cart, "by TCP");

    let container = town.cluster.containers_of(&pod).remove(0);
    let inside = |words: &[&str]| {
        let mut args = vec!["exec", &*container, "/bin/busybox"];
        args.extend(words);
        town.cluster.engine.docker(&args)
    };
    let file = inside(&["cat", "/etc/resolv.conf"]).ok();
    assert_eq!(
        file,
        format!(
            "search default.svc.cluster.local svc.cluster.local cluster.local corp.example\n\
             nameserver {}\noptions ndots:5\n",
            town.resolver
        )
    );
    for (name, address) in [
        ("cart", &*cart),
        ("cart.default", &cart),
        ("head", &ip),
        ("somebody.example", "192.0.2.80"),
    ] {
        // The search list is the resolver library's: `ping` asks it, and tells before it waits.
        let said = inside(&["ping", "-c", "1", "-W", "1", name]);
        assert!(said.out.contains(address), "{name}: {said:?}");
    }
    let env = inside(&["env"]).ok();
    for line in [
        format!("CART_SERVICE_HOST={cart}"),
        "CART_SERVICE_PORT_HTTP=80".to_owned(),
        format!("CART_PORT_80_TCP=tcp://{cart}:80"),
        "KUBERNETES_SERVICE_PORT=443".to_owned(),
    ] {
        assert!(env.lines().any(|found| found == line), "{line}: {env}");
    }
}

#[test]
fn names_outlive_the_agent_and_servers_upstream() {
    let mut town = Town::new();
    town.create_services();
    let cart = town.address_of("cart");
    let question = "cart.default.svc.cluster.local A";
    town.until(question, &cart);
    let before = town.pid();

    let agent = town.agent.clone();
    town.cluster.agent(&agent).kill();
    assert_eq!(town.dig(question), cart, "the agent is gone");
    town.cluster
        .api()
        .create(SERVICES, &service("late", json!({})));
    let late = town.address_of("late");
    town.add_agent();
    town.until("late.default.svc.cluster.local A", &late);
    assert_eq!(town.dig(question), cart);
    assert_eq!(town.pid(), before, "the new agent has adopted it");

    let gone = Call::delete(&format!("{SERVICES}/late"));
    let said = town.cluster.api().send(&gone);
    assert_eq!(said.status, 200, "{}", said.text());
    town.until("late.default.svc.cluster.local A", "");

    fs::write(&town.file, format!("nameserver {NOBODY}\n")).expect("change resolv.conf");
    wait::until("nobody is asked", SEEN_MAX, || {
        let began = Instant::now();
        let seen = town.status(&format!("n{}.example A", began.elapsed().subsec_nanos()));
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{:?}",
            began.elapsed()
        );
        if seen == "SERVFAIL" {
            Ok(())
        } else {
            Err(seen)
        }
    });
    assert_eq!(town.dig(question), cart, "and names of the cluster go on");
}

/// A cluster of one node whose upstream server is ours.
struct Town {
    cluster: Cluster,
    agent: String,
    resolver: String,
    file: PathBuf,
}

impl Town {
    fn new() -> Self {
        serve_upstream();
        let cluster = Cluster::server();
        cluster.engine.busybox_image(given::BUSYBOX);
        let file = cluster.folder().join("resolv.conf");
        let said = format!("search corp.example\nnameserver {UPSTREAM}\n");
        fs::write(&file, said).expect("write resolv.conf");
        let mut town = Self {
            agent: format!("{}-1", cluster.prefix),
            cluster,
            resolver: String::new(),
            file,
        };
        town.add_agent();
        town.cluster.wait_for_nodes(1);
        let node = format!("/api/v1/nodes/{}", town.agent);
        let range = wait::until("the node has a range", UP_MAX, || {
            let range = text(&town.cluster.api().get(&node)["spec"]["podCIDR"]);
            range.strip_suffix(".0/24").map(str::to_owned).ok_or(range)
        });
        town.resolver = format!("{range}.1");
        town
    }

    fn add_agent(&mut self) {
        let file = self.file.display().to_string();
        let agent = self.agent.clone();
        self.cluster
            .add_agent_with(&agent, &["--resolv-conf", &file]);
    }

    fn create_services(&self) {
        let api = self.cluster.api();
        api.create(SERVICES, &service("cart", json!({})));
        let head = json!({"clusterIP": "None", "ports": [{"name": "web", "port": 8080}]});
        api.create(SERVICES, &service("head", head));
        let far = json!({"type": "ExternalName", "externalName": "elsewhere.example",
            "selector": null, "ports": null});
        api.create(SERVICES, &service("far", far));
        let mut pod = given::pod("web", FOREVER);
        pod["spec"]["hostname"] = json!("web-0");
        pod["spec"]["subdomain"] = json!("head");
        api.create(PODS, &pod);
    }

    fn address_of(&self, service: &str) -> String {
        let found = self.cluster.api().get(&format!("{SERVICES}/{service}"));
        text(&found["spec"]["clusterIP"])
    }

    fn pid(&self) -> String {
        let path = self.cluster.folder().join(&self.agent).join("dns/pid");
        fs::read_to_string(path).expect("the resolver's pid")
    }

    fn ask(&self, question: &str, more: &[&str]) -> String {
        let mut dig = Command::new("dig");
        dig.arg(format!("@{}", self.resolver))
            .args(["+time=4", "+tries=1"]);
        let said = run(dig.args(question.split(' ')).args(more));
        said.out.trim().to_owned()
    }

    /// The data of an answer, a line for each record.
    fn dig(&self, question: &str) -> String {
        self.ask(question, &["+short"])
    }

    /// The code of an answer.
    fn status(&self, question: &str) -> String {
        let out = self.ask(question, &[]);
        let after = out.split("status: ").nth(1).unwrap_or_default();
        after.split(',').next().unwrap_or_default().to_owned()
    }

    fn until(&self, question: &str, expected: &str) {
        wait::until(&format!("{question} is {expected:?}"), PODS_MAX, || {
            let seen = self.dig(question);
            if seen == expected { Ok(()) } else { Err(seen) }
        });
    }
}

fn service(name: &str, more: Value) -> Value {
    let mut spec = json!({"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

/// Answers every question of this process's tests in the same way. A second one finds the first.
fn serve_upstream() {
    let Ok(socket) = UdpSocket::bind((UPSTREAM, 53)) else {
        return;
    };
    std::thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((count, from)) = socket.recv_from(&mut packet) {
            if let Some(answer) = answer(&packet[..count]) {
                socket.send_to(&answer, from).expect("answer");
            }
        }
    });
}

/// The question again, and one address; what else the packet had is left out.
fn answer(packet: &[u8]) -> Option<Vec<u8>> {
    let name = packet.get(12..)?.iter().position(|byte| *byte == 0)?;
    let question = packet.get(12..12 + name + 5)?;
    let mut answer = packet.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend(question);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend(OUTSIDE);
    Some(answer)
}
