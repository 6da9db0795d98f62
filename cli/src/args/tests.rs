//! The command line itself: that it is sound, that help is golden, how values are read.

use std::time::Duration;

use clap::CommandFactory;

use super::*;

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn lengths_of_time_are_read() {
    let cases = [
        ("0", Some(0)),
        ("30", Some(30)),
        ("30s", Some(30)),
        ("5m", Some(300)),
        ("1h30m", Some(5400)),
        ("-1", Some(7 * 24 * 3600)),
        ("", None),
        ("5", Some(5)),
        ("5d", None),
        ("m", None),
        ("1h2", None),
    ];
    for (text, expected) in cases {
        assert_eq!(
            parse_duration(text).ok(),
            expected.map(Duration::from_secs),
            "{text:?}"
        );
    }
}

#[test]
fn verbs_about_servers_are_read() {
    let good = [
        "cluster status -o json",
        "cluster add",
        "cluster add b --data-dir d --advertise h:1",
        "cluster remove b --force",
        "cluster promote 2",
        "cluster transfer --to b",
        "server --data-dir d --join https://a:1,https://b:1 --token t --name n",
    ];
    for words in good {
        let words = ["skiff"].into_iter().chain(words.split(' '));
        assert!(Cli::try_parse_from(words.clone()).is_ok(), "{words:?}");
    }
    for words in [
        "cluster",
        "cluster remove",
        "cluster promote",
        "cluster add a b",
    ] {
        let words = ["skiff"].into_iter().chain(words.split(' '));
        assert!(Cli::try_parse_from(words.clone()).is_err(), "{words:?}");
    }
}

#[test]
fn verbs_of_the_cluster_are_read() {
    let good = [
        "cluster backup b.skiff",
        "cluster backup -",
        "cluster backup b.skiff --with-keys",
        "cluster restore b.skiff --data-dir d",
        "cluster restore b.skiff --data-dir d --name a --pki p --bump-revision 1",
        "cluster restore b.skiff --data-dir d --new-ca",
        "cluster recover --data-dir d",
        "cluster recover --data-dir d --report",
        "cluster recover --data-dir d --data-dir e --survivor s.json --yes --force",
    ];
    let bad = [
        ("cluster backup", "required"),
        ("cluster restore b.skiff", "--data-dir"),
        ("cluster restore --data-dir d", "FILE"),
        (
            "cluster restore b --data-dir d --pki p --new-ca",
            "cannot be used with",
        ),
        (
            "cluster restore b --data-dir d --bump-revision 0",
            "--bump-revision",
        ),
        ("cluster recover", "--data-dir"),
        ("cluster recover --data-dir d --force", "--yes"),
        (
            "cluster recover --data-dir d --report --yes",
            "cannot be used with",
        ),
        (
            "cluster recover --data-dir d --report --survivor s",
            "cannot be used with",
        ),
    ];
    let parse = |words: &str| Cli::try_parse_from(["skiff"].into_iter().chain(words.split(' ')));
    for words in good {
        assert!(parse(words).is_ok(), "{words}");
    }
    for (words, expected) in bad {
        let error = parse(words).unwrap_err().to_string();
        assert!(error.contains(expected), "{words}: {error}");
    }
}

/// Help as it reads on a terminal of 100 columns, whatever the variables of this process are.
fn help(path: &[&str]) -> String {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut command = &mut command;
    for name in path {
        command = command.find_subcommand_mut(name).unwrap();
    }
    let plain = command.clone().mut_args(|arg| arg.hide_env_values(true));
    plain.term_width(100).render_long_help().to_string()
}

#[test]
fn help_is_golden() {
    let paths: Vec<Vec<&str>> = vec![
        vec![],
        vec!["dev"],
        vec!["server"],
        vec!["agent"],
        vec!["apply"],
        vec!["create"],
        vec!["get"],
        vec!["describe"],
        vec!["logs"],
        vec!["scale"],
        vec!["expose"],
        vec!["set", "image"],
        vec!["rollout"],
        vec!["rollout", "status"],
        vec!["rollout", "undo"],
        vec!["delete"],
        vec!["drain"],
        vec!["events"],
        vec!["wait"],
        vec!["label"],
        vec!["cluster"],
        vec!["cluster", "status"],
        vec!["cluster", "add"],
        vec!["cluster", "remove"],
        vec!["cluster", "transfer"],
        vec!["cluster", "backup"],
        vec!["cluster", "restore"],
        vec!["cluster", "recover"],
        vec!["sim"],
    ];
    for path in paths {
        let name = if path.is_empty() {
            "skiff".to_owned()
        } else {
            path.join("-")
        };
        let file = format!("{}/tests/help/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let golden = snapbox::Data::read_from(std::path::Path::new(&file), None);
        snapbox::assert_data_eq!(help(&path), golden.raw());
    }
}
