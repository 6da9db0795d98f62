//! Services over several hosts, by real packets: who reaches them from where, whose address is seen,
//! which endpoint answers, and what becomes of clients when endpoints come and go.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use skiff_tests::api::{Api, Call};
use skiff_tests::cluster::{PODS_MAX, condition, items, text};
use skiff_tests::given::{self, FOREVER};
use skiff_tests::hosts::Hosts;
use skiff_tests::netns::{UdpClient, serve_udp};
use skiff_tests::process::Process;
use skiff_tests::skiff::run;
use skiff_tests::wait;
use skiff_tests::world::{
    Answer, Asker, BIG, EVERYWHERE, OTHER_PORT, PORT, PORT_NAME, Pod, World, plain,
};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";

/// A word of the servers, and some packets.
const SOON: Duration = Duration::from_secs(20);

/// A refusal comes at once: before a first packet that was lost would be sent again. In seconds.
const REFUSED_MAX: &str = "1";

/// The nodes, and the host beside them that is no node.
const NODES: usize = 3;
const OUTSIDE: usize = 3;

/// Questions after which each of three endpoints was asked, but for one time in a hundred thousand.
const QUESTIONS: usize = 30;

/// Serves a page on which it says that it is here.
const SERVES: &str = "mkdir /www; echo here > /www/index.html; exec httpd -f -p 8080 -h /www";

/// How many seconds a slow pod takes to end, and how long it is watched meanwhile.
const SLOW: u32 = 4;
const SLOW_WATCHED: Duration = Duration::from_secs(3);

/// A port of the pods that serve UDP, and of the host that a pod asks for.
const UDP_PORT: u16 = 5300;
const HOST_PORT: u16 = 18080;

#[test]
fn services_over_routes() {
    let town = Town::new(Hosts::new(4), &["--network", "direct"]);
    town.everybody_reaches_a_cluster_address();
    town.a_pod_reaches_itself();
    town.node_ports_lead_in_from_outside();
    town.packets_of_full_size_come_through();
    town.local_policies_stay_on_the_node();
    town.a_client_is_sent_where_it_was_sent_before();
    town.names_lead_to_services();
    town.pods_reach_the_servers();
    town.each_port_of_a_service_leads_somewhere();
    town.without_endpoints_it_is_refused();
    town.endpoints_by_hand_are_followed();
    town.a_port_of_a_host_has_one_owner();
    town.who_is_not_ready_is_asked_nothing();
    town.the_last_endpoint_serves_until_it_ends();
    town.a_udp_client_is_led_to_the_endpoint_that_is_left();
}

#[test]
fn services_over_vxlan() {
    let town = Town::new(Hosts::with_far(4, 2), &["--network", "vxlan"]);
    town.everybody_reaches_a_cluster_address();
    town.a_pod_reaches_itself();
    town.node_ports_lead_in_from_outside();
    town.packets_of_full_size_come_through();
    town.local_policies_stay_on_the_node();
    town.a_udp_client_is_led_to_the_endpoint_that_is_left();
}

struct Town {
    world: World,
    pods: Vec<Pod>,
    api: Api,
}

impl Town {
    fn new(hosts: Hosts, flags: &[&str]) -> Self {
        let world = World::new(hosts, NODES, flags);
        let api = world.cluster.api();
        let (all, one) = (json!({EVERYWHERE.0: EVERYWHERE.1}), json!({"app": "p1"}));
        let affinity = json!({"sessionAffinity": "ClientIP"});
        let external = json!({"type": "NodePort", "externalTrafficPolicy": "Local"});
        let internal = json!({"internalTrafficPolicy": "Local"});
        for (name, selector, more) in [
            ("all", &all, json!({})),
            ("one", &one, json!({"type": "NodePort"})),
            ("one-kept", &one, external),
            ("one-near", &one, internal.clone()),
            ("all-near", &all, internal),
            ("all-sticky", &all, affinity),
            ("all-named", &all, json!({"clusterIP": "None"})),
            (
                "nobody",
                &json!({"app": "nobody"}),
                json!({"type": "NodePort"}),
            ),
        ] {
            api.create(SERVICES, &service(name, Some(selector), more));
        }
        let pods = world.pods();
        Self { world, pods, api }
    }

    fn service(&self, name: &str) -> Value {
        self.api.get(&format!("{SERVICES}/{name}"))
    }

    fn address(&self, name: &str) -> String {
        text(&self.service(name)["spec"]["clusterIP"])
    }

    /// The address of a script of the echo pods behind a service's own address.
    fn url(&self, service: &str, script: &str) -> String {
        url(&self.address(service), 80, script)
    }

    /// The same behind a service's port on a node.
    fn url_on(&self, node: usize, service: &str, script: &str) -> String {
        let port = &self.service(service)["spec"]["ports"][0]["nodePort"];
        let port = port.as_u64().and_then(|port| u16::try_from(port).ok());
        let port = port.expect("a service with a node port");
        url(&self.world.hosts().address(node), port, script)
    }

    /// Everybody in the cluster: the pods, and a program on each node.
    fn everybody(&self) -> impl Iterator<Item = Asker<'_>> {
        let pods = self.pods.iter().map(Asker::Pod);
        pods.chain((0..NODES).map(Asker::Host))
    }

    fn until(&self, fact: &str, asker: Asker<'_>, url: &str, expected: &Answer) {
        wait::until(&format!("{fact}: {url}"), SOON, || {
            self.world.curl(asker, url).expect(expected)
        });
    }

    /// The names of the pods that answer many questions.
    fn who_answers(&self, asker: Asker<'_>, url: &str) -> Result<BTreeSet<String>, String> {
        // The part in brackets makes it so many requests, each over a connection of its own.
        let said = self
            .world
            .curl(asker, &format!("{url}?[1-{QUESTIONS}]"))
            .said()?;
        let names: Vec<String> = said.lines().map(str::to_owned).collect();
        if names.len() == QUESTIONS {
            Ok(names.into_iter().collect())
        } else {
            Err(said)
        }
    }

    fn everybody_reaches_a_cluster_address(&self) {
        let all: BTreeSet<String> = self.pods.iter().map(|pod| pod.name.clone()).collect();
        let name = self.url("all", "name");
        for asker in self.everybody() {
            wait::until("every endpoint answers", SOON, || {
                let seen = self.who_answers(asker, &name)?;
                if seen == all {
                    Ok(())
                } else {
                    Err(format!("{seen:?}"))
                }
            });
        }
        let who = self.url("one", "who");
        for pod in &self.pods {
            let seen = self.world.curl(Asker::Pod(pod), &who).said();
            let seen = seen.map(|seen| plain(&seen));
            // Only to itself no pod may come as itself: it would answer past the service.
            if pod.name != "p1" {
                assert_eq!(seen.as_ref(), Ok(&pod.address), "a pod comes as itself");
            }
        }
    }

    fn packets_of_full_size_come_through(&self) {
        let inside = format!("http://{}/big", self.address("one"));
        let port = &self.service("one")["spec"]["ports"][0]["nodePort"];
        let hosts = self.world.hosts();
        let from_outside = (0..NODES).map(|node| {
            let url = format!("http://{}:{port}/big", hosts.address(node));
            (Asker::Host(OUTSIDE), url)
        });
        let from_inside = self.everybody().map(|asker| (asker, inside.clone()));
        for (asker, url) in from_inside.chain(from_outside) {
            let size = ["--output", "/dev/null", "--write-out", "%{size_download}"];
            let seen = self.world.curl_with(asker, &[&size[..], &[&url]].concat());
            assert_eq!(seen, Answer::Said(BIG.to_string()), "{url}");
        }
    }

    fn a_pod_reaches_itself(&self) {
        let name = self.url("one", "name");
        let said = Answer::Said("p1".to_owned());
        self.until("a pod is its own", Asker::Pod(&self.pods[1]), &name, &said);
    }

    fn node_ports_lead_in_from_outside(&self) {
        let outside = Asker::Host(OUTSIDE);
        for node in 0..NODES {
            let name = self.url_on(node, "one", "name");
            let said = Answer::Said("p1".to_owned());
            self.until("from outside by any node", outside, &name, &said);
        }
        let client = self.world.hosts().address(OUTSIDE);
        let who = self.url_on(1, "one-kept", "who");
        wait::until("the client's address is seen", SOON, || {
            let seen = plain(&self.world.curl(outside, &who).said()?);
            if seen == client { Ok(()) } else { Err(seen) }
        });
        for node in [0, 2] {
            let name = self.url_on(node, "one-kept", "name");
            let seen = self.world.curl(outside, &name);
            assert_eq!(seen, Answer::Silence, "another node may serve");
            // The policy is about clients outside the cluster.
            let said = Answer::Said("p1".to_owned());
            for asker in [Asker::Host(node), Asker::Pod(&self.pods[node])] {
                self.until("from inside by any node", asker, &name, &said);
            }
        }
    }

    fn local_policies_stay_on_the_node(&self) {
        let name = self.url("all-near", "name");
        for (number, pod) in self.pods.iter().enumerate() {
            for asker in [Asker::Pod(pod), Asker::Host(number)] {
                wait::until("the near endpoint answers", SOON, || {
                    self.world.curl(asker, &name).said().map(drop)
                });
                let seen = self.who_answers(asker, &name);
                assert_eq!(seen, Ok(BTreeSet::from([pod.name.clone()])));
            }
        }
        let name = self.url("one-near", "name");
        let said = Answer::Said("p1".to_owned());
        self.until("here", Asker::Host(1), &name, &said);
        let far = self.world.curl(Asker::Pod(&self.pods[0]), &name);
        assert_eq!(far, Answer::Silence, "an endpoint elsewhere");
    }

    fn a_client_is_sent_where_it_was_sent_before(&self) {
        let name = self.url("all-sticky", "name");
        for pod in &self.pods {
            let asker = Asker::Pod(pod);
            wait::until("some endpoint answers", SOON, || {
                self.world.curl(asker, &name).said().map(drop)
            });
            let seen = self.who_answers(asker, &name);
            assert_eq!(seen.as_ref().map(BTreeSet::len), Ok(1), "{seen:?}");
        }
        // The endpoint is one no more, though its pod lives.
        let asker = Asker::Pod(&self.pods[0]);
        let first = self.world.curl(asker, &name).said();
        let first = first.expect("some endpoint answers");
        self.label(&first, &json!("gone"));
        wait::until("another endpoint answers", SOON, || {
            let seen = self.who_answers(asker, &name)?;
            if seen.len() == 1 && !seen.contains(&first) {
                Ok(())
            } else {
                Err(format!("{seen:?}"))
            }
        });
        self.label(&first, &json!(EVERYWHERE.1));
    }

    /// Lets services choose a pod, or not.
    fn label(&self, pod: &str, value: &Value) {
        let patch = json!({"metadata": {"labels": {EVERYWHERE.0: value}}});
        let said = self
            .api
            .send(&Call::merge(&format!("{PODS}/{pod}"), &patch));
        assert_eq!(said.status, 200, "{}", said.text());
    }

    fn names_lead_to_services(&self) {
        let far = "all.default.svc.cluster.local";
        let mut alias = service("alias", None, json!({"type": "ExternalName"}));
        alias["spec"]["externalName"] = json!(far);
        self.api.create(SERVICES, &alias);
        let pod = &self.pods[0];
        let dig = |name: &str| {
            let said = run(pod.command("dig").args(["+search", "+short", name]));
            said.out.lines().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let all: BTreeSet<String> = self.pods.iter().map(|pod| pod.address.clone()).collect();
        let alias = BTreeSet::from([format!("{far}."), self.address("all")]);
        for (name, expected) in [("all-named", &all), ("alias", &alias)] {
            wait::until(&format!("{name} is known"), SOON, || {
                let seen = dig(name);
                if seen == *expected {
                    Ok(())
                } else {
                    Err(format!("{seen:?}"))
                }
            });
        }
        for (host, port) in [("all", 80), ("all-named", PORT), ("alias", 80)] {
            let seen = self.world.curl(Asker::Pod(pod), &url(host, port, "name"));
            let seen = seen.said();
            assert!(
                seen.as_ref().is_ok_and(|seen| seen.starts_with('p')),
                "{host}: {seen:?}"
            );
        }
    }

    fn pods_reach_the_servers(&self) {
        for pod in &self.pods {
            // Who asks without a name is told so, by a server and nobody else.
            let args = [
                "--no-fail",
                "--insecure",
                "https://kubernetes.default.svc/api/v1/pods",
            ];
            let seen = self.world.curl_with(Asker::Pod(pod), &args).said();
            assert!(
                seen.as_ref()
                    .is_ok_and(|seen| seen.contains("Unauthorized") || seen.contains("Forbidden")),
                "{seen:?}"
            );
        }
    }

    fn each_port_of_a_service_leads_somewhere(&self) {
        let ports = json!([
            {"name": "first", "port": 80, "targetPort": PORT_NAME},
            {"name": "second", "port": 81, "targetPort": OTHER_PORT},
        ]);
        let selector = json!({"app": "p2"});
        let created = service("many", Some(&selector), json!({"ports": ports}));
        self.api.create(SERVICES, &created);
        let said = Answer::Said("p2".to_owned());
        for port in [80, 81] {
            let name = url(&self.address("many"), port, "name");
            for asker in self.everybody() {
                self.until("a port", asker, &name, &said);
            }
        }
        let other = url(&self.address("many"), 82, "name");
        let seen = self.world.curl(Asker::Pod(&self.pods[0]), &other);
        assert_eq!(seen, Answer::Refused, "a port that it does not have");
    }

    fn without_endpoints_it_is_refused(&self) {
        let inside = self.url("nobody", "name");
        let node_port = self.url_on(0, "nobody", "name");
        let askers = self.everybody().map(|asker| (asker, &inside));
        for (asker, url) in askers.chain([(Asker::Host(OUTSIDE), &node_port)]) {
            let seen = self
                .world
                .curl_with(asker, &["--max-time", REFUSED_MAX, url]);
            assert_eq!(seen, Answer::Refused, "{url}");
        }
    }

    fn endpoints_by_hand_are_followed(&self) {
        let created = service("by-hand", None, json!({}));
        self.api.create(SERVICES, &created);
        let url = format!("http://{}/", self.address("by-hand"));
        let outside = self.world.hosts().address(OUTSIDE);
        let places = [("first", PORT), ("second", OTHER_PORT)];
        let _serving = places.map(|(text, port)| {
            let folder = self.world.cluster.folder().join(text);
            std::fs::create_dir(&folder).expect("a folder");
            std::fs::write(folder.join("index.html"), text).expect("a page");
            let mut httpd: Command = self.world.hosts().command(OUTSIDE, Path::new("busybox"));
            httpd.args(["httpd", "-f", "-p", &port.to_string(), "-h"]);
            Process::start(text, httpd.arg(&folder), self.world.cluster.folder())
        });
        let mut made = false;
        for (text, port) in places {
            let endpoints = json!({"metadata": {"name": "by-hand"}, "subsets": [
                {"addresses": [{"ip": outside}], "ports": [{"port": port}]}]});
            let call = match std::mem::replace(&mut made, true) {
                false => Call::post(ENDPOINTS, &endpoints),
                true => Call::put(&format!("{ENDPOINTS}/by-hand"), &endpoints),
            };
            let answer = self.api.send(&call);
            assert!(answer.status < 300, "{}", answer.text());
            let said = Answer::Said(text.to_owned());
            for asker in self.everybody() {
                self.until("the endpoint by hand answers", asker, &url, &said);
            }
        }
        let gone = self
            .api
            .send(&Call::delete(&format!("{ENDPOINTS}/by-hand")));
        assert_eq!(gone.status, 200, "{}", gone.text());
        let pod = Asker::Pod(&self.pods[0]);
        self.until("nobody is left", pod, &url, &Answer::Refused);
    }

    fn a_port_of_a_host_has_one_owner(&self) {
        let pod = |name: &str| {
            let script = format!("echo {name} > /index.html; exec httpd -f -p {PORT} -h /");
            let mut pod = given::pod(name, &script);
            pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "n0"});
            let port = json!({"containerPort": PORT, "hostPort": HOST_PORT});
            pod["spec"]["containers"][0]["ports"] = json!([port]);
            pod
        };
        let node = self.world.hosts().address(0);
        let url = format!("http://{node}:{HOST_PORT}/");
        let outside = Asker::Host(OUTSIDE);
        self.api.create(PODS, &pod("owner"));
        self.world.cluster.wait_for_pods("default", "app=owner", 1);
        let said = Answer::Said("owner".to_owned());
        self.until("by the host's port", outside, &url, &said);

        self.api.create(PODS, &pod("heir"));
        wait::until("there is no place for another one", SOON, || {
            let heir = self.api.get(&format!("{PODS}/heir"));
            let scheduled = condition(&heir, "PodScheduled");
            if scheduled == "False" {
                Ok(())
            } else {
                Err(heir["status"].to_string())
            }
        });
        let heir = self.api.get(&format!("{PODS}/heir"));
        let why = "didn't have free ports for the requested pod ports";
        assert!(heir["status"].to_string().contains(why), "{heir}");
        wait::until("an Event says why", SOON, || {
            let events = self.api.get("/api/v1/namespaces/default/events");
            let mut about = items(&events).filter(|event| {
                event["involvedObject"]["name"] == "heir" && event["reason"] == "FailedScheduling"
            });
            let told = about.any(|event| text(&event["message"]).contains(why));
            told.then_some(()).ok_or_else(|| events.to_string())
        });

        let gone = self.api.send(&Call::delete(&format!("{PODS}/owner")));
        assert_eq!(gone.status, 200, "{}", gone.text());
        self.world.cluster.wait_for_pods("default", "app=heir", 1);
        let said = Answer::Said("heir".to_owned());
        self.until("the port has a new owner", outside, &url, &said);
    }

    fn who_is_not_ready_is_asked_nothing(&self) {
        let mut pod = given::pod("shy", SERVES);
        let probe = json!({"exec": {"command": ["/bin/cat", "/ready"]}, "periodSeconds": 1});
        pod["spec"]["containers"][0]["readinessProbe"] = probe;
        let selector = json!({"app": "shy"});
        let publish = json!({"publishNotReadyAddresses": true});
        for (name, more) in [("shy", json!({})), ("shy-published", publish)] {
            self.api
                .create(SERVICES, &service(name, Some(&selector), more));
        }
        self.world.create_pod("default", 1, pod);
        let url = |service: &str| format!("http://{}/", self.address(service));
        let asker = Asker::Pod(&self.pods[0]);
        let (said, refused) = (Answer::Said("here".to_owned()), Answer::Refused);
        self.until("published anyway", asker, &url("shy-published"), &said);
        self.until("not ready", asker, &url("shy"), &refused);
        let node = self.world.engine(1);
        let inside = |script: &str| {
            let found = self.world.cluster.pods("default", "app=shy");
            let pod = Pod::of(&self.world.cluster, &found[0], node.clone());
            pod.shell(script).expect("a shell in the pod");
        };
        inside("echo > /ready");
        self.until("ready", asker, &url("shy"), &said);
        inside("rm /ready");
        self.until("not ready any more", asker, &url("shy"), &refused);
        self.until("published still", asker, &url("shy-published"), &said);
    }

    fn the_last_endpoint_serves_until_it_ends(&self) {
        let slow = format!("trap 'sleep {SLOW}; exit 0' TERM; ({SERVES}) & wait");
        let mut pod = given::pod("slow", &slow);
        pod["spec"]["terminationGracePeriodSeconds"] = json!(30);
        self.world.create_pod("default", 1, pod);
        let selector = json!({"app": "slow"});
        let created = service("slow", Some(&selector), json!({}));
        self.api.create(SERVICES, &created);
        let url = format!("http://{}/", self.address("slow"));
        let said = Answer::Said("here".to_owned());
        let asker = Asker::Pod(&self.pods[0]);
        self.until("it serves", asker, &url, &said);
        let gone = self.api.send(&Call::delete(&format!("{PODS}/slow")));
        assert_eq!(gone.status, 200, "{}", gone.text());
        // Where nobody else serves, who is leaving is better than nobody.
        wait::throughout("the last one serves", SLOW_WATCHED, || {
            self.world.curl(asker, &url).expect(&said)
        });
        self.until("it has ended", asker, &url, &Answer::Refused);
    }

    fn a_udp_client_is_led_to_the_endpoint_that_is_left(&self) {
        let ports = json!([{"port": 53, "targetPort": UDP_PORT, "protocol": "UDP"}]);
        let selector = json!({"set": "udp"});
        let created = service(
            "udp",
            Some(&selector),
            json!({"type": "NodePort", "ports": ports}),
        );
        self.api.create(SERVICES, &created);
        let server = udp_address(&self.address("udp"), &json!(53));
        let client = UdpClient::new(&self.pods[0].namespace(), server);
        assert!(client.ask().is_err(), "nobody serves yet");
        for (name, node) in [("u1", 1), ("u2", 2)] {
            let mut pod = given::pod(name, FOREVER);
            pod["metadata"]["labels"]["set"] = json!("udp");
            self.world.create_pod("default", node, pod);
        }
        for name in ["u1", "u2"] {
            let pod = self.world.pod("default", name);
            serve_udp(&pod.namespace(), UDP_PORT, name.to_owned());
        }
        let first = wait::until("some endpoint answers", SOON, || client.ask());
        let port = &self.service("udp")["spec"]["ports"][0]["nodePort"];
        let from_outside = udp_address(&self.world.hosts().address(0), port);
        let namespace = self.world.hosts().namespace_file(OUTSIDE);
        let outside = wait::until("the same endpoint answers outside", SOON, || {
            let client = UdpClient::new(&namespace, from_outside);
            let seen = client.ask()?;
            if seen == first { Ok(client) } else { Err(seen) }
        });
        // They never pause for as long as the kernel remembers, so nothing is forgotten by itself.
        let gone = self.api.send(&Call::delete(&format!("{PODS}/{first}")));
        assert_eq!(gone.status, 200, "{}", gone.text());
        wait::until("the other endpoint answers both", SOON, || {
            [&client, &outside].into_iter().try_for_each(|client| {
                let seen = client.ask()?;
                if seen == first { Err(seen) } else { Ok(()) }
            })
        });
        let other = if first == "u1" { "u2" } else { "u1" };
        let fresh = UdpClient::new(&self.pods[0].namespace(), server);
        wait::until("new clients find it as well", PODS_MAX, || {
            let seen = fresh.ask()?;
            if seen == other { Ok(()) } else { Err(seen) }
        });
    }
}

fn udp_address(host: &str, port: &Value) -> SocketAddr {
    format!("{host}:{port}").parse().expect("an address")
}

fn url(host: &str, port: u16, script: &str) -> String {
    format!("http://{host}:{port}/cgi-bin/{script}")
}

fn service(name: &str, selector: Option<&Value>, more: Value) -> Value {
    let mut spec = json!({"ports": [{"name": "http", "port": 80, "targetPort": PORT}]});
    if let Some(selector) = selector {
        spec["selector"] = selector.clone();
    }
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    // A port by hand has no name, and neither may its service's.
    if selector.is_none() {
        spec["ports"] = json!([{"port": 80}]);
    }
    json!({"metadata": {"name": name}, "spec": spec})
}
