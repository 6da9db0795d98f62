//! What an idle server and an idle agent keep in memory.

use std::time::Duration;

use rustix::process::Pid;
use skiff_tests::cluster::Cluster;
use skiff_tests::wait;

use crate::machine;
use crate::report::Row;

/// Long enough for start-up buffers to be given back and every timer to have run.
const IDLE: Duration = Duration::from_secs(60);
const SAMPLES: usize = 10;

/// All figures of this benchmark.
pub(crate) fn rows() -> Vec<Row> {
    let mut cluster = Cluster::with_agents(1);
    let agent_name = format!("{}-1", cluster.prefix);
    let server = cluster.server.pid();
    let agent = cluster.agent(&agent_name).pid();
    let before = [server, agent].map(machine::cpu);
    wait::pause(IDLE);
    let after = [server, agent].map(machine::cpu);

    let (mut server_mb, mut agent_mb) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        server_mb.push(machine::resident_mb(server));
        agent_mb.push(machine::resident_mb(agent));
        wait::pause(Duration::from_secs(1));
    }
    let share = |at: usize, _: Pid| {
        let spent = after[at].saturating_sub(before[at]);
        spent.as_secs_f64() / IDLE.as_secs_f64() * 100.0
    };
    vec![
        Row::new("server, idle for 60 s", "MB", &server_mb).at_most(50.0),
        Row::new("agent, idle for 60 s", "MB", &agent_mb).at_most(20.0),
        Row::new("server, idle: share of a core", "%", &[share(0, server)]),
        Row::new("agent, idle: share of a core", "%", &[share(1, agent)]),
    ]
}
