use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::{FutureExt, StreamExt, TryStreamExt};

use super::*;
use crate::runtime::{Container, ContainerState, PodRef};

/// A node whose clock stands at what the second part says.
fn node(images: Images) -> (SimRuntime, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(1000));
    let clock = Arc::clone(&now);
    let info = Arc::new(SimRuntime::machine(2, 1 << 30));
    let sim = SimRuntime::new("n1", info, images, move || {
        Millis(clock.load(Ordering::Relaxed))
    });
    (sim, now)
}

fn pod() -> PodRef {
    PodRef {
        namespace: "shop".into(),
        name: "front-0".into(),
        uid: "u1".into(),
    }
}

fn web(sandbox: &SandboxId) -> ContainerSpec {
    let container = Container {
        pod: pod(),
        name: "web".into(),
        attempt: 0,
    };
    ContainerSpec::new(container, sandbox.clone(), "shop:1")
}

async fn run(sim: &SimRuntime) -> (SandboxId, ContainerId) {
    let sandbox = sim.run_sandbox(&SandboxSpec::new(pod())).await.unwrap();
    let id = sim.create_container(&web(&sandbox)).await.unwrap();
    sim.start_container(&id).await.unwrap();
    (sandbox, id)
}

async fn state(sim: &SimRuntime) -> ContainerState {
    sim.list().await.unwrap().containers[0].state.clone()
}

#[tokio::test]
async fn a_container_ends_as_its_program_says() {
    let exit = |after, code| Program::Exit {
        after,
        code,
        log: "bye".into(),
    };
    let exited = |code, finished_at| ContainerState::Exited {
        code,
        oom_killed: false,
        started_at: Millis(1000),
        finished_at: Millis(finished_at),
        error: "".into(),
    };
    let running = ContainerState::Running {
        started_at: Millis(1000),
    };
    let cases = [
        // name, program, state after the start, state after a minute, state after a stop of 10 s
        (
            "serves",
            Program::Serve,
            running.clone(),
            running.clone(),
            exited(143, 61_000),
        ),
        (
            "deaf",
            Program::Deaf,
            running.clone(),
            running.clone(),
            exited(137, 71_000),
        ),
        (
            "ends at once",
            exit(Duration::ZERO, 3),
            exited(3, 1000),
            exited(3, 1000),
            exited(3, 1000),
        ),
        (
            "ends later",
            exit(Duration::from_secs(5), 0),
            running,
            exited(0, 6000),
            exited(0, 6000),
        ),
    ];
    for (name, program, at_start, in_a_minute, stopped) in cases {
        let (sim, now) = node(Images::All);
        sim.program("shop:1", program);
        let (_, id) = run(&sim).await;
        assert_eq!(state(&sim).await, at_start, "{name}");
        now.fetch_add(60_000, Ordering::Relaxed);
        assert_eq!(state(&sim).await, in_a_minute, "{name}");
        sim.stop_container(&id, Duration::from_secs(10))
            .await
            .unwrap();
        assert_eq!(state(&sim).await, stopped, "{name}");
    }
}

#[tokio::test]
async fn the_rules_of_an_engine_hold() {
    let (sim, _) = node(Images::here(["shop:1"]));
    let (sandbox, id) = run(&sim).await;
    let taken = sim.create_container(&web(&sandbox)).await.unwrap_err();
    assert!(matches!(taken, RuntimeError::NameTaken { .. }), "{taken:?}");
    let taken = sim.run_sandbox(&SandboxSpec::new(pod())).await.unwrap_err();
    assert!(matches!(taken, RuntimeError::NameTaken { .. }), "{taken:?}");
    let mut other = web(&sandbox);
    other.image = "shop:2".into();
    let missing = sim.create_container(&other).await.unwrap_err();
    assert!(
        matches!(missing, RuntimeError::ImageMissing { .. }),
        "{missing:?}"
    );

    let mut second = web(&sandbox);
    second.container.attempt = 1;
    let second = sim.create_container(&second).await.unwrap();
    sim.kill_sandbox(&sandbox);
    let refused = sim.start_container(&second).await.unwrap_err();
    assert_eq!(refused.step(), Step::StartContainer);

    for _twice in 0..2 {
        sim.remove_container(&id).await.unwrap();
        sim.remove_container(&second).await.unwrap();
        sim.remove_sandbox(&sandbox).await.unwrap();
        assert_eq!(sim.list().await.unwrap(), Observed::default());
    }
}

#[tokio::test]
async fn images_come_from_the_registry_or_not_at_all() {
    let (sim, _) = node(Images::remote(["shop:1"]));
    assert_eq!(sim.image("shop:1").await.unwrap(), None);
    let pulled = sim.pull("shop:1", None).await.unwrap();
    assert_eq!(sim.image("shop:1").await.unwrap(), Some(pulled.clone()));
    assert_eq!(sim.images().await.unwrap(), [pulled.summary]);
    let failed = sim.pull("shop:9", None).await.unwrap_err();
    assert_eq!(
        failed.to_string(),
        "manifest for shop:9 not found: manifest unknown"
    );
}

#[tokio::test]
async fn calls_fail_and_hang_as_told() {
    let (sim, _) = node(Images::All);
    sim.fail_next(
        Step::StartSandbox,
        Fault::Refused("no addresses left".into()),
    );
    let refused = sim.run_sandbox(&SandboxSpec::new(pod())).await.unwrap_err();
    assert_eq!(refused.to_string(), "no addresses left");
    let observed = sim.list().await.unwrap();
    assert!(
        !observed.sandboxes[0].running,
        "the created sandbox is left behind: {observed:?}"
    );

    sim.hold(Step::List);
    let mut list = sim.list();
    assert!((&mut list).now_or_never().is_none(), "a held call hangs");
    sim.release(Step::List);
    assert_eq!(list.await.unwrap(), observed);
    assert_eq!(sim.calls(Step::List), 2);
}

#[tokio::test]
async fn a_stopped_engine_keeps_its_containers() {
    let (sim, _) = node(Images::All);
    run(&sim).await;
    let before = sim.list().await.unwrap();
    let mut events = sim.events();
    sim.stop_engine();
    assert!(events.next().await.is_none(), "the events end");
    let err = sim.list().await.unwrap_err();
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
    sim.start_engine();
    assert_eq!(sim.list().await.unwrap(), before);
}

#[tokio::test]
async fn every_change_wakes() {
    let (sim, _) = node(Images::All);
    let mut events = sim.events();
    let mut woken = async || events.next().await.unwrap().unwrap().pod_uid;
    let (sandbox, id) = run(&sim).await;
    for change in ["sandbox", "created", "started"] {
        assert_eq!(&*woken().await, "u1", "{change}");
    }
    sim.exit(&id, 1, true);
    assert_eq!(&*woken().await, "u1", "exit");
    assert!(matches!(
        state(&sim).await,
        ContainerState::Exited {
            oom_killed: true,
            ..
        }
    ));
    sim.remove_container(&id).await.unwrap();
    assert_eq!(&*woken().await, "u1", "removal");
    sim.kill_sandbox(&sandbox);
    assert_eq!(&*woken().await, "u1", "end of the sandbox");
}

#[tokio::test]
async fn a_log_is_read_by_its_end_by_time_and_while_it_grows() {
    let (sim, now) = node(Images::All);
    let (_, id) = run(&sim).await;
    sim.write(&id, LogStream::Stdout, "one\ntwo\n");
    now.store(2000, Ordering::Relaxed);
    sim.write(&id, LogStream::Stderr, "three");
    let read = async |options| {
        let chunks: Vec<LogChunk> = sim.logs(&id, options).try_collect().await.unwrap();
        let bytes: Vec<u8> = chunks
            .iter()
            .flat_map(|chunk| chunk.bytes.to_vec())
            .collect();
        String::from_utf8(bytes).unwrap()
    };
    let all = LogOptions::default;
    assert_eq!(read(all()).await, "one\ntwo\nthree\n");
    assert_eq!(
        read(LogOptions {
            tail: Some(2),
            ..all()
        })
        .await,
        "two\nthree\n"
    );
    assert_eq!(
        read(LogOptions {
            since: Some(Millis(1500)),
            ..all()
        })
        .await,
        "three\n"
    );
    let stamped = read(LogOptions {
        tail: Some(1),
        timestamps: true,
        ..all()
    })
    .await;
    assert_eq!(stamped, "1970-01-01T00:00:02.000000Z three\n");

    let mut follow = sim.logs(
        &id,
        LogOptions {
            follow: true,
            tail: Some(1),
            ..all()
        },
    );
    assert_eq!(follow.next().await.unwrap().unwrap().bytes, "three\n");
    assert!(follow.next().now_or_never().is_none(), "it waits");
    sim.write(&id, LogStream::Stdout, "four");
    assert_eq!(follow.next().await.unwrap().unwrap().bytes, "four\n");
    sim.exit(&id, 0, false);
    assert!(follow.next().await.is_none(), "it ends with the container");
}

#[tokio::test]
async fn commands_find_what_the_test_says_in_running_containers() {
    let (sim, _) = node(Images::All);
    let (_, id) = run(&sim).await;
    let exec = ExecSpec {
        command: vec!["/check".into()],
        timeout: Duration::from_secs(1),
    };
    let code = async || match sim.exec(&id, &exec).await.unwrap() {
        ExecOutcome::Exited { code, .. } => Some(code),
        ExecOutcome::TimedOut => None,
    };
    assert_eq!(code().await, Some(0));
    sim.answer_exec("web", ExecOutcome::TimedOut);
    assert_eq!(code().await, None);
    sim.exit(&id, 0, false);
    let gone = sim.exec(&id, &exec).await.unwrap_err();
    assert!(matches!(gone, RuntimeError::Gone { .. }), "{gone:?}");
}
