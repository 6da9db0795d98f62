//! The command line and the environment, parsed once into plain data.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What `shop` without sense in its arguments prints.
pub(crate) const USAGE: &str = "\
usage: shop SERVICE [FLAG VALUE]…

  SERVICE         user, cart, payment, order or front
  --listen A:P    where to serve (LISTEN; 0.0.0.0:8080)
  --user H:P      where the neighbours are (USER_ADDR, CART_ADDR, PAYMENT_ADDR, ORDER_ADDR);
  --cart H:P      `order` calls user, cart and payment, `front` shows all four
  --payment H:P
  --order H:P
  --ready-after S /readyz says no for the first S seconds (READY_AFTER)
  --fail-after S  /healthz says no once S seconds have passed (FAIL_AFTER)

SHOP_VERSION names the version that each answer carries.";

/// Which of the five services this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Knows who the customers are.
    User,
    /// Keeps each customer's cart, in memory.
    Cart,
    /// Takes money and gives receipts.
    Payment,
    /// Turns a cart into an order by asking the other three.
    Order,
    /// What a visitor sees: the state of the whole shop.
    Front,
}

impl Role {
    const ALL: [Self; 5] = [
        Self::User,
        Self::Cart,
        Self::Payment,
        Self::Order,
        Self::Front,
    ];

    /// The service's name on the command line and in its answers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Cart => "cart",
            Self::Payment => "payment",
            Self::Order => "order",
            Self::Front => "front",
        }
    }
}

/// Everything that was settled before the first request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) role: Role,
    pub(crate) listen: SocketAddr,
    /// `host:port` of each neighbour that was named.
    pub(crate) neighbours: BTreeMap<Role, String>,
    /// `/readyz` says no until then.
    pub(crate) ready_after: Duration,
    /// `/healthz` says no from then on.
    pub(crate) fail_after: Option<Duration>,
    /// The pod's name, where known, else the host's.
    pub(crate) instance: String,
    pub(crate) version: String,
}

impl Config {
    /// Reads flags, then for what they leave open the environment.
    ///
    /// # Errors
    /// One sentence that names the argument at fault.
    pub(crate) fn parse(
        args: impl IntoIterator<Item = String>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut args = args.into_iter();
        let name = args.next().ok_or("which service?")?;
        let role = Role::ALL
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or_else(|| format!("no service is called `{name}`"))?;
        let mut flags = flags(args)?;
        let mut setting = |flag: &str, variable: &str| flags.remove(flag).or_else(|| env(variable));

        let listen = setting("--listen", "LISTEN").unwrap_or_else(|| "0.0.0.0:8080".to_owned());
        let ready_after = setting("--ready-after", "READY_AFTER");
        let fail_after = setting("--fail-after", "FAIL_AFTER");
        let neighbours = Role::ALL
            .into_iter()
            .filter(|role| *role != Role::Front)
            .filter_map(|role| {
                let name = role.name();
                let variable = format!("{}_ADDR", name.to_uppercase());
                setting(&format!("--{name}"), &variable).map(|address| (role, address))
            })
            .collect();
        if let Some(flag) = flags.keys().next() {
            return Err(format!("no flag is called `{flag}`"));
        }
        Ok(Self {
            role,
            listen: listen
                .parse()
                .map_err(|_| format!("--listen {listen}: not an address:port"))?,
            neighbours,
            ready_after: seconds("--ready-after", ready_after)?.unwrap_or_default(),
            fail_after: seconds("--fail-after", fail_after)?,
            instance: env("POD_NAME")
                .or_else(|| env("HOSTNAME"))
                .unwrap_or_default(),
            version: env("SHOP_VERSION").unwrap_or_else(|| "dev".to_owned()),
        })
    }
}

/// `--name value` pairs.
fn flags(mut args: impl Iterator<Item = String>) -> Result<BTreeMap<String, String>, String> {
    let mut flags = BTreeMap::new();
    while let Some(flag) = args.next() {
        let value = args
            .next()
            .ok_or_else(|| format!("{flag}: a value must follow"))?;
        flags.insert(flag, value);
    }
    Ok(flags)
}

fn seconds(flag: &str, value: Option<String>) -> Result<Option<Duration>, String> {
    let Some(text) = value else { return Ok(None) };
    let seconds = text
        .parse()
        .map_err(|_| format!("{flag} {text}: not a number of seconds"))?;
    Ok(Some(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, env: &[(&str, &str)]) -> Result<Config, String> {
        let lookup = |name: &str| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Config::parse(line.split_whitespace().map(str::to_owned), lookup)
    }

    #[test]
    fn flags_win_over_the_environment() {
        let env = [
            ("LISTEN", "127.0.0.1:1"),
            ("CART_ADDR", "cart:80"),
            ("SHOP_VERSION", "v2"),
        ];
        let config = parse("order --listen 127.0.0.1:9 --user u:80", &env).unwrap_or_else(|why| {
            panic!("{why}");
        });
        assert_eq!(config.listen.port(), 9);
        assert_eq!(config.version, "v2");
        let neighbours: Vec<_> = config
            .neighbours
            .iter()
            .map(|(role, at)| (*role, &**at))
            .collect();
        assert_eq!(neighbours, [(Role::User, "u:80"), (Role::Cart, "cart:80")]);
    }

    #[test]
    fn nonsense_is_named() {
        let cases = [
            ("", "which service?"),
            ("shipping", "no service is called `shipping`"),
            ("user --listen", "--listen: a value must follow"),
            ("user --listen here", "--listen here: not an address:port"),
            (
                "user --fail-after soon",
                "--fail-after soon: not a number of seconds",
            ),
            ("user --colour red", "no flag is called `--colour`"),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line, &[]), Err(expected.to_owned()), "shop {line}");
        }
    }
}
