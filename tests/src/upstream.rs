//! Backends without containers: a server in this process that says the same to everybody.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

/// The address that this machine has in its network: no EndpointSlice may name a loopback address.
/// Nothing is sent to find it.
///
/// # Panics
/// If the machine has none, or no route.
#[must_use]
pub fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    let connected = socket.connect("198.51.100.1:9");
    let own = connected.and_then(|()| socket.local_addr());
    own.expect("this machine has an address and a route").ip()
}

/// Starts a server that answers every request with a status and a text, until this process ends.
///
/// # Panics
/// If there is no port for it.
#[must_use]
pub fn saying(status: u16, text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((own_address(), 0)).expect("a free port");
    let address = listener.local_addr().expect("the port's address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(&stream, status, text));
        }
    });
    address
}

/// One request for each connection; who asks may hang up at any time.
fn answer(stream: &TcpStream, status: u16, text: &str) {
    let lines = BufReader::new(stream).lines();
    let whole_head = lines.map_while(Result::ok).any(|line| line.is_empty());
    if whole_head {
        let length = text.len();
        let mut writer = stream;
        write!(
            writer,
            "HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
        )
        .unwrap_or_default();
    }
}
