//! The same seed does the same, and the seeds that once found something find nothing any more.

use skiff_sim::{Fault, Options, seeds, simulate};

#[test]
fn a_seed_does_the_same_again_and_another_one_something_else() {
    let options = Options {
        length: std::time::Duration::from_secs(20),
        ..Options::short(11)
    };
    let first = simulate(&options);
    assert_eq!(first.violation, None, "{first}");
    assert!(first.operations > 20 && first.changes > 100, "{first}");
    let again = simulate(&options);
    assert_eq!((first.hash, first.events), (again.hash, again.events));
    let other = simulate(&Options {
        seed: 12,
        ..options
    });
    assert_ne!(first.hash, other.hash);
}

#[test]
fn one_server_alone_survives_crashes_of_itself_and_of_its_disk() {
    for seed in 1..=5 {
        let options = Options {
            servers: 1,
            nodes: 2,
            length: std::time::Duration::from_secs(20),
            faults: vec![
                Fault::Crash,
                Fault::TornWrite,
                Fault::DiskFull,
                Fault::SlowDisk,
            ],
            ..Options::short(seed)
        };
        let report = simulate(&options);
        assert_eq!(report.violation, None, "{report}");
    }
}

#[test]
fn seeds_that_found_something_find_nothing_any_more() {
    for options in seeds::all().unwrap() {
        let report = simulate(&options);
        assert_eq!(report.violation, None, "{report}");
    }
}

#[test]
fn a_few_seeds_with_all_faults_find_nothing() {
    for seed in 1..=5 {
        let report = simulate(&Options::short(seed));
        assert_eq!(report.violation, None, "{report}");
    }
}
