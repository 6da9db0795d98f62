//! As much HTTP/1.1 as the shop needs: small heads, connections that carry one request after
//! another, answers with a length. What is larger or slower than the limits here is refused.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A peer that is silent for this long in the middle of something is given up.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// A connection without a request for this long is closed; proxies give theirs up sooner.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// Request line and headers together; the shop's own are under 200 bytes.
const HEAD_BYTES_MAX: u64 = 16 * 1024;
/// A request's body, which nothing here reads but to get behind it.
const BODY_BYTES_MAX: u64 = 64 * 1024;
/// A neighbour's answer; carts and orders are lists of a few words.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// A connection to a neighbour that takes longer leads to a machine that is gone.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Connections tried before a neighbour is given up: behind a name stand several pods, and nothing
/// was sent yet.
const CONNECTS: u32 = 3;

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

/// A peer's connection, read as one request after another.
pub(crate) struct Connection<'a> {
    stream: &'a TcpStream,
    reader: BufReader<&'a TcpStream>,
}

/// One request, and whether its connection may carry another one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) keep: bool,
}

impl<'a> Connection<'a> {
    /// A connection that was just accepted.
    pub(crate) fn new(stream: &'a TcpStream) -> Self {
        Self {
            stream,
            reader: BufReader::new(stream),
        }
    }

    /// Waits until the peer asks for something; false if it has gone or asks for nothing.
    pub(crate) fn waits(&mut self) -> bool {
        let patient = self.stream.set_read_timeout(Some(IDLE_MAX)).is_ok();
        patient && self.reader.fill_buf().is_ok_and(|bytes| !bytes.is_empty())
    }

    /// Reads one request and gets behind its body.
    ///
    /// # Errors
    /// The peer's silence or end, something over a limit, or something that is not HTTP.
    pub(crate) fn read(&mut self) -> io::Result<Asked> {
        self.stream.set_read_timeout(Some(SILENCE_MAX))?;
        self.stream.set_write_timeout(Some(SILENCE_MAX))?;
        let head = parse_head(&mut (&mut self.reader).take(HEAD_BYTES_MAX))?;
        let mut body = (&mut self.reader).take(BODY_BYTES_MAX);
        match head.body {
            Body::None => {}
            Body::Length(length) if length <= BODY_BYTES_MAX => {
                io::copy(&mut body.take(length), &mut io::sink())?;
            }
            Body::Length(_) => return Err(invalid("the body is too large")),
            Body::Chunked => skip_chunks(&mut body)?,
        }
        Ok(head.asked)
    }
}

/// What a request's head says of its body.
#[derive(Debug, PartialEq, Eq)]
enum Body {
    None,
    Length(u64),
    Chunked,
}

struct Head {
    asked: Asked,
    body: Body,
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn parse_head(head: &mut impl BufRead) -> io::Result<Head> {
    let mut first = String::new();
    head.read_line(&mut first)?;
    let mut words = first.split_ascii_whitespace();
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(invalid("not an HTTP request"));
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
    };
    let (mut keep, mut body) = (version == "HTTP/1.1", Body::None);
    while let Some((name, value)) = header(head)? {
        match name.to_ascii_lowercase().as_str() {
            "connection" if value.eq_ignore_ascii_case("close") => keep = false,
            "content-length" => {
                let length = value.parse().map_err(|_| invalid("not a length"))?;
                body = Body::Length(length);
            }
            "transfer-encoding" => body = Body::Chunked,
            _ => {}
        }
    }
    Ok(Head {
        asked: Asked { request, keep },
        body,
    })
}

/// The next header; nothing where the head ends.
fn header(head: &mut impl BufRead) -> io::Result<Option<(String, String)>> {
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        let why = "the head has no end";
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
    }
    let line = line.trim_end();
    if line.is_empty() {
        return Ok(None);
    }
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    Ok(Some((name.to_owned(), value.trim().to_owned())))
}

/// Gets behind a body that comes in pieces.
fn skip_chunks(body: &mut impl BufRead) -> io::Result<()> {
    loop {
        let mut line = String::new();
        body.read_line(&mut line)?;
        let size = line.split(';').next().unwrap_or("").trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| invalid("not a chunk"))?;
        if size == 0 {
            while header(body)?.is_some() {}
            return Ok(());
        }
        // The chunk, and the end of its line.
        let skipped = io::copy(&mut body.take(size.saturating_add(2)), &mut io::sink())?;
        if skipped != size.saturating_add(2) {
            return Err(invalid("the body is too large, or has no end"));
        }
    }
}

/// Writes an answer, and says whether the connection ends with it.
///
/// # Errors
/// The peer went away.
pub(crate) fn write_response(
    mut stream: &TcpStream,
    response: &Response,
    keep: bool,
) -> io::Result<()> {
    let Response { status, body } = response;
    let reason = match status {
        200 => "OK",
        201 => "Created",
        404 => "Not Found",
        405 => "Method Not Allowed",
        502 => "Bad Gateway",
        _ => "Service Unavailable",
    };
    let end = if keep { "" } else { "connection: close\r\n" };
    let text = format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{end}\r\n{body}\n",
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
    let mut stream = connect(resolved)?;
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
        return Err(invalid("not an HTTP answer"));
    };
    while header(&mut answer)?.is_some() {}
    let mut body = String::new();
    answer.read_to_string(&mut body)?;
    Ok(Response {
        status,
        body: body.trim_end().to_owned(),
    })
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let mut tries = 1;
    loop {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Err(_) if tries < CONNECTS => tries += 1,
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> io::Result<Head> {
        parse_head(&mut text.as_bytes())
    }

    #[test]
    fn a_request_is_its_first_line() {
        let head = parse("POST /cart/ann?item=tea&n=2 HTTP/1.1\r\nhost: x\r\n\r\n");
        let asked = head.unwrap_or_else(|err| panic!("{err}")).asked;
        let request = asked.request;
        assert_eq!((&*request.method, &*request.path), ("POST", "/cart/ann"));
        assert_eq!(
            (request.param("item"), request.param("x")),
            (Some("tea"), None)
        );
    }

    #[test]
    fn a_head_says_what_follows() {
        let cases = [
            ("HTTP/1.1\r\n", true, Body::None),
            ("HTTP/1.0\r\n", false, Body::None),
            ("HTTP/1.1\r\nConnection: Close\r\n", false, Body::None),
            ("HTTP/1.1\r\ncontent-length: 3\r\n", true, Body::Length(3)),
            (
                "HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
                true,
                Body::Chunked,
            ),
        ];
        for (rest, keep, body) in cases {
            let head = parse(&format!("GET / {rest}\r\n")).unwrap_or_else(|err| panic!("{err}"));
            assert_eq!((head.asked.keep, head.body), (keep, body), "{rest}");
        }
    }

    #[test]
    fn what_is_not_a_whole_request_is_refused() {
        for head in ["", "hello\r\n\r\n", "GET / HTTP/1.1\r\nhost: x"] {
            assert!(parse(head).is_err(), "{head:?}");
        }
        for body in ["", "x\r\n", "5\r\nabc"] {
            assert!(skip_chunks(&mut body.as_bytes()).is_err(), "{body:?}");
        }
        let mut whole = "3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\nnext".as_bytes();
        assert!(skip_chunks(&mut whole).is_ok());
        assert_eq!(whole, b"next");
    }
}
