//! Network policies over two hosts, by real packets: who still reaches whom after each of them came,
//! and that everything is as before when they went.

use std::time::Duration;

use serde_json::{Value, json};
use skiff_tests::api::{Api, Call};
use skiff_tests::cluster::text;
use skiff_tests::given::{self, FOREVER};
use skiff_tests::hosts::Hosts;
use skiff_tests::skiff::run;
use skiff_tests::wait;
use skiff_tests::world::{Answer, Asker, OTHER_PORT, PORT, Pod, World, echo};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";

/// A word of the servers, and packets that are waited for in vain.
const SOON: Duration = Duration::from_secs(30);

/// How long `curl` waits for packets that a policy drops, in seconds.
const DROPPED_MAX: &str = "1";

/// The nodes, and two hosts beside them.
const NODES: usize = 2;
const FRIEND: usize = 2;
const STRANGER: usize = 3;

/// A port of the second node that one of its pods has.
const HOST_PORT: u16 = 18080;

/// The service that lets hosts in with their own address.
const DOOR: &str = "door";

/// Whether packets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Open,
    Closed,
}
use Way::{Closed, Open};

/// Where somebody wants to go.
#[derive(Clone, Copy, Debug)]
enum To {
    /// A pod, at its first port.
    Pod(&'static str),
    /// A pod, at its other port.
    Other(&'static str),
    /// The pod `p1` by its service.
    Service,
    /// The same by the port of its node.
    Door,
    /// A pod that has a port of its host.
    HostPort,
}
use To::{Door, HostPort, Other, Service};

/// Somebody, where they want to go, and whether they get there.
type Row = (&'static str, To, Way);

struct Town {
    world: World,
    api: Api,
    /// `p0` and `p1` of the namespace `default`, `q0` and `q1` of another one, by node.
    pods: Vec<(&'static str, Pod)>,
}

#[test]
fn policies_say_who_reaches_whom() {
    let town = Town::new();
    let all_open = [
        ("p0", To::Pod("p1"), Open),
        ("p1", To::Pod("p0"), Open),
        ("q0", To::Pod("p0"), Open),
        ("q1", To::Pod("p0"), Open),
        ("p0", To::Pod("q0"), Open),
        ("p0", To::Pod("q1"), Open),
        ("p0", Other("p1"), Open),
        ("p0", Service, Open),
        ("friend", Door, Open),
        ("stranger", Door, Open),
        ("stranger", HostPort, Open),
    ];
    town.until("nothing is forbidden", &all_open);

    town.create(
        "nobody",
        json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
    );
    let nobody = [
        ("p0", To::Pod("p1"), Closed),
        ("p1", To::Pod("p0"), Closed),
        ("q0", To::Pod("p0"), Closed),
        ("q1", To::Pod("p0"), Closed),
        ("p0", Service, Closed),
        ("friend", Door, Closed),
        ("friend", HostPort, Closed),
        // It is about what comes in, in one namespace; and a node reaches its own pods.
        ("p0", To::Pod("q0"), Open),
        ("p0", To::Pod("q1"), Open),
        ("n0", To::Pod("p0"), Open),
    ];
    town.until("nobody gets in", &nobody);

    town.create(
        "by-pod",
        json!({"podSelector": {"matchLabels": {"app": "p1"}}, "ingress": [{
            "from": [{"podSelector": {"matchLabels": {"app": "p0"}}}],
            "ports": [{"port": PORT, "protocol": "TCP"}]}]}),
    );
    let by_pod = [
        ("p0", To::Pod("p1"), Open),
        ("p0", Service, Open),
        ("p0", Other("p1"), Closed),
        ("q0", To::Pod("p1"), Closed),
        ("q1", To::Pod("p1"), Closed),
        ("p1", To::Pod("p0"), Closed),
    ];
    town.until("one pod gets in at one port", &by_pod);

    let team = json!({"matchLabels": {"team": "other"}});
    town.create(
        "by-namespace",
        json!({"podSelector": {}, "ingress": [
            {"from": [{"namespaceSelector": team,
                "podSelector": {"matchLabels": {"app": "q1"}}}]}]}),
    );
    let by_namespace = [
        ("q1", To::Pod("p0"), Open),
        ("q1", To::Pod("p1"), Open),
        ("q1", Other("p1"), Open),
        ("q0", To::Pod("p0"), Closed),
        ("q0", To::Pod("p1"), Closed),
        ("p0", To::Pod("p1"), Open),
    ];
    town.until("one pod of a namespace gets in", &by_namespace);
    town.relabel_the_other_namespace("strangers");
    town.until(
        "the namespace is another one",
        &[("q1", To::Pod("p0"), Closed)],
    );

    let hosts = town.world.hosts();
    let range = hosts
        .address(STRANGER)
        .rsplit_once('.')
        .map(|(net, _)| format!("{net}.0/24"));
    let except = format!("{}/32", hosts.address(STRANGER));
    let block = json!({"cidr": range, "except": [except]});
    town.create(
        "by-address",
        json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]}),
    );
    let by_address = [
        ("friend", Door, Open),
        ("stranger", Door, Closed),
        ("friend", HostPort, Open),
        ("stranger", HostPort, Closed),
        ("q0", To::Pod("p0"), Closed),
    ];
    town.until("a range gets in, but not all of it", &by_address);
    for name in ["nobody", "by-pod", "by-namespace", "by-address"] {
        town.delete(name);
    }
    town.until("nothing is forbidden any more", &all_open);

    town.create(
        "stays",
        json!({"podSelector": {"matchLabels": {"app": "p0"}}, "policyTypes": ["Egress"]}),
    );
    let stays = [
        ("p0", To::Pod("p1"), Closed),
        ("p0", To::Pod("q0"), Closed),
        ("p0", Service, Closed),
        ("p1", To::Pod("p0"), Open),
        ("p1", To::Pod("q0"), Open),
    ];
    town.until("one pod goes nowhere", &stays);
    let named = run(town
        .pod("p0")
        .command("dig")
        .args(["+search", "+short", DOOR]));
    assert_eq!(named.out.trim(), town.door(), "but it is told names");
    town.create(
        "goes",
        json!({"podSelector": {"matchLabels": {"app": "p0"}}, "policyTypes": ["Egress"],
            "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "p1"}}}],
                "ports": [{"port": PORT}]}]}),
    );
    let goes = [
        ("p0", To::Pod("p1"), Open),
        ("p0", Service, Open),
        ("p0", Other("p1"), Closed),
        ("p0", To::Pod("q0"), Closed),
    ];
    town.until("one pod goes to one port of one pod", &goes);
    town.delete("stays");
    town.delete("goes");
    town.until("nothing is forbidden in the end", &all_open);
}

impl Town {
    fn new() -> Self {
        let world = World::new(Hosts::new(4), NODES, &[]);
        let api = world.cluster.api();
        let other = json!({"metadata": {"name": "other", "labels": {"team": "other"}}});
        api.create("/api/v1/namespaces", &other);
        for (node, name) in ["q0", "q1"].into_iter().enumerate() {
            let script = format!("echo {name} > /index.html; httpd -p {PORT} -h /; {FOREVER}");
            world.create_pod("other", node, given::pod(name, &script));
        }
        let mut pod = echo("h1");
        let port = json!({"containerPort": PORT, "hostPort": HOST_PORT});
        pod["spec"]["containers"][0]["ports"] = json!([port]);
        world.create_pod("default", 1, pod);
        let door = json!({"metadata": {"name": DOOR}, "spec": {"type": "NodePort",
            "selector": {"app": "p1"}, "externalTrafficPolicy": "Local",
            "ports": [{"port": 80, "targetPort": PORT}]}});
        api.create(SERVICES, &door);
        let pod = |namespace, name| (name, world.pod(namespace, name));
        let pods = vec![
            pod("default", "p0"),
            pod("default", "p1"),
            pod("default", "h1"),
            pod("other", "q0"),
            pod("other", "q1"),
        ];
        Self { world, api, pods }
    }

    fn create(&self, name: &str, spec: Value) {
        let policy = json!({"metadata": {"name": name}, "spec": spec});
        self.api.create(POLICIES, &policy);
    }

    fn delete(&self, name: &str) {
        let said = self.api.send(&Call::delete(&format!("{POLICIES}/{name}")));
        assert_eq!(said.status, 200, "{}", said.text());
    }

    fn relabel_the_other_namespace(&self, team: &str) {
        let patch = json!({"metadata": {"labels": {"team": team}}});
        let said = self
            .api
            .send(&Call::merge("/api/v1/namespaces/other", &patch));
        assert_eq!(said.status, 200, "{}", said.text());
    }

    fn pod(&self, name: &str) -> &Pod {
        let found = self.pods.iter().find(|(known, _)| *known == name);
        &found.expect("a pod of this town").1
    }

    fn asker(&self, name: &str) -> Asker<'_> {
        match name {
            "n0" => Asker::Host(0),
            "friend" => Asker::Host(FRIEND),
            "stranger" => Asker::Host(STRANGER),
            pod => Asker::Pod(self.pod(pod)),
        }
    }

    /// The service's own address.
    fn door(&self) -> String {
        let door = self.api.get(&format!("{SERVICES}/{DOOR}"));
        text(&door["spec"]["clusterIP"])
    }

    fn url(&self, to: To) -> String {
        let port =
            || self.api.get(&format!("{SERVICES}/{DOOR}"))["spec"]["ports"][0]["nodePort"].clone();
        match to {
            To::Pod(name) => format!("http://{}:{PORT}/", self.pod(name).address),
            Other(name) => format!("http://{}:{OTHER_PORT}/", self.pod(name).address),
            Service => format!("http://{}/", self.door()),
            HostPort => format!("http://{}:{HOST_PORT}/", self.world.hosts().address(1)),
            Door => format!("http://{}:{}/", self.world.hosts().address(1), port()),
        }
    }

    /// Waits until everybody gets where they may and nowhere else.
    fn until(&self, fact: &str, rows: &[Row]) {
        wait::until(fact, SOON, || {
            rows.iter().try_for_each(|row| self.look(row))
        });
    }

    fn look(&self, &(asker, to, expected): &Row) -> Result<(), String> {
        let url = self.url(to);
        // Not `--fail`: a server without a page was reached as well.
        let args = ["--connect-timeout", DROPPED_MAX, "--no-fail", &url];
        let seen = match self.world.curl_with(self.asker(asker), &args) {
            Answer::Said(_) => Open,
            Answer::Silence => Closed,
            other @ (Answer::Refused | Answer::Else(_)) => {
                return Err(format!("{asker} to {to:?}: {other:?}"));
            }
        };
        if seen == expected {
            Ok(())
        } else {
            Err(format!("{asker} to {to:?} is {seen:?}"))
        }
    }
}
