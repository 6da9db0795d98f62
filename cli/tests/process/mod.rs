//! The program as a process of its own, and a download that goes as a test wants.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

pub(crate) fn skiff(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skiff"));
    command
        .args(args)
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    skiff(args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
pub(crate) fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[track_caller]
pub(crate) fn bad(output: &Output) -> String {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().count(), 1, "an error is one line: {error}");
    error
}

/// A server as a process, killed at the end. It ends by itself when nobody reads its output.
pub(crate) struct Server {
    child: Child,
    _out: BufReader<ChildStdout>,
}

impl Server {
    /// Starts it; when this returns, it answers.
    pub(crate) fn start(dir: &Path) -> Self {
        let dir = dir.to_str().unwrap();
        let mut child = skiff(&["server", "--data-dir", dir, "--listen", "127.0.0.1:0"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        assert!(line.starts_with("The API is at"), "{line:?}");
        Self { child, _out: out }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Runs a verb with the kubeconfig of a data directory.
pub(crate) fn ask(dir: &Path, args: &[&str]) -> Output {
    let config = dir.join("admin.kubeconfig");
    skiff(args)
        .arg("--kubeconfig")
        .arg(config)
        .output()
        .unwrap()
}

/// Serves one answer of these bytes, which says that it has `declared` of them.
fn serve_once(bytes: Vec<u8>, declared: usize) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {declared}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        // A client that has seen enough hangs up.
        drop(stream.write_all(&bytes));
    });
    (address, thread)
}

/// Downloads from an answer of these bytes into a file.
pub(crate) fn download(bytes: &[u8], declared: usize, file: &Path) -> Output {
    let (address, thread) = serve_once(bytes.to_vec(), declared);
    let url = format!("http://{address}");
    let output = run(&[
        "cluster",
        "backup",
        file.to_str().unwrap(),
        "--server",
        &url,
    ]);
    thread.join().unwrap();
    output
}

/// Runs `cluster recover` on a data directory.
pub(crate) fn recover(dir: &Path, more: &[&str]) -> Output {
    let mut command = skiff(&["cluster", "recover", "--data-dir"]);
    command.arg(dir).args(more).output().unwrap()
}
