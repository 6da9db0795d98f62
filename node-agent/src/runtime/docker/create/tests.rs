use serde_json::{Value, json};

use super::*;
use crate::runtime::{Container, Mount, PodRef, PortMapping, Protocol, SandboxId};

fn owner() -> Owner {
    Owner {
        instance: "skiff".into(),
        node: "n1".into(),
    }
}

fn pod() -> PodRef {
    PodRef {
        namespace: "shop".into(),
        name: "front-0".into(),
        uid: "u1".into(),
    }
}

fn web() -> ContainerSpec {
    let container = Container {
        pod: pod(),
        name: "web".into(),
        attempt: 0,
    };
    ContainerSpec::new(container, SandboxId("s1".into()), "shop:1")
}

/// The body as it goes over the wire; labels have their own tests.
fn wire(body: ContainerCreateBody) -> Value {
    let mut body = serde_json::to_value(body).unwrap();
    body.as_object_mut()
        .unwrap()
        .remove("Labels")
        .expect("labels");
    body
}

#[test]
fn a_plain_container_asks_for_nothing_but_its_sandbox_and_a_bounded_log() {
    let body = wire(container(&owner(), &web()).unwrap());
    let expected = json!({
        "Image": "shop:1",
        "Tty": false,
        "OpenStdin": false,
        "ExposedPorts": {},
        "Volumes": {},
        "HostConfig": {
            "NetworkMode": "container:s1",
            "LogConfig": {
                "Type": "json-file",
                "Config": { "max-size": "10m", "max-file": "3" },
            },
            "RestartPolicy": { "Name": "no" },
            "Privileged": false,
            "ReadonlyRootfs": false,
        },
    });
    let strip = |mut body: Value| {
        body.as_object_mut()
            .unwrap()
            .retain(|_, value| *value != json!({}));
        body
    };
    assert_eq!(strip(body), strip(expected));
}

#[expect(clippy::too_many_lines, reason = "a table, a row for each wish")]
#[test]
fn every_wish_reaches_the_engine() {
    type Change = fn(&mut ContainerSpec);
    let cases: [(&str, Change, &str, Value); 13] = [
        (
            "command",
            |c| c.entrypoint = Some(vec!["/a".into()]),
            "/Entrypoint",
            json!(["/a"]),
        ),
        (
            "args",
            |c| c.args = Some(vec!["b".into()]),
            "/Cmd",
            json!(["b"]),
        ),
        (
            "env",
            |c| c.env = vec![("A".into(), "b=c".into())],
            "/Env",
            json!(["A=b=c"]),
        ),
        (
            "directory",
            |c| c.working_dir = Some("/w".into()),
            "/WorkingDir",
            json!("/w"),
        ),
        (
            "user",
            |c| c.security.run_as_user = Some(7),
            "/User",
            json!("7"),
        ),
        (
            "shares",
            |c| c.resources.cpu_shares = Some(2),
            "/HostConfig/CpuShares",
            json!(2),
        ),
        (
            "a quota below the kernel's least",
            |c| c.resources.cpu_quota_micros = Some(1),
            "/HostConfig/CpuQuota",
            json!(1000),
        ),
        (
            "memory without swap",
            |c| c.resources.memory_bytes = Some(1 << 24),
            "/HostConfig/MemorySwap",
            json!(1 << 24),
        ),
        (
            "pids",
            |c| c.resources.pids = Some(9),
            "/HostConfig/PidsLimit",
            json!(9),
        ),
        (
            "oom",
            |c| c.resources.oom_score_adj = Some(-5),
            "/HostConfig/OomScoreAdj",
            json!(-5),
        ),
        (
            "drop",
            |c| c.security.drop_capabilities = vec!["ALL".into()],
            "/HostConfig/CapDrop",
            json!(["ALL"]),
        ),
        (
            "no new rights",
            |c| c.security.no_new_privileges = true,
            "/HostConfig/SecurityOpt",
            json!(["no-new-privileges"]),
        ),
        (
            "mount",
            |c| {
                let mount = Mount {
                    source: "/h".into(),
                    target: "/c".into(),
                    read_only: true,
                };
                c.mounts = vec![mount];
            },
            "/HostConfig/Mounts",
            json!([{ "Type": "bind", "Source": "/h", "Target": "/c", "ReadOnly": true }]),
        ),
    ];
    for (name, change, pointer, expected) in cases {
        let mut spec = web();
        change(&mut spec);
        let body = wire(container(&owner(), &spec).unwrap());
        assert_eq!(body.pointer(pointer), Some(&expected), "{name}: {body:#}");
    }
}

#[test]
fn a_group_without_a_user_is_refused() {
    let mut spec = web();
    spec.security.run_as_group = Some(5);
    let refusal = container(&owner(), &spec).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "a group to run as needs a user to run as"
    );
}

#[test]
fn a_sandbox_on_the_pod_network_has_name_ports_and_resolver() {
    let mut spec = SandboxSpec::new(pod());
    spec.ports = vec![
        PortMapping {
            host_ip: None,
            host_port: 80,
            container_port: 8080,
            protocol: Protocol::Tcp,
        },
        PortMapping {
            host_ip: Some([127, 0, 0, 1].into()),
            host_port: 53,
            container_port: 53,
            protocol: Protocol::Udp,
        },
    ];
    spec.host_aliases = vec![HostAlias {
        ip: [1, 2, 3, 4].into(),
        hostnames: vec!["a".into(), "b".into()],
    }];
    let body = wire(sandbox(&owner(), &spec, Some("net1")));
    let host = &body["HostConfig"];
    assert_eq!(body["Hostname"], "front-0");
    assert_eq!(host["NetworkMode"], "net1");
    assert_eq!(
        host["PortBindings"],
        json!({
            "8080/tcp": [{ "HostPort": "80" }],
            "53/udp": [{ "HostIp": "127.0.0.1", "HostPort": "53" }],
        })
    );
    assert_eq!(
        body["ExposedPorts"],
        json!({ "8080/tcp": {}, "53/udp": {} })
    );
    assert_eq!(host["ExtraHosts"], json!(["a:1.2.3.4", "b:1.2.3.4"]));
}

#[test]
fn a_sandbox_on_the_hosts_network_has_neither_name_nor_ports() {
    let mut spec = SandboxSpec::new(pod());
    spec.host_network = true;
    spec.ports = vec![PortMapping {
        host_ip: None,
        host_port: 80,
        container_port: 80,
        protocol: Protocol::Tcp,
    }];
    let body = wire(sandbox(&owner(), &spec, None));
    assert_eq!(body["HostConfig"]["NetworkMode"], "host");
    assert_eq!(body["HostConfig"].get("PortBindings"), None);
    assert_eq!(body.get("Hostname"), None);
}
