//! The `skiff` binary: server, agent and command line in one.
//! Reads arguments, runs one verb, turns its error into one line and an exit code.

mod age;
mod agent;
mod annotate;
mod apply;
mod args;
mod cluster;
mod connect;
mod create;
mod delete;
mod describe;
mod dev;
mod dns;
mod drain;
mod edit;
mod error;
mod events;
mod expose;
mod gateway;
mod get;
mod input;
mod json;
mod jsonpath;
mod logs;
mod merge;
mod print;
mod process;
mod resource;
mod rollout;
mod scale;
mod server;
mod set_image;
mod sim;
mod table;
mod version;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Ask, Cli, Command, Connection};
use error::CliError;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return print::usage(&error),
    };
    // A resolver waits most of its life: one thread is enough, and others would cost memory.
    let mut builder = if matches!(cli.command, Command::Dns(_)) {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = builder.enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(Box::pin(run(cli))),
        Err(source) => Err(CliError::Runtime(source)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(cli: Cli) -> Result<(), CliError> {
    let connection = &cli.connection;
    match cli.command {
        Command::Dev(args) => Box::pin(dev::run(args)).await,
        Command::Server(args) => Box::pin(server::run(args)).await,
        Command::Agent(args) => Box::pin(agent::run(args)).await,
        Command::Dns(args) => dns::run(args).await,
        Command::Cluster(verb) => cluster::run(connection, verb).await,
        Command::Gateway(verb) => gateway::run(connection, verb).await,
        Command::Sim(args) => sim::run(args).await,
        Command::Completion { shell } => complete(shell),
        Command::Version(args) => version::run(connection, &args).await,
        Command::Ask(verb) => ask(connection, verb).await,
    }
}

/// The verbs that ask a server.
async fn ask(connection: &Connection, verb: Ask) -> Result<(), CliError> {
    let cluster = connect::connect(connection)?;
    match verb {
        Ask::Apply(args) => apply::run(&cluster, &args).await,
        Ask::Create(args) => create::create(&cluster, &args).await,
        Ask::Replace(args) => create::replace(&cluster, &args).await,
        Ask::Get(args) => get::run(&cluster, &args).await,
        Ask::Describe(args) => describe::run(&cluster, &args).await,
        Ask::Logs(args) => logs::run(&cluster, &args).await,
        Ask::Scale(args) => scale::run(&cluster, &args).await,
        Ask::Expose(args) => expose::run(&cluster, &args).await,
        Ask::Set(args) => set_image::run(&cluster, &args).await,
        Ask::Rollout(args) => rollout::run(&cluster, &args).await,
        Ask::Delete(args) => delete::run(&cluster, &args).await,
        Ask::Cordon(args) => drain::cordon(&cluster, &args, drain::Mark::Cordon).await,
        Ask::Uncordon(args) => drain::cordon(&cluster, &args, drain::Mark::Uncordon).await,
        Ask::Drain(args) => drain::drain(&cluster, &args).await,
        Ask::Events(args) => events::run(&cluster, &args).await,
        Ask::Wait(args) => wait::run(&cluster, &args).await,
        Ask::Label(args) => annotate::run(&cluster, &args, annotate::Field::Labels).await,
        Ask::Annotate(args) => annotate::run(&cluster, &args, annotate::Field::Annotations).await,
        Ask::Edit(args) => edit::run(&cluster, &args).await,
    }
}

fn complete(shell: clap_complete::Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "skiff", &mut script);
    print::bytes(&script)
}
