//! One HTTP request to a port of this machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::shell::{Done, Failure};

/// A visitor who waits longer has gone.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A GET; returns the answer's body.
///
/// # Errors
/// Nobody listens, or the answer is not a success.
pub(super) fn get(port: u16, target: &str) -> Done<String> {
    ask("GET", port, target)
}

/// A POST without a body; returns the answer's body.
///
/// # Errors
/// Nobody listens, or the answer is not a success.
pub(super) fn post(port: u16, target: &str) -> Done<String> {
    ask("POST", port, target)
}

fn ask(method: &str, port: u16, target: &str) -> Done<String> {
    let asked = || -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: shop\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let url = format!("{method} http://127.0.0.1:{port}{target}");
    let answer = asked().map_err(|why| Failure::Broken(format!("{url}: {why}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.starts_with("HTTP/1.1 2") {
        return Ok(format!("$ {url}\n{}", body.trim_end()));
    }
    let first = head.lines().next().unwrap_or("no answer");
    let why = format!("{url}: {first}: {}", body.trim());
    Err(Failure::Broken(why))
}
