//! What each of the five services answers. Knows nothing of sockets but for calls to neighbours.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::{Config, Role};
use crate::http::{self, Request, Response};
use crate::json::{self, Object};

const CUSTOMERS: [&str; 3] = ["ann", "bob", "eve"];
/// Items in one cart, and orders remembered; memory is bounded, and the oldest order goes first.
const KEPT_MAX: usize = 100;
/// Every item costs the same; the shop is about plumbing.
const PRICE_CENTS: usize = 250;

/// One service's state: whatever it forgets when its container dies.
pub(crate) struct Service {
    config: Config,
    carts: Mutex<BTreeMap<String, Vec<String>>>,
    orders: Mutex<Vec<String>>,
}

impl Service {
    /// A service with nothing in it yet.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            carts: Mutex::default(),
            orders: Mutex::default(),
        }
    }

    /// What it was started with.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Answers everything but the probes.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        let parts: Vec<&str> = request
            .path
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        match (self.config.role, &*request.method, parts.as_slice()) {
            (_, "GET", ["version"]) => ok(self.signed().done()),
            (Role::User, "GET", ["users"]) => {
                ok(self.signed().raw("users", &json::array(CUSTOMERS)).done())
            }
            (Role::User, "GET", ["users", name]) => self.user(name),
            (Role::Cart, "GET", ["cart", user]) => ok(self.cart(user).done()),
            (Role::Cart, "POST", ["cart", user]) => self.fill(user, request.param("item")),
            (Role::Cart, "DELETE", ["cart", user]) => {
                locked(&self.carts).remove(*user);
                ok(self.cart(user).done())
            }
            (Role::Payment, "GET", ["pay"]) => ok(self.signed().text("takes", "any coin").done()),
            (Role::Payment, "POST", ["pay", user]) => self.pay(user, request.param("cents")),
            (Role::Order, "GET", ["orders"]) => {
                let orders = locked(&self.orders).join(",");
                ok(self.signed().raw("orders", &format!("[{orders}]")).done())
            }
            (Role::Order, "POST", ["orders", user]) => self.order(user),
            (Role::Front, "GET", []) => ok(self.front()),
            _ => failure(
                404,
                &format!("{} has no {}", self.config.role.name(), request.path),
            ),
        }
    }

    /// The start of each answer: who gives it.
    fn signed(&self) -> Object {
        Object::default()
            .text("service", self.config.role.name())
            .text("version", &self.config.version)
            .text("instance", &self.config.instance)
    }

    fn user(&self, name: &str) -> Response {
        if !CUSTOMERS.contains(&name) {
            return failure(404, &format!("{name} is no customer"));
        }
        ok(self.signed().text("user", name).done())
    }

    fn cart(&self, user: &str) -> Object {
        let carts = locked(&self.carts);
        let items = carts.get(user).map(Vec::as_slice).unwrap_or_default();
        let cents = (items.len() * PRICE_CENTS).to_string();
        let items = json::array(items.iter().map(String::as_str));
        self.signed()
            .text("user", user)
            .raw("items", &items)
            .raw("cents", &cents)
    }

    fn fill(&self, user: &str, item: Option<&str>) -> Response {
        let Some(item) = item else {
            return failure(404, "which ?item= is to go into the cart?");
        };
        {
            let mut carts = locked(&self.carts);
            if carts.len() >= KEPT_MAX && !carts.contains_key(user) {
                return failure(503, "too many carts");
            }
            let items = carts.entry(user.to_owned()).or_default();
            if items.len() >= KEPT_MAX {
                return failure(503, "the cart is full");
            }
            items.push(item.to_owned());
        }
        Response {
            status: 201,
            body: self.cart(user).done(),
        }
    }

    fn pay(&self, user: &str, cents: Option<&str>) -> Response {
        let Some(cents) = cents.and_then(|text| text.parse::<u64>().ok()) else {
            return failure(404, "how many ?cents= are to be paid?");
        };
        let receipt = self
            .signed()
            .text("user", user)
            .raw("paid", &cents.to_string());
        Response {
            status: 201,
            body: receipt.done(),
        }
    }

    /// Asks the customer's name, the cart and the payment in turn; the first "no" is the answer.
    fn order(&self, user: &str) -> Response {
        let order = self
            .ask(Role::User, "GET", &format!("/users/{user}"))
            .and_then(|user_found| {
                let cart = self.ask(Role::Cart, "GET", &format!("/cart/{user}"))?;
                let cents = number(&cart, "cents").unwrap_or_default();
                let payment = format!("/pay/{user}?cents={cents}");
                let paid = self.ask(Role::Payment, "POST", &payment)?;
                Ok((user_found, cart, paid))
            });
        let order = match order {
            Ok((user_found, cart, paid)) => self
                .signed()
                .raw(Role::User.name(), &user_found)
                .raw(Role::Cart.name(), &cart)
                .raw(Role::Payment.name(), &paid),
            Err(response) => return response,
        };
        let order = order.done();
        let mut orders = locked(&self.orders);
        if orders.len() >= KEPT_MAX {
            orders.remove(0);
        }
        orders.push(order.clone());
        Response {
            status: 201,
            body: order,
        }
    }

    /// A neighbour's good answer, or what to tell our own caller instead.
    fn ask(&self, role: Role, method: &str, target: &str) -> Result<String, Response> {
        let name = role.name();
        let Some(address) = self.config.neighbours.get(&role) else {
            return Err(failure(
                502,
                &format!("nobody said where {name} is (--{name} H:P)"),
            ));
        };
        match http::call(address, method, target) {
            Ok(answer) if answer.status < 300 => Ok(answer.body),
            Ok(answer) => Err(answer),
            Err(err) => Err(failure(502, &format!("{name} at {address}: {err}"))),
        }
    }

    /// Every neighbour's version, or why it has none.
    fn front(&self) -> String {
        self.config
            .neighbours
            .iter()
            .fold(self.signed(), |page, (role, _)| {
                let answer = self.ask(*role, "GET", "/version");
                page.raw(
                    role.name(),
                    &answer.unwrap_or_else(|response| response.body),
                )
            })
            .done()
    }
}

/// A number from a neighbour's flat answer.
fn number(json: &str, name: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn ok(body: String) -> Response {
    Response { status: 200, body }
}

/// A "no" with its reason.
pub(crate) fn failure(status: u16, why: &str) -> Response {
    Response {
        status,
        body: Object::default().text("error", why).done(),
    }
}

/// A request that panicked left whole values behind: each critical section does one change.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(line: &str) -> Service {
        let args = line.split_whitespace().map(str::to_owned);
        Service::new(Config::parse(args, |_| None).unwrap_or_else(|why| panic!("{why}")))
    }

    fn ask(service: &Service, line: &str) -> (u16, String) {
        let (method, target) = line.split_once(' ').unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let [method, path, query] = [method, path, query].map(str::to_owned);
        let response = service.answer(&Request {
            method,
            path,
            query,
        });
        (response.status, response.body)
    }

    #[test]
    fn each_service_answers_its_own_paths_only() {
        let cases = [
            ("user", "GET /users/ann", 200, r#""user":"ann""#),
            ("user", "GET /users/joe", 404, "joe is no customer"),
            ("user", "GET /cart/ann", 404, "user has no /cart/ann"),
            ("cart", "GET /cart/ann", 200, r#""items":[],"cents":0"#),
            (
                "cart",
                "POST /cart/ann?item=tea",
                201,
                r#""items":["tea"],"cents":250"#,
            ),
            ("payment", "POST /pay/ann?cents=5", 201, r#""paid":5"#),
            ("payment", "POST /pay/ann?cents=all", 404, "cents"),
            ("order", "GET /orders", 200, r#""orders":[]"#),
            (
                "order",
                "POST /orders/ann",
                502,
                "nobody said where user is",
            ),
            (
                "order --user 127.0.0.1:1",
                "POST /orders/ann",
                502,
                "user at 127.0.0.1:1",
            ),
            ("front", "GET /", 200, r#""service":"front""#),
            (
                "front --cart 127.0.0.1:1",
                "GET /",
                200,
                r#""cart":{"error":"#,
            ),
        ];
        for (line, request, status, part) in cases {
            let (found, body) = ask(&service(line), request);
            assert_eq!(found, status, "{line}: {request}: {body}");
            assert!(body.contains(part), "{line}: {request}: {body}");
        }
    }

    #[test]
    fn a_cart_is_bounded() {
        let cart = service("cart");
        for _ in 0..KEPT_MAX {
            assert_eq!(ask(&cart, "POST /cart/ann?item=tea").0, 201);
        }
        assert_eq!(ask(&cart, "POST /cart/ann?item=tea").0, 503);
        assert_eq!(ask(&cart, "DELETE /cart/ann").0, 200);
        assert_eq!(ask(&cart, "POST /cart/ann?item=tea").0, 201);
    }
}
