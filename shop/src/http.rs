//! As much HTTP/1.1 as the shop needs: one request per connection, small heads, answers with a
//! length. What is larger or slower than the limits here is refused.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A peer that is silent for this long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Request line and headers together; the shop's own are under 200 bytes.
const HEAD_BYTES_MAX: u64 = 16 * 1024;
/// A neighbour's answer; carts and orders are lists of a few words.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path without its query.
    pub(crate) path: String,
    /// The query as sent, or nothing.
    pub(crate) query: String,
}

impl Request {
    /// The value of `name=value` in the query; values are taken as they are.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(key, value)| {
                let wanted = key == name;
                wanted.then_some(value)
            })
    }
}

/// What is answered: always JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Reads one request's head; a body is neither expected nor read.
///
/// # Errors
/// The peer's silence or end, a head over the limit, or something that is not HTTP.
pub(crate) fn read_request(stream: &TcpStream) -> io::Result<Request> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    parse_request(&mut BufReader::new(stream.take(HEAD_BYTES_MAX)))
}

fn parse_request(head: &mut impl BufRead) -> io::Result<Request> {
    let mut first = String::new();
    head.read_line(&mut first)?;
    let mut words = first.split_ascii_whitespace();
    let (Some(method), Some(target), Some(_)) = (words.next(), words.next(), words.next()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not an HTTP request",
        ));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
    };
    skip_headers(head)?;
    Ok(request)
}

fn skip_headers(head: &mut impl BufRead) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the head has no end",
            ));
        }
        if line.trim_end().is_empty() {
            return Ok(());
        }
    }
}

/// Writes an answer; the connection ends with it.
///
/// # Errors
/// The peer went away.
pub(crate) fn write_response(mut stream: &TcpStream, response: &Response) -> io::Result<()> {
    let Response { status, body } = response;
    let reason = match status {
        200 => "OK",
        201 => "Created",
        404 => "Not Found",
        405 => "Method Not Allowed",
        502 => "Bad Gateway",
        _ => "Service Unavailable",
    };
    let text = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}\n",
        body.len() + 1
    );
    stream.write_all(text.as_bytes())
}

/// Asks a neighbour and returns its answer's status and body.
///
/// # Errors
/// The neighbour can't be reached, stays silent, or does not speak HTTP.
pub(crate) fn call(address: &str, method: &str, target: &str) -> io::Result<Response> {
    let unknown = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let resolved = address.to_socket_addrs()?.next().ok_or_else(unknown)?;
    let mut stream = TcpStream::connect_timeout(&resolved, SILENCE_MAX)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;

    let mut answer = BufReader::new(stream.take(ANSWER_BYTES_MAX));
    let mut first = String::new();
    answer.read_line(&mut first)?;
    let status = first
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok());
    let Some(status) = status else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not an HTTP answer",
        ));
    };
    skip_headers(&mut answer)?;
    let mut body = String::new();
    answer.read_to_string(&mut body)?;
    Ok(Response {
        status,
        body: body.trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_its_first_line() {
        let head = "POST /carts/ann?item=tea&n=2 HTTP/1.1\r\nhost: x\r\n\r\n";
        let request = parse_request(&mut head.as_bytes()).unwrap_or_else(|err| panic!("{err}"));
        assert_eq!((&*request.method, &*request.path), ("POST", "/carts/ann"));
        assert_eq!(
            (request.param("item"), request.param("x")),
            (Some("tea"), None)
        );
    }

    #[test]
    fn what_is_not_a_whole_request_is_refused() {
        for head in ["", "hello\r\n\r\n", "GET / HTTP/1.1\r\nhost: x"] {
            assert!(parse_request(&mut head.as_bytes()).is_err(), "{head:?}");
        }
    }
}
