//! The images of a simulated machine and of the registry that it pulls from.

use std::collections::{BTreeMap, BTreeSet};

use crate::runtime::{ImageInfo, ImageSummary, RuntimeError};

/// Which images there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Images {
    /// Every name is an image, and it is here. Costs nothing: for many nodes.
    All,
    /// Only these.
    Only {
        /// What is on this machine, with the user that each image runs as.
        here: BTreeMap<String, String>,
        /// What the registry has.
        registry: BTreeSet<String>,
    },
}

impl Images {
    /// These images are here, and no others are anywhere.
    #[must_use]
    pub fn here<const N: usize>(names: [&str; N]) -> Self {
        let here = names.map(|name| (name.to_owned(), String::new())).into();
        Self::Only {
            here,
            registry: BTreeSet::new(),
        }
    }

    /// Nothing is here; these can be pulled.
    #[must_use]
    pub fn remote<const N: usize>(names: [&str; N]) -> Self {
        Self::Only {
            here: BTreeMap::new(),
            registry: names.map(str::to_owned).into(),
        }
    }

    pub(super) fn find(&self, image: &str) -> Option<ImageInfo> {
        match self {
            Self::All => Some(info(image, "")),
            Self::Only { here, .. } => here.get(image).map(|user| info(image, user)),
        }
    }

    pub(super) fn list(&self) -> Vec<ImageSummary> {
        match self {
            Self::All => Vec::new(),
            Self::Only { here, .. } => here.keys().map(|name| summary(name)).collect(),
        }
    }

    pub(super) fn pull(&mut self, image: &str) -> Result<ImageInfo, RuntimeError> {
        if let Self::Only { here, registry } = self {
            if !registry.contains(image) {
                let message = format!("manifest for {image} not found: manifest unknown");
                return Err(RuntimeError::Pull {
                    image: image.to_owned(),
                    message,
                });
            }
            here.entry(image.to_owned()).or_default();
        }
        Ok(info(image, ""))
    }
}

fn info(image: &str, user: &str) -> ImageInfo {
    ImageInfo {
        summary: summary(image),
        user: user.to_owned(),
        has_command: true,
    }
}

fn summary(image: &str) -> ImageSummary {
    ImageSummary {
        id: id(image).into(),
        names: vec![image.to_owned()],
        size_bytes: 1 << 20,
    }
}

/// The id of the image of that name: readable, and another for every name.
pub(super) fn id(image: &str) -> String {
    format!("sha256:{image}")
}
