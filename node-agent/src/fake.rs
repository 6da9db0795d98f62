//! A server in this process for tests: plain HTTP/1.1, one request per connection, answered by what
//! a closure says to its first line.

use std::path::Path;

use skiff_client::Server;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite,
    AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::task::AbortOnDropHandle;

/// Starts it; it ends when the handle is dropped.
pub(crate) async fn server(
    mut answer: impl FnMut(&str) -> (u16, String) + Send + 'static,
) -> (Server, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            exchange(stream, &mut answer).await;
        }
    });
    let server = format!("http://{address}").parse().unwrap();
    (server, AbortOnDropHandle::new(task))
}

/// The same on a socket of the file system.
pub(crate) fn unix(
    path: &Path,
    mut answer: impl FnMut(&str) -> (u16, String) + Send + 'static,
) -> AbortOnDropHandle<()> {
    let listener = UnixListener::bind(path).unwrap();
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            exchange(stream, &mut answer).await;
        }
    }))
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    mut answer: impl FnMut(&str) -> (u16, String),
) {
    let mut stream = BufReader::new(stream);
    let (code, body) = answer(&read(&mut stream).await);
    let length = body.len();
    let head = format!("HTTP/1.1 {code} X\r\ncontent-length: {length}");
    let whole = format!("{head}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(whole.as_bytes()).await.unwrap();
}

/// Reads a request to its end; returns its first line.
async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> String {
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).await.unwrap();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if let Some(found) = line.to_lowercase().strip_prefix("content-length:") {
            length = found.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    first
}
