//! Which endpoint of a backend a request gets, as tables.

use super::*;
use crate::route::PortRef;

fn upstream(endpoints: Vec<Arc<Endpoint>>) -> Upstream {
    let backend = Backend {
        service: skiff_network::ServiceKey {
            namespace: "d".into(),
            name: "web".into(),
        },
        port: PortRef::Number(80),
    };
    let upstream = Upstream::new(backend);
    upstream.set_state(State::new(Protocol::default(), endpoints, None));
    upstream
}

fn endpoint(number: u16, since: Tick) -> Arc<Endpoint> {
    Arc::new(Endpoint::new(([10, 0, 0, 1], number).into(), since, 1))
}

#[test]
fn who_comes_too_late_finds_nobody_instead_of_asking_for_ever() {
    let all = || vec![endpoint(1, 0), endpoint(2, 0)];
    let removed = upstream(all());
    removed.retire();
    let only_retired = upstream(all());
    for endpoint in &only_retired.state().endpoints {
        endpoint.retire();
    }
    let cases = [
        ("its Ingress was deleted", removed),
        ("all that is known is retired", only_retired),
    ];
    for (name, upstream) in cases {
        let picked = upstream.pick((1, 0), None);
        assert_eq!(picked.unwrap_err(), Trouble::NoEndpoints, "{name}");
        let open = upstream.endpoints(1).iter().map(|one| one.1).sum::<u32>();
        assert_eq!(open, 0, "{name}: nobody is counted as served");
    }
}

#[test]
fn new_endpoints_are_spared_only_beside_older_ones() {
    const PICKS: usize = 3000;
    let cases = [
        (
            "all came just now",
            [1000, 1000, 1000],
            [850..1150, 850..1150, 850..1150],
        ),
        ("all are warm", [0, 0, 0], [850..1150, 850..1150, 850..1150]),
        (
            "one came just now",
            [1000, 0, 0],
            [50..400, 1200..1600, 1200..1600],
        ),
        (
            "one is a little ahead",
            [1005, 1000, 1005],
            [500..1000, 1100..1900, 500..1000],
        ),
    ];
    for (name, since, expected) in cases {
        let numbered = (0..).zip(since);
        let all = numbered.map(|(number, since)| endpoint(number, since));
        let upstream = upstream(all.collect());
        let mut counts = [0; 3];
        for _ in 0..PICKS {
            let lease = upstream.pick((1010, 10_000), None).unwrap();
            counts[usize::from(lease.endpoint.address.port())] += 1;
        }
        for (count, expected) in counts.iter().zip(expected) {
            assert!(expected.contains(count), "{name}: {counts:?}");
        }
    }
}
