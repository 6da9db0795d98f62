//! Sockets of this process in the network of a pod: clients that keep a socket for as long as the
//! test wants, and servers that no image has a program for.

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// How long a client waits for an answer: a lost packet is sent again.
const ANSWER_MAX: Duration = Duration::from_millis(300);

/// A socket in that network. It stays there, whatever thread uses it.
///
/// # Panics
/// Without root, or if the address is taken.
#[must_use]
pub fn udp(namespace: &Path, address: &str) -> UdpSocket {
    // Only this thread moves, and it ends: no other test's socket may come to lie there.
    let made = thread::scope(|scope| {
        let bind = || {
            let file = File::open(namespace).expect("the network of a pod that runs");
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may move");
            UdpSocket::bind(address).expect("a free address")
        };
        scope.spawn(bind).join()
    });
    made.expect("the socket was made")
}

/// Answers every packet with a text, until this process ends.
///
/// # Panics
/// Without root, or if the port is taken.
pub fn serve_udp(namespace: &Path, port: u16, text: String) {
    let socket = udp(namespace, &format!("0.0.0.0:{port}"));
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut packet) {
            // Who asked may be gone.
            socket.send_to(text.as_bytes(), from).unwrap_or_default();
        }
    });
}

/// A client that keeps its socket, and so its port.
pub struct UdpClient(UdpSocket);

impl UdpClient {
    /// A client of that server, in that network.
    ///
    /// # Panics
    /// Without root, or if there is no way to the server.
    #[must_use]
    pub fn new(namespace: &Path, server: SocketAddr) -> Self {
        let socket = udp(namespace, "0.0.0.0:0");
        socket.connect(server).expect("there is a route");
        socket
            .set_read_timeout(Some(ANSWER_MAX))
            .expect("a wait that is not zero");
        Self(socket)
    }

    /// Asks once.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn ask(&self) -> Result<String, String> {
        let mut packet = [0; 512];
        self.0.send(b"?").map_err(|err| format!("send: {err}"))?;
        let count = self
            .0
            .recv(&mut packet)
            .map_err(|err| format!("receive: {err}"))?;
        Ok(String::from_utf8_lossy(&packet[..count]).into_owned())
    }
}
