//! The Docker runtime against the real Engine of this machine.

mod rig;

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use rig::{Rig, find, pod};
use skiff_api::Millis;
use skiff_node_agent::runtime::docker::{DockerConfig, DockerRuntime};
use skiff_node_agent::runtime::{
    ContainerId, ContainerState, ExecOutcome, ExecSpec, HostAlias, LogChunk, LogOptions, LogStream,
    Mount, Runtime, RuntimeError, SandboxSpec, Step,
};

#[tokio::test]
async fn a_pod_runs_and_a_new_agent_adopts_it() {
    let Some(rig) = Rig::new("adopt").await else {
        return;
    };
    let network = rig.runtime.prepare(&rig.network).await.unwrap();
    assert_eq!(
        rig.runtime.prepare(&rig.network).await.unwrap(),
        network,
        "the second time changes nothing"
    );
    assert_eq!((network.subnet, network.mtu), (rig.network.subnet, 1400));
    let sandbox = rig.sandbox().await;
    let spec = rig.script(&sandbox, "web", "exec sleep 1000");
    let id = rig.runtime.create_container(&spec).await.unwrap();

    let heir = rig.agent("n1");
    let observed = heir.list().await.unwrap();
    assert_eq!(find(&observed, &id).unwrap().state, ContainerState::Created);
    heir.start_container(&id).await.unwrap();
    heir.start_container(&id)
        .await
        .expect("starting twice is success");

    let observed = heir.list().await.unwrap();
    let [box_] = observed.sandboxes.as_slice() else {
        panic!("{observed:#?}")
    };
    assert_eq!((&box_.id, &box_.pod, box_.attempt), (&sandbox, &pod(), 0));
    assert!(
        box_.running && !box_.host_network && box_.ip.is_some(),
        "{box_:?}"
    );
    let [web] = observed.containers.as_slice() else {
        panic!("{observed:#?}")
    };
    assert_eq!(
        (&web.id, &web.container, &web.sandbox),
        (&id, &spec.container, &sandbox)
    );
    assert_eq!(
        (&*web.image, &*web.spec_hash),
        (rig.image.as_str(), "hash-of-web")
    );
    assert!(matches!(web.state, ContainerState::Running { started_at } if started_at.0 > 0));

    let stranger = rig.agent("n2").list().await.unwrap();
    assert!(
        stranger.containers.is_empty() && stranger.sandboxes.is_empty(),
        "{stranger:?}"
    );

    heir.remove_container(&id).await.unwrap();
    heir.remove_container(&id)
        .await
        .expect("removing twice is success");
    heir.remove_sandbox(&sandbox).await.unwrap();
    heir.remove_sandbox(&sandbox)
        .await
        .expect("removing twice is success");
    let observed = heir.list().await.unwrap();
    assert!(
        observed.containers.is_empty() && observed.sandboxes.is_empty(),
        "{observed:?}"
    );
}

#[tokio::test]
async fn a_second_copy_of_anything_is_refused() {
    let Some(rig) = Rig::new("copies").await else {
        return;
    };
    let sandbox = rig.sandbox().await;
    let spec = rig.script(&sandbox, "web", "exec sleep 1000");
    rig.runtime.create_container(&spec).await.unwrap();
    let taken = rig.runtime.create_container(&spec).await.unwrap_err();
    assert!(matches!(taken, RuntimeError::NameTaken { .. }), "{taken:?}");
    let taken = rig
        .runtime
        .run_sandbox(&SandboxSpec::new(pod()))
        .await
        .unwrap_err();
    assert!(matches!(taken, RuntimeError::NameTaken { .. }), "{taken:?}");
}

#[tokio::test]
async fn the_end_of_a_container_is_told_in_full() {
    let Some(rig) = Rig::new("ends").await else {
        return;
    };
    let sandbox = rig.sandbox().await;

    let id = rig.run(&rig.script(&sandbox, "seven", "exit 7")).await;
    let ContainerState::Exited {
        code,
        oom_killed,
        started_at,
        finished_at,
        error,
    } = rig.ended(&id).await
    else {
        panic!("not ended");
    };
    assert_eq!((code, oom_killed, &*error), (7, false, ""));
    assert!(
        started_at.0 > 0 && finished_at >= started_at,
        "{started_at} {finished_at}"
    );

    let mut glutton = rig.script(&sandbox, "glutton", "exec tail /dev/zero");
    glutton.resources.memory_bytes = Some(16 << 20);
    let id = rig.run(&glutton).await;
    let end = rig.ended(&id).await;
    assert!(
        matches!(
            end,
            ContainerState::Exited {
                code: 137,
                oom_killed: true,
                ..
            }
        ),
        "out of memory: {end:?}"
    );

    let mut absent = rig.script(&sandbox, "absent", "");
    absent.entrypoint = Some(vec!["/no/such/program".into()]);
    let id = rig.runtime.create_container(&absent).await.unwrap();
    let refusal = rig.runtime.start_container(&id).await.unwrap_err();
    assert_eq!(refusal.step(), Step::StartContainer);
    assert!(
        refusal.to_string().contains("no such file or directory"),
        "{refusal}"
    );
    let observed = rig.runtime.list().await.unwrap();
    assert_eq!(find(&observed, &id).unwrap().state, ContainerState::Created);
}

#[tokio::test]
async fn a_stop_asks_first_and_kills_after_the_grace() {
    let Some(rig) = Rig::new("stops").await else {
        return;
    };
    let sandbox = rig.sandbox().await;
    let cases = [
        // name, script, exit code
        (
            "polite",
            "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done",
            3,
        ),
        (
            "deaf",
            "trap '' TERM; echo ready; while :; do sleep 0.05; done",
            137,
        ),
    ];
    for (name, script, expected) in cases {
        let id = rig.run(&rig.script(&sandbox, name, script)).await;
        let mut log = rig.runtime.logs(
            &id,
            LogOptions {
                follow: true,
                ..Default::default()
            },
        );
        assert_eq!(
            log.next().await.unwrap().unwrap().bytes,
            "ready\n",
            "{name}"
        );
        rig.runtime
            .stop_container(&id, Duration::from_secs(2))
            .await
            .unwrap();
        let end = rig.ended(&id).await;
        assert!(
            matches!(end, ContainerState::Exited { code, .. } if code == expected),
            "{name}: {end:?}"
        );
        rig.runtime
            .stop_container(&id, Duration::ZERO)
            .await
            .expect("stopping twice is success");
        rig.runtime
            .signal_container(&id, "SIGTERM")
            .await
            .expect("the dead need no signal");
    }
}

#[tokio::test]
async fn a_signal_reaches_the_container() {
    let Some(rig) = Rig::new("signal").await else {
        return;
    };
    let sandbox = rig.sandbox().await;
    let id = rig
        .run(&rig.script(&sandbox, "killed", "exec sleep 1000"))
        .await;
    rig.runtime.signal_container(&id, "SIGKILL").await.unwrap();
    let end = rig.ended(&id).await;
    assert!(
        matches!(
            end,
            ContainerState::Exited {
                code: 137,
                oom_killed: false,
                ..
            }
        ),
        "{end:?}"
    );
}

/// All of a log; a base for the options of the tests.
const WHOLE: LogOptions = LogOptions {
    follow: false,
    tail: None,
    since: None,
    timestamps: false,
};

#[tokio::test]
async fn a_log_is_followed_while_it_grows() {
    let Some(rig) = Rig::new("follow").await else {
        return;
    };
    let sandbox = rig.sandbox().await;
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gate");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&gate)
            .status()
            .unwrap()
            .success()
    );
    let mut spec = rig.script(&sandbox, "writer", "echo one; cat /gate; echo two");
    spec.mounts = vec![Mount {
        source: gate.clone(),
        target: "/gate".into(),
        read_only: false,
    }];
    let id = rig.run(&spec).await;

    let mut follow = rig.runtime.logs(
        &id,
        LogOptions {
            follow: true,
            ..WHOLE
        },
    );
    let mut next = async || follow.next().await.map(|chunk| chunk.unwrap());
    let line = |bytes| {
        Some(LogChunk {
            stream: LogStream::Stdout,
            bytes: Bytes::from_static(bytes),
        })
    };
    assert_eq!(next().await, line(b"one\n"));
    // Opening a pipe waits for its reader: the container is still there.
    tokio::task::spawn_blocking(move || std::fs::write(gate, "open\n"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(next().await, line(b"open\n"));
    assert_eq!(next().await, line(b"two\n"));
    assert_eq!(next().await, None, "it ends with the container");
}

#[tokio::test]
async fn a_log_is_read_whole_by_its_end_and_by_time() {
    let Some(rig) = Rig::new("logs").await else {
        return;
    };
    let sandbox = rig.sandbox().await;
    let id = rig
        .run(&rig.script(&sandbox, "writer", "echo one; echo two; echo three"))
        .await;
    let end = rig.ended(&id).await;
    let ContainerState::Exited { finished_at, .. } = end else {
        panic!("{end:?}")
    };
    let tail = |lines| LogOptions {
        tail: Some(lines),
        ..WHOLE
    };
    let since = |at| LogOptions {
        since: Some(at),
        ..WHOLE
    };
    let cases = [
        ("whole", WHOLE, "one\ntwo\nthree\n"),
        ("its end", tail(2), "two\nthree\n"),
        ("nothing of it", tail(0), ""),
        ("since long ago", since(Millis(1)), "one\ntwo\nthree\n"),
        (
            "since later",
            since(finished_at.after(Duration::from_secs(5))),
            "",
        ),
    ];
    for (name, options, out) in cases {
        assert_eq!(
            rig.log(&id, options).await,
            (out.to_owned(), String::new()),
            "{name}"
        );
    }
    let (out, _) = rig
        .log(
            &id,
            LogOptions {
                timestamps: true,
                ..WHOLE
            },
        )
        .await;
    let (stamp, line) = out.lines().next().unwrap().split_once(' ').unwrap();
    assert!(Millis::parse(stamp).is_some() && line == "one", "{out:?}");
}

#[tokio::test]
async fn a_log_tells_errors_from_output_and_ends_with_its_container() {
    let Some(rig) = Rig::new("logend").await else {
        return;
    };
    let sandbox = rig.sandbox().await;
    let id = rig
        .run(&rig.script(&sandbox, "writer", "echo good; echo bad >&2"))
        .await;
    rig.ended(&id).await;
    assert_eq!(
        rig.log(&id, WHOLE).await,
        ("good\n".to_owned(), "bad\n".to_owned())
    );

    rig.runtime.remove_container(&id).await.unwrap();
    let mut gone = rig.runtime.logs(&id, WHOLE);
    let first = gone.next().await;
    assert!(
        matches!(first, Some(Err(RuntimeError::Gone { .. }))),
        "{first:?}"
    );
    assert!(gone.next().await.is_none(), "nothing after an error");
}

#[tokio::test]
async fn a_command_runs_in_a_container() {
    let Some(rig) = Rig::new("exec").await else {
        return;
    };
    let sandbox = rig.sandbox().await;
    let id = rig
        .run(&rig.script(&sandbox, "host", "exec sleep 1000"))
        .await;
    assert_eq!(
        rig.exec(&id, &["/bin/sh", "-c", "echo a; echo b >&2; exit 4"])
            .await
            .0,
        4
    );
    assert_eq!(
        rig.exec(&id, &["/bin/sh", "-c", "echo hello"]).await,
        (0, "hello\n".into())
    );
    let (code, said) = rig.exec(&id, &["/no/such"]).await;
    assert!(
        [126, 127].contains(&code) && said.contains("no such file"),
        "{code} {said:?}"
    );
    let (code, said) = rig
        .exec(
            &id,
            &[
                "/bin/sh",
                "-c",
                "/bin/busybox yes | /bin/busybox head -c 100000",
            ],
        )
        .await;
    assert_eq!(
        (code, said.len()),
        (0, skiff_node_agent::runtime::EXEC_OUTPUT_MAX)
    );

    let slow = ExecSpec {
        command: vec!["/bin/sleep".into(), "1000".into()],
        timeout: Duration::from_secs(1),
    };
    assert_eq!(
        rig.runtime.exec(&id, &slow).await.unwrap(),
        ExecOutcome::TimedOut
    );

    rig.runtime
        .stop_container(&id, Duration::ZERO)
        .await
        .unwrap();
    let late = rig.runtime.exec(&id, &slow).await.unwrap_err();
    assert!(matches!(late, RuntimeError::Gone { .. }), "{late:?}");
}

#[tokio::test]
async fn containers_of_a_pod_share_its_name_and_hosts() {
    let Some(rig) = Rig::new("shared").await else {
        return;
    };
    let mut spec = SandboxSpec::new(pod());
    spec.hostname = "my-pod".into();
    spec.host_aliases = vec![HostAlias {
        ip: [192, 0, 2, 1].into(),
        hostnames: vec!["db.example".into()],
    }];
    spec.sysctls = vec![("net.core.somaxconn".into(), "77".into())];
    let sandbox = rig.runtime.run_sandbox(&spec).await.unwrap();
    let mut spec = rig.script(&sandbox, "a", "exec sleep 1000");
    spec.security.run_as_user = Some(1234);
    spec.security.run_as_group = Some(5678);
    spec.security.read_only_root = true;
    let id = rig.run(&spec).await;
    assert_eq!(rig.exec(&id, &["/bin/hostname"]).await.1, "my-pod\n");
    let hosts = rig.exec(&id, &["/bin/cat", "/etc/hosts"]).await.1;
    assert!(hosts.contains("192.0.2.1\tdb.example"), "{hosts}");
    assert_eq!(
        rig.exec(&id, &["/bin/cat", "/proc/sys/net/core/somaxconn"])
            .await
            .1,
        "77\n"
    );
    let id_line = rig.exec(&id, &["/bin/id"]).await.1;
    assert!(id_line.starts_with("uid=1234 gid=5678"), "{id_line}");
    assert_eq!(
        rig.exec(&id, &["/bin/touch", "/x"]).await.0,
        1,
        "the root is read-only"
    );
}

#[tokio::test]
async fn a_pod_may_use_the_hosts_network() {
    let Some(rig) = Rig::new("hostnet").await else {
        return;
    };
    let mut spec = SandboxSpec::new(pod());
    spec.host_network = true;
    let sandbox = rig.runtime.run_sandbox(&spec).await.unwrap();
    let id = rig.run(&rig.script(&sandbox, "a", "exec sleep 1000")).await;
    let observed = rig.runtime.list().await.unwrap();
    let [found] = observed.sandboxes.as_slice() else {
        panic!("{observed:#?}")
    };
    assert!(
        found.host_network && found.running && found.ip.is_none(),
        "{found:?}"
    );
    let inside = rig
        .exec(&id, &["/bin/busybox", "readlink", "/proc/self/ns/net"])
        .await
        .1;
    let ours = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(inside.trim(), ours.to_string_lossy());
}

#[tokio::test]
async fn images_are_found_or_said_to_be_missing() {
    let Some(rig) = Rig::new("images").await else {
        return;
    };
    let info = rig
        .runtime
        .image(&rig.image)
        .await
        .unwrap()
        .expect("the rig's image");
    assert!(
        info.summary.names.contains(&rig.image) && !info.has_command,
        "{info:?}"
    );
    assert!(rig.runtime.images().await.unwrap().contains(&info.summary));
    assert_eq!(rig.runtime.image("skiff-test-none:1").await.unwrap(), None);
    let bad = rig.runtime.image("Upper/Case").await.unwrap_err();
    assert!(matches!(bad, RuntimeError::ImageName { .. }), "{bad:?}");

    let sandbox = rig.sandbox().await;
    let mut spec = rig.script(&sandbox, "a", "");
    spec.image = "skiff-test-none:1".into();
    let missing = rig.runtime.create_container(&spec).await.unwrap_err();
    assert!(
        matches!(&missing, RuntimeError::ImageMissing { image } if image == "skiff-test-none:1"),
        "{missing:?}"
    );
    // Nobody listens on port 1 of this machine.
    let failed = rig
        .runtime
        .pull("127.0.0.1:1/none:1", None)
        .await
        .unwrap_err();
    assert!(matches!(&failed, RuntimeError::Pull { .. }), "{failed:?}");
    assert!(
        failed.to_string().contains("connection refused"),
        "{failed}"
    );
}

#[tokio::test]
async fn what_every_pod_needs_is_made_again_when_it_was_lost() {
    let Some(rig) = Rig::new("ground").await else {
        return;
    };
    let network = rig.runtime.prepare(&rig.network).await.unwrap();
    let engine = bollard::Docker::connect_with_unix_defaults().unwrap();
    engine.remove_network(&network.name).await.unwrap();
    let lost = rig
        .runtime
        .run_sandbox(&SandboxSpec::new(pod()))
        .await
        .unwrap_err();
    assert!(lost.to_string().contains("not found"), "{lost:?}");
    let leftover = rig.runtime.list().await.unwrap();
    for sandbox in &leftover.sandboxes {
        assert!(!sandbox.running, "{sandbox:?}");
        rig.runtime.remove_sandbox(&sandbox.id).await.unwrap();
    }
    rig.sandbox().await;
}

#[tokio::test]
async fn a_sandbox_ends_at_once_when_the_engine_asks() {
    let Some(rig) = Rig::new("pause").await else {
        return;
    };
    let sandbox = rig.sandbox().await;
    // As the first process of its namespace it would be deaf to a signal that it has not asked for.
    rig.runtime
        .signal_container(&ContainerId(sandbox.0), "SIGTERM")
        .await
        .unwrap();
    rig.until("the end of the sandbox", |observed| {
        !observed.sandboxes[0].running
    })
    .await;
}

#[tokio::test]
async fn the_engine_says_what_it_is() {
    let Some(rig) = Rig::new("info").await else {
        return;
    };
    rig.runtime.ping().await.unwrap();
    let info = rig.runtime.info().await.unwrap();
    assert!(info.cpus > 0 && info.memory_bytes > 1 << 20, "{info:?}");
    assert!(["amd64", "arm64"].contains(&info.arch.as_str()), "{info:?}");
    assert!(
        [1, 2].contains(&info.cgroup_version) && info.os == "linux",
        "{info:?}"
    );
}

#[tokio::test]
async fn without_an_engine_every_error_says_so() {
    let config = DockerConfig {
        host: "unix:///nowhere.sock".into(),
        ..DockerConfig::new("n1")
    };
    let err = DockerRuntime::connect(config).unwrap_err();
    assert!(matches!(err, RuntimeError::Unreachable { .. }), "{err:?}");
    let config = DockerConfig {
        host: "tcp://1.2.3.4:2375".into(),
        ..DockerConfig::new("n1")
    };
    let err = DockerRuntime::connect(config).unwrap_err();
    assert!(matches!(err, RuntimeError::Refused { .. }), "{err:?}");

    // A socket that nobody listens on is what a stopped Engine leaves behind.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let config = DockerConfig {
        host: path.display().to_string(),
        ..DockerConfig::new("n1")
    };
    let runtime = DockerRuntime::connect(config).unwrap();
    let err = runtime.list().await.unwrap_err();
    assert!(
        matches!(
            err,
            RuntimeError::Unreachable {
                step: Step::List,
                ..
            }
        ),
        "{err:?}"
    );
    let err = runtime.events().next().await.unwrap().unwrap_err();
    assert!(
        matches!(
            err,
            RuntimeError::Unreachable {
                step: Step::Events,
                ..
            }
        ),
        "{err:?}"
    );
}
