//! `skiff cluster recover`: makes one server that is left the only member, offline. Says first what
//! may be lost.

use std::fs;
use std::path::Path;

use skiff_control_plane::recovery::{
    self, DataDir, Found, Rebuilt, RecoveryError, Survivor, Verdict,
};

use crate::args::RecoverArgs;
use crate::error::CliError;
use crate::{print, process};

/// Runs the verb.
pub(crate) fn run(args: &RecoverArgs) -> Result<(), CliError> {
    process::start_log(false, "warn");
    let (Some(dir), others) = (args.data_dir.first(), args.data_dir.get(1..)) else {
        return Err(CliError::Usage(
            "name a data directory with --data-dir".into(),
        ));
    };
    let others = others.unwrap_or_default();
    let (data, found) = open(dir)?;
    if args.report {
        return report(&found.survivor, others.is_empty());
    }
    let mut survivors = vec![found.survivor.clone()];
    for other in others {
        survivors.push(open(other)?.1.survivor);
    }
    for file in &args.survivor {
        survivors.push(read_report(file)?);
    }
    let verdict = recovery::judge(&survivors, 0)
        .map_err(|source| process::process("cannot compare the servers", source))?;
    for line in recovery::explain(&survivors, &verdict) {
        print::line(&line)?;
    }
    if verdict.done {
        return Ok(());
    }
    if !args.yes {
        return print::line(&proposal(dir, &verdict));
    }
    if verdict.needs_force() && !args.force {
        let why = "nothing was changed: something better can be done, see above; --force does it \
                   all the same";
        return Err(CliError::Usage(why.into()));
    }
    let mut config = data.store().map_err(failed)?;
    let rebuilt = recovery::rebuild(&mut config, found, args.bump_revision).map_err(failed)?;
    print::line(&next_steps(dir, &rebuilt))
}

fn open(dir: &Path) -> Result<(DataDir, Found), CliError> {
    let data = DataDir::open(dir).map_err(failed)?;
    let found = data.examine().map_err(failed)?;
    Ok((data, found))
}

fn failed(source: RecoveryError) -> CliError {
    process::process("cannot recover the server", source)
}

fn report(survivor: &Survivor, alone: bool) -> Result<(), CliError> {
    if !alone {
        let message = "--report is about one server: name one --data-dir";
        return Err(CliError::Usage(message.into()));
    }
    let text = serde_json::to_string_pretty(survivor)
        .map_err(|source| process::process("cannot write the report", source))?;
    print::line(&text)
}

fn read_report(path: &Path) -> Result<Survivor, CliError> {
    let text = fs::read(path).map_err(|source| CliError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&text).map_err(|source| {
        let doing = format!("{} is no report of `recover --report`", path.display());
        process::process(doing, source)
    })
}

fn proposal(dir: &Path, verdict: &Verdict) -> String {
    if verdict.needs_force() {
        return "Nothing was changed.".into();
    }
    format!(
        "Nothing was changed. If the other servers are lost for good, do it with the same command \
         and --yes; then start the server on {}",
        dir.display()
    )
}

fn next_steps(dir: &Path, rebuilt: &Rebuilt) -> String {
    let (dir, mark) = (dir.display(), &rebuilt.mark);
    format!(
        "Done: the server is the only member, with {} objects up to entry {}; resourceVersions go \
         on at {}\n\
         Start it as before:\n  \
         skiff server --data-dir {dir}\n\
         No other server may ever start again with what it has: two control planes would give out \
         orders. On each of them, stop the server, move its data directory away, and let it join \
         anew:\n  \
         mv DIR DIR.old\n  \
         skiff server --data-dir DIR --join https://HOST:PORT --token TOKEN\n\
         On this one, `skiff cluster add` prints that command with the token in it.",
        rebuilt.objects, mark.index, mark.revision
    )
}
