//! A durable writer for power-loss tests, and the judge of what is left.
//!
//! `powerloss_writer write DIR` writes without end and prints one line for each acknowledged
//! write; `powerloss_writer check DIR ACKED` fails unless everything named in the file ACKED is in
//! the store. Checkpoints come every few hundred writes, so that a power loss meets those too.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use skiff_api::Object;
use skiff_control_plane::store::{Store, StoreConfig};
use skiff_engine::{Outcome, Write};

const WRITERS: usize = 16;
const CHECKPOINT_BYTES: u64 = 512 << 10;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["write", dir] => write(open(dir)?).await,
        ["check", dir, acknowledged] => check(&open(dir)?, Path::new(acknowledged)).await,
        _ => Err("usage: powerloss_writer write DIR | check DIR ACKED".into()),
    }
}

fn open(dir: &str) -> Result<Store, Box<dyn Error>> {
    let config = StoreConfig {
        checkpoint_bytes: CHECKPOINT_BYTES,
        ..StoreConfig::new(Path::new(dir), 1)
    };
    Ok(Store::open(config, Box::new(|_, _| ()))?)
}

/// A name, and in it how much data belongs to it.
fn object(number: u64) -> Result<Object, Box<dyn Error + Send + Sync>> {
    let len = number.wrapping_mul(7919) % 3000;
    let data = "x".repeat(usize::try_from(len)?);
    Ok(Object::from_value(
        json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("c{number}-{len}"), "namespace": "default"},
        "data": {"k": data}}),
    )?)
}

async fn write(store: Store) -> Result<(), Box<dyn Error>> {
    let numbers = Arc::new(AtomicU64::new(0));
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let (store, numbers) = (store.clone(), numbers.clone());
        writers.spawn(async move {
            loop {
                let object = object(numbers.fetch_add(1, Ordering::Relaxed))?;
                let name = object.key().name.clone();
                let outcomes = store.propose(vec![Write::create(object)]).await?;
                if let [Outcome::Done(_)] = outcomes.as_slice() {
                    writeln!(std::io::stdout(), "{name}")?;
                } else {
                    return Err::<(), Box<dyn Error + Send + Sync>>("a new name was taken".into());
                }
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended?.map_err(|err| -> Box<dyn Error> { err })?;
    }
    Ok(())
}

async fn check(store: &Store, acknowledged: &Path) -> Result<(), Box<dyn Error>> {
    let state = store.read().await?;
    let found: BTreeMap<&str, usize> = state
        .objects()
        .map(|object| (object.key().name.as_ref(), object.body().len()))
        .collect();
    let text = std::fs::read_to_string(acknowledged)?;
    for name in text.lines() {
        let Some(body) = found.get(name) else {
            return Err(format!("{name} was acknowledged and is gone").into());
        };
        let len: usize = name.rsplit('-').next().unwrap_or_default().parse()?;
        if *body < len {
            return Err(format!("{name} has {body} bytes and should have over {len}").into());
        }
    }
    Ok(())
}
