//! Accepting connections, each with a thread of its own, the probes, and the end without haste.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::http::{self, Asked, Connection, Request, Response};
use crate::service::{Service, failure};

/// Connections at the same time; each has a thread, and later ones wait in the backlog.
const CONNECTIONS_MAX: usize = 256;
/// Of a connection's thread: requests are small, and none recurses.
const STACK_BYTES: usize = 256 << 10;
/// After SIGTERM it goes on serving until nobody has asked for anything for so long: whoever still
/// sends has not heard yet that this pod leaves.
const QUIET: Duration = Duration::from_secs(1);
/// But not longer than this, well below the grace that the manifests give.
const FINISH_MAX: Duration = Duration::from_secs(5);
/// The exit code of `/crash`, to be found again in the container's status.
const CRASH_CODE: i32 = 3;

/// A running service.
pub(crate) struct Server {
    service: Service,
    address: SocketAddr,
    started: Instant,
    stopping: AtomicBool,
    load: Mutex<Load>,
    changed: Condvar,
}

/// What goes on at this moment.
#[derive(Clone, Copy)]
struct Load {
    connections: usize,
    /// Requests that are being answered.
    busy: usize,
    /// When the last request came.
    last: Instant,
}

/// Binds the address and starts serving.
///
/// # Errors
/// The address can't be bound, or the thread can't be had.
pub(crate) fn start(config: Config) -> io::Result<Arc<Server>> {
    let listener = TcpListener::bind(config.listen)?;
    let started = Instant::now();
    let server = Arc::new(Server {
        address: listener.local_addr()?,
        service: Service::new(config),
        started,
        stopping: AtomicBool::new(false),
        load: Mutex::new(Load {
            connections: 0,
            busy: 0,
            last: started,
        }),
        changed: Condvar::new(),
    });
    let accepting = Arc::clone(&server);
    thread::Builder::new().spawn(move || accept(&accepting, &listener))?;
    server.log(&format!("serving on {}", server.address));
    Ok(server)
}

fn accept(server: &Arc<Server>, listener: &TcpListener) {
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(err) => {
                server.log(&format!("accept: {err}"));
                continue;
            }
        };
        server.admit();
        let serving = Arc::clone(server);
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        let spawned = thread.spawn(move || {
            serving.serve(&stream);
            serving.change(|load| load.connections -= 1);
        });
        if let Err(err) = spawned {
            server.log(&format!("no thread for a connection: {err}"));
            server.change(|load| load.connections -= 1);
        }
    }
}

impl Server {
    /// Writes one line to the container's log.
    pub(crate) fn log(&self, line: &str) {
        let Config { role, version, .. } = self.service.config();
        // Nobody can be told that the log itself is gone.
        writeln!(io::stdout().lock(), "{} {version}: {line}", role.name()).unwrap_or_default();
    }

    /// Turns not ready, goes on serving until nobody asks for anything more, within a bound, and
    /// ends each connection with its next answer.
    pub(crate) fn finish(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let began = Instant::now();
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let quiet = load.last.max(began).elapsed();
            let left = FINISH_MAX.saturating_sub(began.elapsed());
            if (load.busy == 0 && quiet >= QUIET) || left.is_zero() {
                break;
            }
            let pause = QUIET.saturating_sub(quiet).max(Duration::from_millis(1));
            let waited = self.changed.wait_timeout(load, pause.min(left));
            load = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.log(&format!("finished, {} requests cut off", load.busy));
    }

    /// Waits for room for one more connection.
    fn admit(&self) {
        let load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |load: &mut Load| load.connections >= CONNECTIONS_MAX;
        let waited = self.changed.wait_while(load, full);
        waited.unwrap_or_else(PoisonError::into_inner).connections += 1;
    }

    /// Answers the requests of a connection, one after another.
    fn serve(&self, stream: &TcpStream) {
        // An answer is one write; there is nothing to wait for.
        stream.set_nodelay(true).unwrap_or_default();
        let mut connection = Connection::new(stream);
        while connection.waits() {
            self.change(|load| {
                load.busy += 1;
                load.last = Instant::now();
            });
            let keep = self.serve_one(stream, &mut connection);
            self.change(|load| load.busy -= 1);
            if !keep {
                return;
            }
        }
    }

    /// Answers one request; whether the connection may carry another one.
    fn serve_one(&self, stream: &TcpStream, connection: &mut Connection<'_>) -> bool {
        let began = Instant::now();
        let Asked { request, keep } = match connection.read() {
            Ok(asked) => asked,
            Err(err) => {
                self.log(&format!("bad request: {err}"));
                return false;
            }
        };
        let response = self.answer(&request);
        let keep = keep && !self.stopping.load(Ordering::SeqCst);
        let micros = began.elapsed().as_micros();
        let Request { method, path, .. } = &request;
        // Probes come every second or so and would bury everything else.
        if !matches!(&**path, "/healthz" | "/readyz") || response.status != 200 {
            self.log(&format!("{method} {path} {} {micros}us", response.status));
        }
        let written = http::write_response(stream, &response, keep);
        if let Err(err) = &written {
            self.log(&format!("{method} {path}: answer: {err}"));
        }
        if path == "/crash" && method == "POST" {
            std::process::exit(CRASH_CODE);
        }
        keep && written.is_ok()
    }

    fn answer(&self, request: &Request) -> Response {
        let age = self.started.elapsed();
        let Config {
            ready_after,
            fail_after,
            ..
        } = self.service.config();
        match &*request.path {
            "/healthz" if fail_after.is_some_and(|limit| age >= limit) => {
                failure(503, "failing, as asked by --fail-after")
            }
            "/readyz" if self.stopping.load(Ordering::SeqCst) => failure(503, "stopping"),
            "/readyz" if age < *ready_after => failure(503, "not ready yet, as asked"),
            "/healthz" | "/readyz" => Response {
                status: 200,
                body: "{}".to_owned(),
            },
            "/crash" if request.method == "POST" => failure(503, "crashing, as asked"),
            "/crash" => failure(405, "POST to crash"),
            _ => self.service.answer(request),
        }
    }

    fn change(&self, change: impl Fn(&mut Load)) {
        change(&mut self.load.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(line: &str) -> Arc<Server> {
        let args = format!("{line} --listen 127.0.0.1:0");
        let args = args.split_whitespace().map(str::to_owned);
        let config = Config::parse(args, |_| None).unwrap_or_else(|why| panic!("{why}"));
        start(config).unwrap_or_else(|err| panic!("{err}"))
    }

    fn status(server: &Server, method: &str, target: &str) -> u16 {
        let address = server.address.to_string();
        http::call(&address, method, target)
            .unwrap_or_else(|err| panic!("{err}"))
            .status
    }

    #[test]
    fn probes_follow_age_and_the_coming_end() {
        let server = started("user");
        assert_eq!(status(&server, "GET", "/healthz"), 200);
        assert_eq!(status(&server, "GET", "/readyz"), 200);
        server.finish();
        assert_eq!(
            status(&server, "GET", "/healthz"),
            200,
            "ending is not illness"
        );
        assert_eq!(status(&server, "GET", "/readyz"), 503);

        let slow = started("user --ready-after 3600 --fail-after 0");
        assert_eq!(status(&slow, "GET", "/readyz"), 503);
        assert_eq!(status(&slow, "GET", "/healthz"), 503);
        assert_eq!(status(&slow, "GET", "/crash"), 405);
    }

    #[test]
    fn an_order_asks_three_services_over_the_wire() {
        let [user, cart, payment] = ["user", "cart", "payment"].map(started);
        let order = started(&format!(
            "order --user {} --cart {} --payment {}",
            user.address, cart.address, payment.address
        ));
        assert_eq!(status(&cart, "POST", "/cart/ann?item=tea"), 201);
        let at = order.address.to_string();
        let placed = http::call(&at, "POST", "/orders/ann").unwrap_or_else(|err| panic!("{err}"));
        assert_eq!(placed.status, 201);
        assert!(
            placed.body.contains(r#""items":["tea"]"#),
            "{}",
            placed.body
        );
        assert!(placed.body.contains(r#""paid":250"#), "{}", placed.body);
        assert_eq!(
            status(&order, "POST", "/orders/joe"),
            404,
            "the first no is the answer"
        );
    }
    #[test]
    fn a_connection_carries_requests_until_the_service_ends() {
        use std::io::{BufRead as _, BufReader, Read as _};

        let server = started("user");
        let mut stream = TcpStream::connect(server.address).unwrap_or_else(|err| panic!("{err}"));
        let copy = stream.try_clone().unwrap_or_else(|err| panic!("{err}"));
        let mut reader = BufReader::new(copy);
        let mut ask = |body: &str| -> String {
            let length = body.len();
            write!(
                stream,
                "GET /users HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .unwrap_or_else(|err| panic!("{err}"));
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let from = head.len();
                reader
                    .read_line(&mut head)
                    .unwrap_or_else(|err| panic!("{err}"));
                let line = head.get(from..).unwrap_or_default();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap_or_else(|err| panic!("{err}"));
                }
            }
            let mut body = vec![0; length];
            reader
                .read_exact(&mut body)
                .unwrap_or_else(|err| panic!("{err}"));
            head
        };
        assert!(!ask("").contains("connection: close"));
        assert!(!ask("a body").contains("connection: close"));
        let ending = Arc::clone(&server);
        let end = thread::spawn(move || ending.finish());
        while !server.stopping.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        assert_eq!(
            status(&server, "GET", "/users"),
            200,
            "new connections are served"
        );
        let last = ask("");
        assert!(last.starts_with("HTTP/1.1 200"), "{last}");
        assert!(last.contains("connection: close"), "{last}");
        assert!(end.join().is_ok());
    }
}
