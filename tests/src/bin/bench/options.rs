//! What the command line asks of the benchmarks.

use std::path::PathBuf;
use std::str::FromStr;

/// Minutes of writes in `slowdisk`, for each of its two parts.
const MINUTES: u32 = 10;
/// Leaders that `failover` kills.
const KILLS: u32 = 30;
/// Rounds of `gateway` for each proxy and number of connections.
const ROUNDS: u32 = 5;

/// The command line, read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Benchmarks by name; all of them if none is named.
    pub(crate) names: Vec<String>,
    /// Where the figures go as JSON.
    pub(crate) json: Option<PathBuf>,
    /// How long each part of `slowdisk` writes.
    pub(crate) minutes: u32,
    /// How many leaders `failover` kills.
    pub(crate) kills: u32,
    /// How often `gateway` measures each proxy.
    pub(crate) rounds: u32,
}

impl Options {
    /// Reads the arguments; `known` are the names that there are.
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub(crate) fn parse(
        args: impl IntoIterator<Item = String>,
        known: &[&str],
    ) -> Result<Self, String> {
        let mut options = Self {
            names: Vec::new(),
            json: None,
            minutes: MINUTES,
            kills: KILLS,
            rounds: ROUNDS,
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--json" => options.json = Some(value(&arg, args.next())?),
                "--minutes" => options.minutes = at_least_one(&arg, args.next())?,
                "--kills" => options.kills = at_least_one(&arg, args.next())?,
                "--rounds" => options.rounds = at_least_one(&arg, args.next())?,
                name if known.contains(&name) => options.names.push(arg),
                other => return Err(format!("no bench is called `{other}`")),
            }
        }
        Ok(options)
    }

    /// Whether a benchmark is to run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

fn at_least_one(flag: &str, text: Option<String>) -> Result<u32, String> {
    let number = value(flag, text)?;
    if number == 0 {
        return Err(format!("{flag}: at least 1"));
    }
    Ok(number)
}

fn value<T: FromStr>(flag: &str, text: Option<String>) -> Result<T, String> {
    let text = text.ok_or_else(|| format!("{flag}: a value must follow"))?;
    text.parse()
        .map_err(|_| format!("{flag}: `{text}` is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_documented_and_what_is_wrong_is_refused() {
        let cases = [
            ("", Ok((true, true, [MINUTES, KILLS, ROUNDS]))),
            ("boot", Ok((true, false, [MINUTES, KILLS, ROUNDS]))),
            ("pods --minutes 1", Ok((false, true, [1, KILLS, ROUNDS]))),
            (
                "boot --kills 3 pods",
                Ok((true, true, [MINUTES, 3, ROUNDS])),
            ),
            ("--rounds 2 boot", Ok((true, false, [MINUTES, KILLS, 2]))),
            ("--kills 0", Err("--kills: at least 1")),
            ("--kills", Err("--kills: a value must follow")),
            ("--minutes soon", Err("--minutes: `soon` is not a number")),
            ("bots", Err("no bench is called `bots`")),
        ];
        for (line, expected) in cases {
            let args = line.split_whitespace().map(str::to_owned);
            let parsed = Options::parse(args, &["boot", "pods"]);
            let seen = parsed.map(|it| {
                let numbers = [it.minutes, it.kills, it.rounds];
                (it.wants("boot"), it.wants("pods"), numbers)
            });
            assert_eq!(seen, expected.map_err(str::to_owned), "{line}");
        }
    }
}
