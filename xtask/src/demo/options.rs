//! What the command line of `demo` asks for.

use crate::shell::{Done, Failure};

const USAGE: &str = "demo takes --servers 1|3|5 and --keep, or --stop alone";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Show the demo.
    Show(Options),
    /// End a demo that was left running.
    Stop,
}

/// How to show it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// How many servers; odd, since an even one more bears no more losses.
    pub(super) servers: usize,
    /// Leave everything running at the end.
    pub(super) keep: bool,
}

/// Reads the arguments.
///
/// # Errors
/// [`Failure::Usage`].
pub(super) fn parse(args: &[String]) -> Done<Wish> {
    let mut options = Options {
        servers: 1,
        keep: false,
    };
    let usage = || Failure::Usage(USAGE.to_owned());
    let mut args = args.iter().map(String::as_str);
    let mut first = true;
    while let Some(arg) = args.next() {
        match arg {
            "--stop" if first && args.next().is_none() => return Ok(Wish::Stop),
            "--keep" => options.keep = true,
            "--servers" => {
                options.servers = match args.next() {
                    Some("1") => 1,
                    Some("3") => 3,
                    Some("5") => 5,
                    _ => return Err(usage()),
                }
            }
            _ => return Err(usage()),
        }
        first = false;
    }
    Ok(Wish::Show(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_unless_told_otherwise() {
        let show = |servers, keep| Some(Wish::Show(Options { servers, keep }));
        let cases = [
            ("", show(1, false)),
            ("--keep", show(1, true)),
            ("--servers 3", show(3, false)),
            ("--keep --servers 5", show(5, true)),
            ("--stop", Some(Wish::Stop)),
            ("--stop --keep", None),
            ("--keep --stop", None),
            ("--servers", None),
            ("--servers 2", None),
            ("--nodes 3", None),
        ];
        for (line, expected) in cases {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(parse(&args).ok(), expected, "{line}");
        }
    }
}
