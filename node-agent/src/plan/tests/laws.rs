//! Doing what was planned, again and again, comes to rest; and at rest all is as it should be.

use proptest::prelude::*;

use super::*;

/// More passes than any plan here needs.
const PASSES_MAX: usize = 40;

/// A runtime in which init containers succeed at once and the others run.
struct Model {
    sight: Sight,
    now: Millis,
    confirmed: bool,
}

impl Model {
    fn apply(&mut self, pod: &DesiredPod, action: &Action) {
        self.now = self.now.after(Duration::from_millis(10));
        match action {
            Action::StartSandbox { attempt } => {
                assert!(self.sight.sandbox().is_none(), "two sandboxes at once");
                self.sight.sandboxes.push(ObservedSandbox {
                    id: SandboxId(format!("sb{attempt}").into()),
                    pod: pod_ref(),
                    attempt: *attempt,
                    ip: None,
                    running: true,
                    host_network: false,
                    created_at: self.now,
                });
            }
            Action::StartContainer { name, attempt } => self.start(pod, name, *attempt),
            Action::Stop(stops) => stops.iter().for_each(|stop| self.end(&stop.id)),
            Action::RemoveContainer(id) => {
                let found = self.sight.by_id(id).expect("it exists");
                assert!(!is_running(found), "{id} is removed while it runs");
                for attempts in self.sight.containers.values_mut() {
                    attempts.retain(|container| container.id != *id);
                }
                self.sight
                    .containers
                    .retain(|_, attempts| !attempts.is_empty());
            }
            Action::RemoveSandbox(id) => {
                let inside = self.sight.all().any(|c| is_running(c) && c.sandbox == *id);
                assert!(!inside, "{id} is removed under a running container");
                self.sight.sandboxes.retain(|sandbox| sandbox.id != *id);
            }
            Action::RemoveVolumes => assert!(!self.sight.all().any(is_running)),
            Action::ConfirmDeletion => {
                assert!(self.sight.is_empty(), "confirmed while something is left");
                self.confirmed = true;
            }
        }
    }

    fn start(&mut self, pod: &DesiredPod, name: &Arc<str>, attempt: u32) {
        let sandbox = self.sight.sandbox().expect("a sandbox").id.clone();
        let part = pod.part(name).expect("a part");
        let taken = self
            .sight
            .latest(name)
            .is_some_and(|c| c.container.attempt >= attempt);
        assert!(!taken, "attempt {attempt} of {name} exists already");
        let state = match part.role {
            Role::Init => ContainerState::Exited {
                code: 0,
                oom_killed: false,
                started_at: self.now,
                finished_at: self.now,
                error: "".into(),
            },
            Role::Sidecar | Role::Main => ContainerState::Running {
                started_at: self.now,
            },
        };
        let container = ObservedContainer {
            id: ContainerId(format!("{name}{attempt}").into()),
            container: Container {
                pod: pod_ref(),
                name: Arc::clone(name),
                attempt,
            },
            sandbox,
            image: "".into(),
            image_id: "".into(),
            state,
            spec_hash: part.hash.clone(),
            created_at: self.now,
        };
        self.sight
            .containers
            .entry(Arc::clone(name))
            .or_default()
            .push(container);
    }

    fn end(&mut self, id: &ContainerId) {
        let now = self.now;
        for container in self
            .sight
            .containers
            .values_mut()
            .flatten()
            .filter(|c| c.id == *id)
        {
            container.state = ContainerState::Exited {
                code: 143,
                oom_killed: false,
                started_at: container.created_at,
                finished_at: now,
                error: "".into(),
            };
        }
    }

    /// Init containers that were running all along succeed now. Says whether there were any.
    fn end_inits(&mut self, pod: &DesiredPod) -> bool {
        let is_init = |name: &str| pod.part(name).is_some_and(|part| part.role == Role::Init);
        let now = self.now;
        let containers = self.sight.containers.values_mut().flatten();
        let mut inits: Vec<_> = containers
            .filter(|c| is_running(c) && is_init(&c.container.name))
            .collect();
        for container in &mut inits {
            container.state = ContainerState::Exited {
                code: 0,
                oom_killed: false,
                started_at: container.created_at,
                finished_at: now,
                error: "".into(),
            };
        }
        !inits.is_empty()
    }

    fn plan(&self, pod: &DesiredPod) -> PodPlan {
        let (desired, sights) = (Pods::new(), Sights::new());
        let (failures, health) = (Failures::default(), Health::default());
        let world = World {
            desired: &desired,
            sights: &sights,
            failures: &failures,
            health: &health,
            now: self.now,
        };
        plan_pod(&world, pod, &self.sight)
    }

    /// Plans and does until nothing is left to do, letting time pass where the plan waits.
    fn rest(&mut self, pod: &DesiredPod) {
        for _ in 0..PASSES_MAX {
            let plan = self.plan(pod);
            if plan.actions.is_empty() && self.end_inits(pod) {
                continue;
            }
            if self.confirmed || (plan.actions.is_empty() && plan.wake_at.is_none()) {
                return;
            }
            if plan.actions.is_empty() {
                self.now = plan.wake_at.map_or(self.now, |at| at.max(self.now));
            }
            for action in &plan.actions {
                self.apply(pod, action);
            }
        }
        panic!("no rest after {PASSES_MAX} passes: {:?}", self.plan(pod));
    }
}

fn any_pod() -> impl Strategy<Value = DesiredPod> {
    let policy = prop::sample::select(vec!["Always", "OnFailure", "Never"]);
    let parts = prop::sample::select(vec![
        "a",
        "a b",
        "i:init a",
        "s:sidecar a b",
        "i:init s:sidecar j:init a b",
    ]);
    let ends = prop::sample::select(vec!["", "deleted", "terminal", "late"]);
    (policy, parts, ends).prop_map(|(policy, parts, end)| {
        let mut pod = pod(policy, parts);
        match end {
            "deleted" => pod.deletion = Some(Duration::from_secs(5)),
            "terminal" => pod.terminal = true,
            "late" => pod.deadline = Some(at(1)),
            _ => {}
        }
        pod
    })
}

/// Anything that may have been left by agents, engines and people.
fn any_sight() -> impl Strategy<Value = Sight> {
    let sandboxes =
        prop::sample::select(vec!["", "sb0", "sb0!", "sb0! sb1", "sb0! sb1!", "sb0 sb1"]);
    let state = || prop::sample::select(vec!["", "+", ".", "=0", "=1", "=137@3", "=1@-50"]);
    let names = ["i", "j", "s", "a", "b"];
    let states = prop::collection::vec((state(), state()), names.len());
    (sandboxes, states).prop_map(move |(sandboxes, states)| {
        let mut words = sandboxes.to_owned();
        for (name, (first, second)) in names.iter().zip(states) {
            // Only the newest attempt may run or wait.
            let ended = if first.starts_with('=') {
                first
            } else {
                "=1@9"
            };
            if !second.is_empty() {
                words.push_str(&format!(" {name}0{ended} {name}1{second}"));
            } else if !first.is_empty() {
                words.push_str(&format!(" {name}0{first}"));
            }
        }
        sight(&words)
    })
}

proptest! {
    #[test]
    fn plans_come_to_rest_where_they_should(pod in any_pod(), sight in any_sight()) {
        // Containers of other pods' names are not in the runtime's list of this pod.
        let mut sight = sight;
        sight.containers.retain(|name, _| pod.part(name).is_some());
        let mut model = Model { sight, now: NOW, confirmed: false };
        model.rest(&pod);
        if pod.deletion.is_some() {
            prop_assert!(model.confirmed);
            return Ok(());
        }
        prop_assert_eq!(model.plan(&pod).actions, vec![], "a second plan must be empty");
        let over = is_over(&pod, &model.sight, model.now);
        prop_assert_eq!(model.sight.sandbox().is_none(), over);
        for part in &pod.parts {
            let latest = model.sight.latest(&part.name);
            let runs = latest.is_some_and(is_running);
            let done = latest.is_some_and(|c| {
                exit_code(c).is_some() && !will_restart(&pod, part, c)
            });
            match part.role {
                Role::Main | Role::Sidecar if over => prop_assert!(!runs),
                Role::Main => prop_assert!(runs || done),
                Role::Sidecar => prop_assert!(runs),
                Role::Init => prop_assert!(!runs || !over),
            }
            let kept = model.sight.containers.get(&part.name).map_or(0, Vec::len);
            prop_assert!(over || kept <= ATTEMPTS_KEPT);
        }
    }
}
