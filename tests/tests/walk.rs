//! The whole path: manifests in, containers out, and the repairs that a user was promised.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skiff_tests::api::Call;
use skiff_tests::cluster::{Cluster, PODS_MAX, condition, items, summary, text};
use skiff_tests::given::{self, BUSYBOX, FOREVER, NO_IMAGE};
use skiff_tests::process::Process;
use skiff_tests::skiff::{binary, root};
use skiff_tests::wait;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";

#[test]
fn one_deployment_becomes_containers_on_every_node_and_is_gone_again() {
    let cluster = dev(3);
    let file = cluster.file(
        "web.json",
        &given::deployment("web", 3, FOREVER).to_string(),
    );
    let said = cluster.skiff(&format!("apply --wait -f {file}")).ok();
    assert!(said.contains("deployment.apps/web created"), "{said}");

    let pods = cluster.wait_for_pods("default", "app=web", 3);
    let nodes: BTreeSet<String> = pods
        .iter()
        .map(|pod| text(&pod["spec"]["nodeName"]))
        .collect();
    assert_eq!(nodes.len(), 3, "one pod on each node: {nodes:?}");
    for pod in &pods {
        assert_eq!(cluster.containers_of(pod).len(), 1, "{}", summary(pod));
    }
    let table = cluster.skiff("get deployments").ok();
    assert!(table.contains("web    3/3     3            3"), "{table}");

    let said = cluster.skiff(&format!("delete -f {file}")).ok();
    assert!(said.contains("deployment.apps \"web\" deleted"), "{said}");
    wait::until("no container is left", PODS_MAX, || {
        let left: Vec<String> = nodes
            .iter()
            .flat_map(|node| cluster.containers_on(node, true))
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
}

#[test]
fn the_shop_takes_an_order() {
    let cluster = dev(3);
    let said = cluster.skiff("apply --wait -f manifests/shop").ok();
    for name in ["user", "cart", "payment", "order", "front"] {
        assert!(
            said.contains(&format!("deployment.apps/{name} created")),
            "{said}"
        );
    }
    let filled = post(&cluster, "cart", "/cart/ann?item=tea");
    assert!(filled.contains(r#""items":["tea"]"#), "{filled}");
    let order = post(&cluster, "order", "/orders/ann");
    assert!(order.starts_with("HTTP/1.1 201"), "{order}");
    assert!(order.contains(r#""paid":250"#), "{order}");
    let log = cluster.skiff("logs deploy/order -n shop").ok();
    assert!(log.contains("POST /orders/ann 201"), "{log}");

    let again = cluster.skiff("apply -f manifests/shop").ok();
    assert!(again.contains("deployment.apps/order unchanged"), "{again}");
}

#[test]
fn a_killed_container_is_restarted_in_its_pod() {
    let cluster = dev(1);
    let api = cluster.api();
    api.create(DEPLOYMENTS, &given::deployment("web", 1, FOREVER));
    let before = cluster.wait_for_pods("default", "app=web", 1).remove(0);
    let [container] = &cluster.containers_of(&before)[..] else {
        panic!("one container runs")
    };
    cluster.engine.kill(std::slice::from_ref(container));

    let after = wait::until("the container was restarted", PODS_MAX, || {
        let pod = cluster.pods("default", "app=web").remove(0);
        let status = &pod["status"]["containerStatuses"][0];
        let again = status["restartCount"] == 1 && condition(&pod, "Ready") == "True";
        if again {
            Ok(pod.clone())
        } else {
            Err(status.to_string())
        }
    });
    assert_eq!(
        after["metadata"]["uid"], before["metadata"]["uid"],
        "it is the same pod"
    );
    assert_eq!(
        after["status"]["podIP"], before["status"]["podIP"],
        "with the same address"
    );
    let last = &after["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(last["exitCode"], 137, "{last}");
}

#[test]
fn a_bad_rollout_stalls_says_why_and_is_undone() {
    let cluster = dev(2);
    let api = cluster.api();
    let mut deployment = given::deployment("web", 2, FOREVER);
    deployment["spec"]["progressDeadlineSeconds"] = json!(5);
    api.create(DEPLOYMENTS, &deployment);
    let before = uids(&cluster.wait_for_pods("default", "app=web", 2));

    cluster
        .skiff(&format!("set image deploy/web -n default main={NO_IMAGE}"))
        .ok();
    let said = cluster.skiff("rollout status deploy/web --timeout 60s");
    assert_ne!(said.code, 0, "a stalled rollout is a failure: {}", said.out);
    let words = format!("{}{}", said.out, said.err);
    assert!(
        words.contains("pod") && words.contains("web-"),
        "names the pod: {words}"
    );
    assert!(words.contains("ImagePull"), "names the cause: {words}");

    let kept = uids(&cluster.pods("default", "app=web"));
    assert!(
        kept.intersection(&before).count() >= 1,
        "old pods keep serving"
    );
    let progressing = api.get(&format!("{DEPLOYMENTS}/web"));
    assert_eq!(condition(&progressing, "Progressing"), "False");

    cluster.skiff("rollout undo deploy/web").ok();
    cluster
        .skiff("rollout status deploy/web --timeout 60s")
        .ok();
    let pods = cluster.wait_for_pods("default", "app=web", 2);
    assert!(
        pods.iter()
            .all(|pod| pod["spec"]["containers"][0]["image"] == BUSYBOX)
    );
}

#[test]
fn what_changes_is_watched_described_and_taken_back_to_a_revision() {
    let cluster = dev(1);
    let mut web = given::deployment("web", 1, BRISK);
    web["metadata"]["annotations"] = json!({"kubernetes.io/change-cause": "first"});
    cluster.api().create(DEPLOYMENTS, &web);
    cluster.wait_for_pods("default", "app=web", 1);
    watch_two(&cluster);

    cluster.skiff("rollout restart deploy/web").ok();
    history(&cluster, "1 first, 2 first");
    let second = "annotate deploy/web --overwrite kubernetes.io/change-cause=second";
    cluster.skiff(second).ok();
    history(&cluster, "1 first, 2 second");
    let template = |revision: u32| {
        let line = format!("rollout history deploy/web --revision {revision}");
        cluster.skiff(&line).ok()
    };
    assert!(template(2).contains("restartedAt"), "{}", template(2));
    assert!(!template(1).contains("restartedAt"), "{}", template(1));

    let words = cluster
        .skiff("rollout undo deploy/web --to-revision 9")
        .refused();
    let known = "unable to find revision 9; there are: 1, 2";
    assert!(words.contains(known), "{words}");
    let said = cluster
        .skiff("rollout undo deploy/web --to-revision 1")
        .ok();
    assert_eq!(said, "deployment.apps/web rolled back\n");
    history(&cluster, "2 second, 3 first");
    cluster
        .skiff("rollout status deploy/web --timeout 60s")
        .ok();
    let template = &cluster.api().get(&format!("{DEPLOYMENTS}/web"))["spec"]["template"];
    assert!(template["metadata"]["annotations"].is_null(), "{template}");

    let pods = cluster.wait_for_pods("default", "app=web", 2);
    let names: Vec<String> = pods
        .iter()
        .map(|pod| text(&pod["metadata"]["name"]))
        .collect();
    let shown = describe(&cluster, "deployment web");
    for words in [
        "Replicas: 2 desired | 2 updated | 2 total | 2 available | 0 unavailable",
        "Image: skiff-test/busybox:1",
        "(2/2 replicas created)",
        "Normal ScalingReplicaSet",
        "deployment-controller Scaled up replica set web-",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let shown = describe(&cluster, "node");
    for words in ["Ready True", "Capacity: cpu:", "Allocated resources:"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    for name in &names {
        assert!(shown.contains(&format!("default {name} 0 (0%)")), "{shown}");
    }
}

/// Ends as soon as it is told to.
const BRISK: &str = "trap 'exit 0' TERM; while true; do sleep 0.1; done";

/// Scales `web` to two under the eyes of a watch, which shows the second pod come up.
fn watch_two(cluster: &Cluster) {
    let mut command = Command::new(binary());
    command.arg("--kubeconfig").arg(cluster.kubeconfig());
    command.args(["get", "pods", "-w"]);
    let watch = Process::start("watch", &mut command, cluster.folder());
    let seen = |fact: &str, is_seen: &dyn Fn(&str) -> bool| {
        wait::until(fact, PODS_MAX, || {
            let log = watch.log();
            if is_seen(&log) { Ok(()) } else { Err(log) }
        });
    };
    seen("what is there is shown", &|log| log.contains("1/1"));
    cluster.skiff("scale deploy/web --replicas=2").ok();
    let of_both = |log: &str| {
        let rows = log.lines().filter(|row| row.contains("1/1     Running"));
        let names = rows.filter_map(|row| row.split(' ').next());
        names.collect::<BTreeSet<_>>().len() == 2
    };
    seen("the second pod comes up", &of_both);
    let log = watch.log();
    assert!(
        log.contains("0/1     Pending"),
        "every step is shown: {log}"
    );
    assert_eq!(
        log.matches("NAME").count(),
        1,
        "one line of headings: {log}"
    );
}

/// Waits until the history of `web` is this: `REVISION CAUSE, …`.
fn history(cluster: &Cluster, expected: &str) {
    wait::until("the history is as expected", PODS_MAX, || {
        let said = cluster.skiff("rollout history deploy/web").ok();
        let rows = said.lines().skip(2).filter(|row| !row.is_empty());
        let rows: Vec<String> = rows.map(squeezed).collect();
        if rows.join(", ") == expected {
            Ok(())
        } else {
            Err(said)
        }
    });
}

fn describe(cluster: &Cluster, what: &str) -> String {
    squeezed(&cluster.skiff(&format!("describe {what}")).ok())
}

/// A text with one space wherever there is some.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_lost_nodes_pods_run_elsewhere_and_none_runs_twice() {
    let mut cluster = Cluster::with_agents(3);
    cluster.engine.busybox_image(BUSYBOX);
    cluster
        .api()
        .create(DEPLOYMENTS, &given::deployment("web", 3, FOREVER));
    cluster.wait_for_pods("default", "app=web", 3);
    let lost = format!("{}-2", cluster.prefix);

    cluster.agent(&lost).kill();
    let containers = cluster.containers_on(&lost, false);
    assert!(!containers.is_empty(), "the lost node ran a pod");
    cluster.engine.kill(&containers);
    let began = Instant::now();
    wait::until(
        "three pods run on the nodes that are left",
        Duration::from_secs(10),
        || {
            let pods = cluster.pods("default", "app=web");
            let here = |pod: &&Value| {
                text(&pod["spec"]["nodeName"]) != lost && condition(pod, "Ready") == "True"
            };
            let ready = pods.iter().filter(here).count();
            if ready == 3 {
                Ok(())
            } else {
                Err(pods.iter().map(summary).collect::<String>())
            }
        },
    );
    println!("replaced after {:?}", began.elapsed());

    cluster.add_agent(&lost);
    cluster.wait_for_nodes(3);
    cluster.wait_for_pods("default", "app=web", 3);
    wait::until("the lost node's old containers are gone", PODS_MAX, || {
        let labels = [&*cluster.instance(), "io.skiff.container=main"];
        let alive = cluster.engine.containers(&labels, false).len();
        if alive == 3 {
            Ok(())
        } else {
            Err(format!("{alive} containers run"))
        }
    });
}

#[test]
fn a_pod_gets_its_settings_its_files_and_its_bounds() {
    let cluster = dev(1);
    let api = cluster.api();
    let core = "/api/v1/namespaces/default";
    api.create(
        &format!("{core}/configmaps"),
        &given::config_map("colours", "SKY", "blue"),
    );
    let secret = json!({"metadata": {"name": "key"}, "stringData": {"token": "s3cr3t"}});
    api.create(&format!("{core}/secrets"), &secret);
    let script = "echo sky=$SKY token=$TOKEN me=$ME ; cat /etc/colours/SKY ; echo ; \
                  echo kept > /work/file ; cat /work/file /host/hello ; exec sleep 86400";
    let mut pod = given::pod("settings", script);
    let host = cluster.folder().join("host");
    fs::create_dir(&host).expect("make the host's folder");
    fs::write(host.join("hello"), "from the host\n").expect("write a file of the host");
    pod["spec"]["volumes"] = json!([
        {"name": "colours", "configMap": {"name": "colours"}},
        {"name": "work", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": host}},
    ]);
    let container = &mut pod["spec"]["containers"][0];
    container["envFrom"] = json!([{"configMapRef": {"name": "colours"}}]);
    container["env"] = json!([
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token"}}},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]);
    container["volumeMounts"] = json!([
        {"name": "colours", "mountPath": "/etc/colours"},
        {"name": "work", "mountPath": "/work"},
        {"name": "host", "mountPath": "/host"},
    ]);
    container["resources"] =
        json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "32Mi"}});
    api.create(PODS, &pod);

    let pod = cluster
        .wait_for_pods("default", "app=settings", 1)
        .remove(0);
    let log = wait::until("all is printed", PODS_MAX, || {
        let log = cluster.skiff("logs settings").result()?;
        if log.contains("from the host") {
            Ok(log)
        } else {
            Err(log)
        }
    });
    assert_eq!(
        log,
        "sky=blue token=s3cr3t me=settings\nblue\nkept\nfrom the host\n"
    );
    let [container] = &cluster.containers_of(&pod)[..] else {
        panic!("one container runs")
    };
    let bounds = "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}} {{.HostConfig.CpuQuota}}";
    assert_eq!(
        cluster.engine.inspect(container, bounds),
        "33554432 102 50000"
    );
}

#[test]
fn probes_decide_about_readiness_and_life() {
    let cluster = dev(1);
    let api = cluster.api();
    let mut unready = given::pod("unready", FOREVER);
    unready["spec"]["containers"][0]["readinessProbe"] =
        json!({"exec": {"command": ["/bin/false"]}, "periodSeconds": 1});
    api.create(PODS, &unready);
    let mut ill = given::pod("ill", FOREVER);
    ill["spec"]["containers"][0]["livenessProbe"] =
        json!({"tcpSocket": {"port": 81}, "periodSeconds": 1, "failureThreshold": 2});
    api.create(PODS, &ill);
    let mut web = given::pod(
        "web",
        "mkdir -p /www; echo hi > /www/index.html; httpd -f -p 80 -h /www",
    );
    web["spec"]["containers"][0]["startupProbe"] =
        json!({"httpGet": {"path": "/index.html", "port": 80}, "periodSeconds": 1});
    web["spec"]["containers"][0]["readinessProbe"] =
        json!({"httpGet": {"path": "/index.html", "port": 80}, "periodSeconds": 1});
    api.create(PODS, &web);

    cluster.wait_for_pods("default", "app=web", 1);
    wait::until(
        "a failing liveness probe restarts the container",
        PODS_MAX,
        || {
            let pod = api.get(&format!("{PODS}/ill"));
            let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
            if restarts >= Some(1) {
                Ok(())
            } else {
                Err(summary(&pod))
            }
        },
    );
    let pod = api.get(&format!("{PODS}/unready"));
    assert_eq!(pod["status"]["phase"], "Running", "{}", summary(&pod));
    assert_eq!(condition(&pod, "Ready"), "False");
    let events = cluster.skiff("events --for pod/ill").ok();
    assert!(events.contains("Liveness probe failed"), "{events}");
}

#[test]
fn logs_are_followed_and_the_previous_life_is_kept() {
    let cluster = dev(1);
    let api = cluster.api();
    let script = "echo a life of $((1+1)); test -f /work/seen && exec sleep 86400; \
                  echo > /work/seen; exit 1";
    let mut pod = given::pod("phoenix", script);
    pod["spec"]["volumes"] = json!([{"name": "work", "emptyDir": {}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "work", "mountPath": "/work"}]);
    api.create(PODS, &pod);
    wait::until("it runs for the second time", PODS_MAX, || {
        let pod = api.get(&format!("{PODS}/phoenix"));
        let status = &pod["status"]["containerStatuses"][0];
        let second = status["restartCount"] == 1 && !status["state"]["running"].is_null();
        if second {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    assert_eq!(cluster.skiff("logs -p phoenix").ok(), "a life of 2\n");
    assert_eq!(cluster.skiff("logs phoenix --tail 1").ok(), "a life of 2\n");

    let counting = "i=0; while test $i -lt 5; do echo line $i; i=$((i+1)); sleep 0.2; done";
    let mut once = given::pod("counter", counting);
    once["spec"]["restartPolicy"] = json!("Never");
    api.create(PODS, &once);
    wait::until("the counter starts", PODS_MAX, || {
        let pod = api.get(&format!("{PODS}/counter"));
        if pod["status"]["phase"] == "Pending" {
            Err(summary(&pod))
        } else {
            Ok(())
        }
    });
    let followed = cluster.skiff("logs -f counter").ok();
    assert_eq!(followed.lines().count(), 5, "{followed}");
    let ended = wait::until("it has ended", PODS_MAX, || {
        let pod = api.get(&format!("{PODS}/counter"));
        if pod["status"]["phase"] == "Succeeded" {
            Ok(pod)
        } else {
            Err(summary(&pod))
        }
    });
    assert_eq!(ended["status"]["containerStatuses"][0]["restartCount"], 0);
}

#[test]
fn a_drained_node_is_empty_and_takes_nothing_until_it_is_open_again() {
    let cluster = dev(2);
    let api = cluster.api();
    api.create(DEPLOYMENTS, &given::deployment("web", 4, FOREVER));
    cluster.wait_for_pods("default", "app=web", 4);
    let nodes = api.get("/api/v1/nodes");
    let node = items(&nodes)
        .map(|node| text(&node["metadata"]["name"]))
        .next()
        .expect("a node");
    cluster
        .skiff(&format!("drain {node} --ignore-daemonsets --timeout 60s"))
        .ok();
    let pods = cluster.wait_for_pods("default", "app=web", 4);
    assert!(
        pods.iter()
            .all(|pod| text(&pod["spec"]["nodeName"]) != node)
    );
    let table = cluster.skiff("get nodes").ok();
    assert!(table.contains("Ready,SchedulingDisabled"), "{table}");

    cluster.skiff(&format!("uncordon {node}")).ok();
    wait::until("the node is open", PODS_MAX, || {
        let node = api.get(&format!("/api/v1/nodes/{node}"));
        let taints = &node["spec"]["taints"];
        if taints.is_null() {
            Ok(())
        } else {
            Err(taints.to_string())
        }
    });
    cluster.skiff("scale deploy/web --replicas=8").ok();
    let pods = cluster.wait_for_pods("default", "app=web", 8);
    assert!(
        pods.iter()
            .any(|pod| text(&pod["spec"]["nodeName"]) == node),
        "it is used again"
    );
}

#[test]
fn apply_with_wait_is_honest_about_the_end() {
    let cluster = dev(1);
    let apply = |name: &str, object: &Value, flags: &str| {
        let file = cluster.file(&format!("{name}.json"), &object.to_string());
        cluster.skiff(&format!("apply --wait {flags} -f {file}"))
    };
    assert_eq!(
        apply("good", &given::deployment("good", 1, FOREVER), "").code,
        0
    );

    let mut failing = given::deployment("failing", 1, "exit 1");
    // Without it a pod that lives for a moment would count as available for a moment.
    failing["spec"]["minReadySeconds"] = json!(3);
    failing["spec"]["progressDeadlineSeconds"] = json!(5);
    let said = apply("failing", &failing, "--timeout 60s");
    assert_eq!(said.code, 2, "{}{}", said.out, said.err);
    assert!(
        format!("{}{}", said.out, said.err).contains("failing"),
        "{}",
        said.err
    );

    let mut slow = given::deployment("slow", 1, FOREVER);
    slow["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] =
        json!({"exec": {"command": ["/bin/false"]}});
    let said = apply("slow", &slow, "--timeout 2s");
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
}

#[test]
fn every_example_is_accepted() {
    let cluster = Cluster::server();
    cluster
        .skiff("apply --dry-run=server -f manifests/examples")
        .ok();
    cluster.skiff("apply -f manifests/shop").ok();
    let answer = cluster
        .api()
        .send(&Call::get("/apis/apps/v1/namespaces/shop/deployments"));
    assert_eq!(items(&answer.json()).count(), 5);
    assert!(root().join("manifests").is_dir());
}

fn dev(nodes: usize) -> Cluster {
    let cluster = Cluster::dev(nodes);
    cluster.engine.busybox_image(BUSYBOX);
    cluster
}

fn uids(pods: &[Value]) -> BTreeSet<String> {
    pods.iter()
        .map(|pod| text(&pod["metadata"]["uid"]))
        .collect()
}

/// A POST to a service of the shop, at its address in the cluster: the whole answer.
fn post(cluster: &Cluster, service: &str, target: &str) -> String {
    let found = cluster
        .api()
        .get(&format!("/api/v1/namespaces/shop/services/{service}"));
    let address: std::net::IpAddr = text(&found["spec"]["clusterIP"])
        .parse()
        .expect("a service has an address");
    let mut stream = wait::until("the service's address leads to it", PODS_MAX, || {
        TcpStream::connect((address, 80)).map_err(|err| err.to_string())
    });
    write!(
        stream,
        "POST {target} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n"
    )
    .expect("send a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read the answer");
    answer
}
