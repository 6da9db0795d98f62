//! From a write as a client asks for it to the one that is proposed: what the handlers of the HTTP
//! API do, without HTTP. The deciding itself is the engine's.

use serde_json::{Value, json};
use skiff_api::{Kind, Object, Reason, Status};
use skiff_engine::admit::{self, DeleteOptions, Deletion};
use skiff_engine::patch::{self, Dialect};
use skiff_engine::{State, Write};

use crate::message::Call;

/// What a request comes to.
pub(super) enum Decision {
    /// There is nothing to write; this is the answer.
    Nothing(Object),
    /// This is to be proposed. If its guard fails, the request is decided again.
    Write(Write),
}

/// Decides a write on a state.
///
/// # Errors
/// What the API would answer.
pub(super) fn decide(call: &Call, state: &State, stamp: admit::Stamp) -> Result<Decision, Status> {
    let request = admit::Request {
        state,
        stamp,
        user: "simulated",
    };
    match call {
        Call::Create(kind, value) => create(*kind, value.clone(), &request),
        Call::Update(key, value) => {
            let old = find(state, key)?;
            Ok(change(old, admit::update(old, value.clone(), &request)?))
        }
        Call::Patch { key, patch, status } => {
            let old = find(state, key)?;
            let value = patch::apply(Dialect::Merge, key.kind, old.to_value(), patch.clone())?;
            let new = if *status {
                admit::update_status(old, value, &request)?
            } else {
                admit::update(old, value, &request)?
            };
            Ok(change(old, new))
        }
        Call::Delete { key, at_once } => {
            let options = at_once
                .as_ref()
                .map(|uid| json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}));
            let options = DeleteOptions::parse(&options.unwrap_or(Value::Null))?;
            let old = find(state, key)?;
            Ok(match admit::delete(old, &options, &request)? {
                Deletion::Unchanged(object) => Decision::Nothing(object),
                Deletion::Now => Decision::Write(Write::remove(old)),
                Deletion::Mark(new) => Decision::Write(Write::replace(old, new)),
            })
        }
        Call::Get(_) | Call::List(_) | Call::Watch(..) => Err(Status::failure(
            Reason::BadRequest,
            "it writes nothing".to_owned(),
        )),
    }
}

fn find<'a>(state: &'a State, key: &skiff_api::Key) -> Result<&'a Object, Status> {
    state
        .get(key)
        .ok_or_else(|| Status::not_found(key.kind, &key.name))
}

fn create(kind: Kind, value: Value, request: &admit::Request<'_>) -> Result<Decision, Status> {
    let namespace = value
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    let object = admit::create(kind, &namespace, value, request)?;
    if request.state.get(object.key()).is_some() {
        return Err(Status::already_exists(kind, &object.key().name));
    }
    Ok(Decision::Write(Write::create(object)))
}

fn change(old: &Object, new: Object) -> Decision {
    if new.same_content(old) {
        Decision::Nothing(old.clone())
    } else if admit::is_gone(&new) {
        Decision::Write(Write::remove(old))
    } else {
        Decision::Write(Write::replace(old, new))
    }
}
