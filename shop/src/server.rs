//! Accepting connections with a fixed set of threads, the probes, and the end without haste.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::http::{self, Request, Response};
use crate::service::{Service, failure};

/// Requests answered at the same time; each has a thread, and later ones wait in the backlog.
const WORKERS: usize = 16;
/// What is under way at SIGTERM may take this long; no answer of ours takes half of it.
const FINISH_MAX: Duration = Duration::from_secs(10);
/// The exit code of `/crash`, to be found again in the container's status.
const CRASH_CODE: i32 = 3;

/// A running service.
pub(crate) struct Server {
    service: Service,
    address: SocketAddr,
    started: Instant,
    stopping: AtomicBool,
    busy: Mutex<usize>,
    idle: Condvar,
}

/// Binds the address and starts serving.
///
/// # Errors
/// The address can't be bound, or the threads can't be had.
pub(crate) fn start(config: Config) -> io::Result<Arc<Server>> {
    let listener = TcpListener::bind(config.listen)?;
    let server = Arc::new(Server {
        address: listener.local_addr()?,
        service: Service::new(config),
        started: Instant::now(),
        stopping: AtomicBool::new(false),
        busy: Mutex::new(0),
        idle: Condvar::new(),
    });
    for _ in 0..WORKERS {
        let (server, listener) = (Arc::clone(&server), listener.try_clone()?);
        thread::Builder::new().spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) => server.serve(&stream),
                    Err(err) => server.log(&format!("accept: {err}")),
                }
            }
        })?;
    }
    server.log(&format!("serving on {}", server.address));
    Ok(server)
}

impl Server {
    /// Writes one line to the container's log.
    pub(crate) fn log(&self, line: &str) {
        let Config { role, version, .. } = self.service.config();
        // Nobody can be told that the log itself is gone.
        writeln!(io::stdout().lock(), "{} {version}: {line}", role.name()).unwrap_or_default();
    }

    /// Turns not ready and waits until the requests under way are answered, within a bound.
    pub(crate) fn finish(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .idle
            .wait_timeout_while(busy, FINISH_MAX, |busy| *busy > 0);
        let left = *waited.unwrap_or_else(PoisonError::into_inner).0;
        self.log(&format!("finished, {left} requests cut off"));
    }

    fn serve(&self, stream: &TcpStream) {
        self.count(|busy| busy + 1);
        let began = Instant::now();
        match http::read_request(stream) {
            Ok(request) => {
                let response = self.answer(&request);
                let micros = began.elapsed().as_micros();
                let Request { method, path, .. } = &request;
                // Probes come every second or so and would bury everything else.
                if !matches!(&**path, "/healthz" | "/readyz") || response.status != 200 {
                    self.log(&format!("{method} {path} {} {micros}us", response.status));
                }
                if let Err(err) = http::write_response(stream, &response) {
                    self.log(&format!("{method} {path}: answer: {err}"));
                }
                if path == "/crash" && method == "POST" {
                    std::process::exit(CRASH_CODE);
                }
            }
            Err(err) => self.log(&format!("bad request: {err}")),
        }
        self.count(|busy| busy - 1);
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

    fn count(&self, change: impl Fn(usize) -> usize) {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        *busy = change(*busy);
        self.idle.notify_all();
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
        assert_eq!(status(&cart, "POST", "/carts/ann?item=tea"), 201);
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
}
