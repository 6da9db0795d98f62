//! Which certificate is used for which host. A Secret that is of no use now changes nothing: what
//! it held before goes on being used, and its Ingress' owner is told.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::{Objects, Pair};
use crate::route::{self, Note};
use crate::tls::{self, BadSecret, Certificates};

/// Which Secret.
type Name = (Arc<str>, Arc<str>);

/// The keys in use, by Secret.
#[derive(Default)]
pub(super) struct Keys(HashMap<Name, Known>);

/// What is known of a Secret.
struct Known {
    /// What was read last, good or bad.
    pair: Pair,
    /// The last that was good.
    key: Option<Arc<CertifiedKey>>,
    why_bad: Option<String>,
}

impl Keys {
    /// The certificates of all hosts, and what is wrong with Secrets.
    pub(super) fn choose(&mut self, objects: &Objects) -> (Certificates, Vec<Note>) {
        let wanted = route::tls_secrets(&objects.ingresses, &objects.classes);
        let mut certificates = Certificates::default();
        let mut notes = Vec::new();
        let mut kept = HashMap::new();
        for (ingress, secret, hosts) in wanted {
            let name = (Arc::clone(&ingress.namespace), Arc::clone(&secret));
            // A Secret that was not asked for yet is neither good nor bad.
            let Some(pair) = objects.secrets.get(&name) else {
                if let Some(known) = self.0.remove(&name) {
                    add(&mut certificates, &hosts, known.key.as_ref());
                    kept.insert(name, known);
                }
                continue;
            };
            if !kept.contains_key(&name) {
                kept.insert(name.clone(), self.renew(&name, pair));
            }
            let Some(known) = kept.get(&name) else {
                continue;
            };
            if let Some(why) = &known.why_bad {
                let then = match known.key {
                    Some(_) => "the certificate that it held before stays in use",
                    None => "its hosts have no TLS",
                };
                notes.push(Note {
                    ingress: ingress.clone(),
                    reason: "BadTlsSecret",
                    message: format!("Secret {secret}: {why}; {then}"),
                });
            }
            add(&mut certificates, &hosts, known.key.as_ref());
        }
        self.0 = kept;
        (certificates, notes)
    }

    fn renew(&mut self, name: &Name, pair: &Pair) -> Known {
        let before = self.0.remove(name);
        if let Some(before) = before.as_ref().filter(|known| known.pair == *pair) {
            return Known {
                pair: pair.clone(),
                key: before.key.clone(),
                why_bad: before.why_bad.clone(),
            };
        }
        let read = match pair {
            Ok((chain, key)) => {
                let now = jiff::Timestamp::now().as_second();
                tls::read_pair(chain, key, now).map_err(|bad: BadSecret| bad.to_string())
            }
            Err(why) => Err(why.to_string()),
        };
        let (key, why_bad) = match read {
            Ok(key) => (Some(Arc::new(key)), None),
            Err(why) => (before.and_then(|known| known.key), Some(why)),
        };
        Known {
            pair: pair.clone(),
            key,
            why_bad,
        }
    }
}

fn add(certificates: &mut Certificates, hosts: &[String], key: Option<&Arc<CertifiedKey>>) {
    let Some(key) = key else {
        return;
    };
    if hosts.is_empty() {
        certificates.add(None, key);
    }
    for host in hosts {
        certificates.add(Some(host), key);
    }
}
