//! Seeds that once found something: `sim/seeds.txt`, replayed by a test.

use std::str::FromStr;
use std::time::Duration;

use crate::options::{Fault, Options};

/// The file's text.
const SEEDS: &str = include_str!("../seeds.txt");

/// The simulations in the file.
///
/// # Errors
/// The first line that cannot be read, and why.
pub fn all() -> Result<Vec<Options>, String> {
    let lines = SEEDS.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            let arguments = line
                .split_once('#')
                .map_or(line, |(arguments, _)| arguments);
            parse(arguments).map_err(|why| format!("seeds.txt:{}: {why}", number + 1))
        })
        .collect()
}

/// Reads options as they are printed: the arguments of `skiff sim`.
///
/// # Errors
/// Which of them cannot be read.
pub fn parse(arguments: &str) -> Result<Options, String> {
    let mut options = Options::short(0);
    let mut words = arguments.split_whitespace();
    while let Some(flag) = words.next() {
        let value = words
            .next()
            .ok_or_else(|| format!("{flag} lacks a value"))?;
        match flag {
            "--seed" => options.seed = number(flag, value)?,
            "--servers" => options.servers = number(flag, value)?,
            "--nodes" => options.nodes = number(flag, value)?,
            "--seconds" => options.length = Duration::from_secs(number(flag, value)?),
            "--faults" => {
                let names = value.split(',').filter(|name| !name.is_empty());
                options.faults = names.map(Fault::from_str).collect::<Result<_, _>>()?;
            }
            other => return Err(format!("there is no {other}")),
        }
    }
    Ok(options)
}

fn number<T: FromStr>(flag: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{flag} {value} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_they_are_printed() {
        let mut options = Options::short(7);
        options.faults = vec![Fault::Crash, Fault::SlowDisk];
        assert_eq!(parse(&options.to_string()), Ok(options));
        assert!(parse("--seed x").is_err());
        assert!(parse("--seed").is_err());
        assert!(parse("--sed 1").is_err());
        assert!(parse("--seed 1 --faults crash,earthquake").is_err());
    }
}
