//! The annotations that are about a canary: `gateway.skiff.io/canary-…`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skiff_api::canary::{Auto, Settings};
use skiff_network::ServiceKey;

use super::{number, yes};
use crate::route::{Backend, Canary, PortRef};

/// What was found so far.
#[derive(Default)]
pub(super) struct Parts {
    service: Option<String>,
    weight_percent: u8,
    header: Option<http::HeaderName>,
    header_value: Option<String>,
    judges_itself: bool,
}

impl Parts {
    /// Takes one of them, named without what is the same for all.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "service" => self.service = Some(value.to_owned()),
            "weight" => self.weight_percent = number(value, 100)?,
            "header" => {
                let name = value.parse().map_err(|_| "is not a header's name")?;
                self.header = Some(name);
            }
            "header-value" => self.header_value = Some(value.to_owned()),
            "auto" => self.judges_itself = yes(value)?,
            // The servers write it, for people.
            "status" => {}
            name => {
                // Who reads the settings reads all of them at once; here they are only checked.
                let setting = name.strip_prefix("auto-").unwrap_or_default();
                Settings::default().set(setting, value)?;
            }
        }
        Ok(())
    }

    /// `NAME[:PORT]` where the Ingress leads to one service, else `STABLE=NAME[:PORT],…`.
    pub(super) fn finish(
        self,
        namespace: &str,
        stable: &BTreeSet<Backend>,
        auto: Option<Auto>,
    ) -> Result<BTreeMap<Backend, Canary>, String> {
        let Some(text) = &self.service else {
            if self.judges_itself {
                return Err("canary-auto needs to know of which service".to_owned());
            }
            return Ok(BTreeMap::new());
        };
        let auto = auto.map(Arc::new);
        let names: BTreeSet<_> = stable
            .iter()
            .map(|backend| &*backend.service.name)
            .collect();
        let mut found = BTreeMap::new();
        for part in text.split(',') {
            let (of, canary) = match part.split_once('=') {
                Some((of, canary)) => (of.trim(), canary.trim()),
                None => match (names.len(), names.first()) {
                    (1, Some(only)) => (*only, part.trim()),
                    _ => {
                        return Err(format!(
                            "the Ingress leads to {} services: write STABLE=CANARY",
                            names.len()
                        ));
                    }
                },
            };
            let mut some = false;
            for backend in stable.iter().filter(|backend| &*backend.service.name == of) {
                some = true;
                let canary = self.canary(namespace, canary, &backend.port, auto.as_ref())?;
                found.insert(backend.clone(), canary);
            }
            if !some {
                return Err(format!("no path of the Ingress leads to service {of:?}"));
            }
        }
        Ok(found)
    }

    fn canary(
        &self,
        namespace: &str,
        text: &str,
        port: &PortRef,
        auto: Option<&Arc<Auto>>,
    ) -> Result<Canary, String> {
        let (name, port) = match text.split_once(':') {
            None => (text, port.clone()),
            Some((name, port)) => match port.parse::<u16>() {
                Ok(number) => (name, PortRef::Number(number)),
                Err(_) => (name, PortRef::Name(port.into())),
            },
        };
        if name.is_empty() {
            return Err(format!("{text:?} names no service"));
        }
        let value = || Arc::from(self.header_value.as_deref().unwrap_or("always"));
        Ok(Canary {
            backend: Backend {
                service: ServiceKey::new(namespace, name),
                port,
            },
            weight_percent: auto.map_or(self.weight_percent, |auto| auto.step.weight_percent),
            header: self.header.clone().map(|name| (name, value())),
            auto: auto.cloned(),
        })
    }
}
