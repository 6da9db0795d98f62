//! Runs the program `nft`. A text is taken by the kernel as a whole or not at all.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longest time for one change. A thousand services take a third of a second.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Where the program is; the path of a service manager often lacks root's folders.
const PROGRAMS: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// Most of nft's words that are repeated: it prints three lines for every wrong statement.
const WORDS_MAX: usize = 600;

/// Why the kernel did not take a change.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// There is no such program.
    #[error("the program nft is not installed (on Debian: apt-get install nftables)")]
    Missing,
    /// It did not start.
    #[error("start nft")]
    Start(#[source] io::Error),
    /// It could not be talked to.
    #[error("talk to nft")]
    Talk(#[source] io::Error),
    /// It took too long.
    #[error("nft did not finish within {} s", TIME_MAX.as_secs())]
    Slow,
    /// It, or the kernel, said no.
    #[error("nft: {0}")]
    Refused(String),
}

/// Has the kernel take a text.
///
/// # Errors
/// Why it did not. After [`Failed::Slow`] and [`Failed::Talk`] it may have taken it all the same.
pub(super) async fn apply(text: &str) -> Result<(), Failed> {
    let mut child = start()?;
    let stdin = child.stdin.take();
    let tell = async {
        if let Some(mut stdin) = stdin {
            stdin.write_all(text.as_bytes()).await?;
        }
        Ok::<(), io::Error>(())
    };
    let both = async { tokio::join!(tell, child.wait_with_output()) };
    let (told, output) = timeout(TIME_MAX, both).await.map_err(|_| Failed::Slow)?;
    let output = output.map_err(Failed::Talk)?;
    if !output.status.success() {
        return Err(Failed::Refused(words(&output)));
    }
    told.map_err(Failed::Talk)
}

fn start() -> Result<Child, Failed> {
    for program in PROGRAMS {
        let child = Command::new(program)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        match child {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map_err(Failed::Start),
        }
    }
    Err(Failed::Missing)
}

/// What nft said, in one line.
fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line: Vec<&str> = text.split_whitespace().collect();
    let line: String = line.join(" ").chars().take(WORDS_MAX).collect();
    if line.is_empty() {
        return output.status.to_string();
    }
    line
}
