//! `cargo xtask VERB`: the one list of verbs that people, the README and CI share.
//! Needs nothing but cargo: no dependency, so that the first answer comes at once.

mod bench;
mod check;
mod demo;
mod image;
mod shell;
mod sim;
mod suites;
mod table;
mod test;
mod tools;

use std::process::ExitCode;

use shell::{Done, Failure};

const USAGE: &str = "\
usage: cargo xtask VERB

  demo [--servers 3] [--keep]
                   the whole path on this machine: a server, three agents, a shop, some accidents;
                   with --servers 3 also the loss of the leading server under a stream of writes;
                   --keep leaves it running, `demo --stop` ends it
  test [ARGS…]     every test; ARGS go to the test runner
  check            format, lints, dependency rules and house rules; writes nothing
  fix              what `check` asks for and a tool can do by itself
  bench [NAME]…    boot, memory, api, api3, pods, rollout, services, gateway, failover, slowdisk
                   (all, if none is named); --json FILE, --kills N of failover (30),
                   --minutes N of slowdisk (10), --rounds N of gateway (5);
                   --dist measures the binary as it is shipped: smaller, and long to build;
                   api brings api3 along; failover measures etcd too where Debian's is installed
  sim [ARGS…]      a thousand simulated clusters; --seeds N, --from N, or arguments of `skiff sim`
  image            the demo shop's images skiff/shop:v1 and :v2";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Done {
    let (verb, rest) = match args.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", args),
    };
    match verb {
        "bench" => bench::bench(rest),
        "check" => check::check(),
        "demo" => demo::demo(rest),
        "fix" => check::fix(),
        "image" => image::shop(),
        "sim" => sim::sim(rest),
        "test" => test::test(rest),
        "help" | "-h" | "--help" => {
            shell::say(USAGE);
            Ok(())
        }
        other => Err(Failure::Usage(format!("no verb `{other}`\n{USAGE}"))),
    }
}
