//! Which certificate is used for which host. A Secret that is of no use now changes nothing: what
//! it held before goes on being used, and its Ingress' owner is told.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use super::{Objects, Pair};
use crate::route::{self, Note};
use crate::tls::{self, BadSecret, Certificates, Life, Validity};

/// Which Secret.
type Name = (Arc<str>, Arc<str>);

/// The keys in use, by Secret.
#[derive(Default)]
pub(super) struct Keys(HashMap<Name, Known>);

/// What is known of a Secret.
struct Known {
    /// What was read last, good or bad.
    pair: Pair,
    /// What that is, or why it never is of any use.
    found: Result<(Arc<CertifiedKey>, Life), String>,
    /// What `found` was when it was judged last.
    validity: Option<Validity>,
    /// The last that was valid when it came; it may be over by now.
    key: Option<Arc<CertifiedKey>>,
}

impl Keys {
    /// The certificates of all hosts, and what is wrong with Secrets.
    /// `now` is in seconds since 1970.
    pub(super) fn choose(&mut self, objects: &Objects, now: i64) -> (Certificates, Vec<Note>) {
        let wanted = route::tls_secrets(&objects.ingresses, &objects.classes);
        let mut certificates = Certificates::default();
        let mut notes = Vec::new();
        let mut kept = HashMap::new();
        for (ingress, secret, hosts) in wanted {
            let name = (Arc::clone(&ingress.namespace), Arc::clone(&secret));
            // A Secret that was not asked for yet is neither good nor bad.
            let Some(pair) = objects.secrets.get(&name) else {
                if let Some(mut known) = self.0.remove(&name) {
                    known.judge(now);
                    add(&mut certificates, &hosts, known.key.as_ref());
                    kept.insert(name, known);
                }
                continue;
            };
            if !kept.contains_key(&name) {
                kept.insert(name.clone(), self.renew(&name, pair, now));
            }
            let Some(known) = kept.get(&name) else {
                continue;
            };
            if let Some(wrong) = known.wrong() {
                notes.push(Note {
                    ingress: ingress.clone(),
                    reason: "BadTlsSecret",
                    message: format!("Secret {secret}: {wrong}"),
                });
            }
            add(&mut certificates, &hosts, known.key.as_ref());
        }
        self.0 = kept;
        (certificates, notes)
    }

    /// Whether time alone has made one good or bad since they were chosen.
    pub(super) fn is_due(&self, now: i64) -> bool {
        let mut all = self.0.values();
        all.any(|known| known.validity_at(now) != known.validity)
    }

    fn renew(&mut self, name: &Name, pair: &Pair, now: i64) -> Known {
        let before = self.0.remove(name);
        let mut known = match before {
            Some(before) if before.pair == *pair => before,
            before => Known {
                pair: pair.clone(),
                found: read(pair),
                validity: None,
                key: before.and_then(|known| known.key),
            },
        };
        known.judge(now);
        known
    }
}

impl Known {
    fn validity_at(&self, now: i64) -> Option<Validity> {
        let (_, life) = self.found.as_ref().ok()?;
        Some(life.at(now))
    }

    /// Takes what was found if it is valid; what was taken before stays until something better comes.
    fn judge(&mut self, now: i64) {
        self.validity = self.validity_at(now);
        if let (Ok((key, _)), Some(Validity::Now)) = (&self.found, self.validity) {
            self.key = Some(Arc::clone(key));
        }
    }

    /// What its Ingress' owner should know.
    fn wrong(&self) -> Option<String> {
        let why = match (&self.found, self.validity) {
            (Err(why), _) => why,
            (Ok(_), Some(Validity::NotYet)) => "the certificate is not valid yet",
            (Ok(_), Some(Validity::Over)) => "the certificate has expired",
            (Ok(_), Some(Validity::Now) | None) => return None,
        };
        let is_in_use = |key| {
            let found = self.found.as_ref();
            found.is_ok_and(|(found, _)| Arc::ptr_eq(found, key))
        };
        let then = match &self.key {
            Some(key) if is_in_use(key) => "it stays in use",
            Some(_) => "the certificate that it held before stays in use",
            None => "its hosts have no TLS",
        };
        Some(format!("{why}; {then}"))
    }
}

fn read(pair: &Pair) -> Result<(Arc<CertifiedKey>, Life), String> {
    let (chain, key) = pair.as_ref().map_err(|why| why.to_string())?;
    let (key, life) = tls::read_pair(chain, key).map_err(|bad: BadSecret| bad.to_string())?;
    Ok((Arc::new(key), life))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A certificate of so many days of 1970, and its key.
    fn pair(days: (u8, u8)) -> Pair {
        let mut asked = rcgen::CertificateParams::new(["h".to_owned()]).unwrap();
        asked.not_before = rcgen::date_time_ymd(1970, 1, days.0 + 1);
        asked.not_after = rcgen::date_time_ymd(1970, 1, days.1 + 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = asked.self_signed(&key).unwrap();
        Ok((made.pem().into_bytes(), key.serialize_pem().into_bytes()))
    }

    fn objects(pair: &Pair) -> Objects {
        let ingress = json!({
            "metadata": {"name": "a", "namespace": "d", "uid": "u"},
            "spec": {
                "tls": [{"hosts": ["h"], "secretName": "s"}],
                "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
            },
        });
        Objects {
            ingresses: vec![serde_json::from_value(ingress).unwrap()],
            secrets: [(("d".into(), "s".into()), pair.clone())].into(),
            ..Objects::default()
        }
    }

    #[test]
    fn a_certificate_is_judged_again_when_its_time_comes() {
        let (first, next) = (pair((2, 5)), pair((4, 8)));
        let bad: Pair = Err("there is no such Secret".into());
        let cases = [
            (
                1,
                &first,
                None,
                "the certificate is not valid yet; its hosts have no TLS",
            ),
            (2, &first, Some(&first), ""),
            (
                3,
                &next,
                Some(&first),
                "not valid yet; the certificate that it held before",
            ),
            (4, &next, Some(&next), ""),
            (
                5,
                &bad,
                Some(&next),
                "no such Secret; the certificate that it held before",
            ),
            (6, &next, Some(&next), ""),
            (
                9,
                &next,
                Some(&next),
                "the certificate has expired; it stays in use",
            ),
            (
                10,
                &first,
                Some(&next),
                "has expired; the certificate that it held before",
            ),
        ];
        let mut keys = Keys::default();
        let mut before = None;
        for (day, shown, used, wrong) in cases {
            let now = day * 86_400;
            if before == Some(shown) {
                assert!(keys.is_due(now), "day {day}");
            }
            let (certificates, notes) = keys.choose(&objects(shown), now);
            assert!(!keys.is_due(now), "day {day}");
            let chain = certificates.find(Some("h")).map(|key| key.cert.clone());
            let wanted = used.map(|pair| read(pair).unwrap().0.cert.clone());
            assert_eq!(chain, wanted, "day {day}");
            let said: Vec<_> = notes.iter().map(|note| &*note.message).collect();
            let fits = said.iter().all(|said| said.contains(wrong));
            assert!(
                said.len() == usize::from(!wrong.is_empty()) && fits,
                "day {day}: {said:?}"
            );
            before = Some(shown);
        }
    }
}
