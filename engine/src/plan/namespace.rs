//! Gives each namespace its default service account, and empties those that are being deleted:
//! a namespace goes when nothing is left in it.

use skiff_api::{Key, Kind, Object, Scope};

use super::deletion::{self, Haste};
use super::{Controller, Plan, all};
use crate::admit;
use crate::apply::Change;
use crate::command::Write;
use crate::draft::Draft;
use crate::stamp::Stamper;
use crate::state::State;

/// The finalizer in a namespace's `spec` that stands for its content.
const CONTENT: &str = "kubernetes";
/// The service account that pods get if they name none.
const ACCOUNT: &str = "default";

/// Objects deleted by one command; the next pass does the rest.
const BURST: usize = 500;

pub(super) const CONTROLLER: Controller = Controller {
    name: "namespace",
    wakes,
    resync: |state| all(state, Kind::Namespace),
    plan,
};

fn wakes(state: &State, change: &Change) -> Vec<Key> {
    let key = change.key();
    if key.kind == Kind::Namespace {
        return vec![key.clone()];
    }
    let namespace = Key::cluster(Kind::Namespace, &key.namespace);
    let ending = state
        .get(&namespace)
        .is_some_and(|object| object.meta().deletion.is_some());
    let account = key.kind == Kind::ServiceAccount && change.now.is_none();
    if ending || account {
        vec![namespace]
    } else {
        Vec::new()
    }
}

fn plan(state: &State, key: &Key, stamper: &mut Stamper) -> Plan {
    let mut plan = Plan::default();
    match state.get(key) {
        Some(namespace) if namespace.meta().deletion.is_some() => {
            empty(state, namespace, stamper, &mut plan);
        }
        Some(_) => give_account(state, &key.name, stamper, &mut plan),
        None => {}
    }
    plan
}

fn give_account(state: &State, namespace: &str, stamper: &mut Stamper, plan: &mut Plan) {
    if state
        .get(&Key::new(Kind::ServiceAccount, namespace, ACCOUNT))
        .is_none()
    {
        plan.change(Draft::new(
            Kind::ServiceAccount,
            namespace,
            ACCOUNT,
            stamper,
        ));
    }
}

fn empty(state: &State, namespace: &Object, stamper: &mut Stamper, plan: &mut Plan) {
    let kinds = Kind::all().filter(|kind| kind.info().scope == Scope::Namespaced);
    let mut content = kinds
        .flat_map(|kind| state.list(kind, Some(&namespace.key().name)))
        .peekable();
    if content.peek().is_none() {
        plan.writes.extend(finalize(namespace));
        return;
    }
    let deletions = content
        .filter_map(|object| deletion::delete(state, object, Haste::Graceful, None, stamper));
    plan.writes.extend(deletions.take(BURST));
    plan.again_if_written(stamper.at());
}

/// Takes the content's finalizer off an empty namespace, which goes if nobody else holds it.
fn finalize(namespace: &Object) -> Option<Write> {
    let mut draft = Draft::of(namespace);
    let finalizers = draft.value.pointer_mut("/spec/finalizers");
    if let Some(finalizers) = finalizers.and_then(serde_json::Value::as_array_mut) {
        finalizers.retain(|finalizer| finalizer != CONTENT);
    }
    if admit::is_gone(&draft.clone().object()) {
        return Some(Write::remove(namespace));
    }
    draft.write()
}
