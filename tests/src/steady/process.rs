//! The load as a process: started on a host, ended by closing its input, its accounts read from its
//! output.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::account::Account;
use super::client::{Stream, drive};

/// The load at work.
pub struct Steady {
    child: Child,
}

impl Steady {
    /// Starts the program on the host that `wrap` stands for, with so many clients for each stream,
    /// each sending one request per `pace`.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    pub fn start(
        wrap: impl FnOnce(&Path) -> Command,
        streams: &[Stream],
        clients: usize,
        pace: Duration,
    ) -> Self {
        let child = wrap(&program())
            .args([clients.to_string(), pace.as_millis().to_string()])
            .args(streams.iter().map(Stream::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the load");
        Self { child }
    }

    /// Ends the load and returns each stream's account by its name.
    ///
    /// # Panics
    /// If the program failed.
    #[must_use]
    pub fn stop(mut self) -> BTreeMap<String, Account> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        let out = self.child.stdout.as_mut().expect("its output is piped");
        out.read_to_string(&mut text).expect("read the accounts");
        serde_json::from_str(&text).expect("accounts as JSON")
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        // After `stop` it has ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().expect("wait for the load's end");
    }
}

/// The program, built beside whatever asks: a benchmark in the folder itself, a test one below.
///
/// # Panics
/// If it was not built.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("our own path");
    let mut folders = own.ancestors().skip(1).take(2);
    folders
        .find_map(|folder| {
            let path = folder.join("steady");
            path.is_file().then_some(path)
        })
        .expect("the program `steady` is built with this package")
}

/// The program itself: `steady CLIENTS PACE_MS STREAM…`.
///
/// # Errors
/// What is wrong with the arguments.
///
/// # Panics
/// If the machine has no resources for a runtime.
pub fn run(args: impl IntoIterator<Item = String>) -> Result<String, String> {
    let mut args = args.into_iter();
    let mut number = |what: &str| {
        let text = args.next().ok_or_else(|| format!("{what}: missing"))?;
        text.parse::<u32>().map_err(|_| format!("{what}: `{text}`"))
    };
    let (clients, pace) = (number("CLIENTS")?, number("PACE_MS")?);
    let pace = Duration::from_millis(pace.into());
    let streams = args.map(|text| text.parse());
    let streams: Vec<Stream> = streams.collect::<Result<_, String>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        // Nothing is ever sent there; it ends with whoever started us.
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap_or(0);
        told.store(true, Ordering::Relaxed);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let accounts = runtime.block_on(async {
        let mut under_way = Vec::new();
        for stream in streams {
            for _ in 0..clients {
                let client = drive(stream.clone(), pace, Arc::clone(&stop));
                under_way.push((stream.name.clone(), tokio::spawn(client)));
            }
        }
        let mut accounts: BTreeMap<String, Account> = BTreeMap::new();
        for (name, client) in under_way {
            let account = client.await.expect("a client ends well");
            accounts.entry(name).or_default().add(account);
        }
        accounts.values_mut().for_each(Account::close);
        accounts
    });
    serde_json::to_string(&accounts).map_err(|err| err.to_string())
}
