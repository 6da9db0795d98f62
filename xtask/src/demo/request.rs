//! One HTTP request to a port of this machine.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::shell::{Done, Failure};

/// The shop gives up on its own neighbours sooner.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// A POST without a body; returns the answer's body.
///
/// # Errors
/// Nobody listens, or the answer is not a success.
pub(super) fn post(port: u16, target: &str) -> Done<String> {
    let asked = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        write!(
            stream,
            "POST {target} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let url = format!("POST http://127.0.0.1:{port}{target}");
    let answer = asked().map_err(|why| Failure::Broken(format!("{url}: {why}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.starts_with("HTTP/1.1 2") {
        return Ok(format!("$ {url}\n{}", body.trim_end()));
    }
    Err(Failure::Broken(format!("{url}: {answer}")))
}
