//! Laws: defaults settle at once, an unchanged object stays unchanged, nothing panics.

use proptest::prelude::*;

use super::*;

/// One of these, or nothing there.
fn maybe(values: Vec<Value>) -> impl Strategy<Value = Option<Value>> {
    prop::option::of(prop::sample::select(values))
}

/// Valid pod specs with a choice of what is given.
fn specs() -> impl Strategy<Value = Value> {
    let resources = maybe(vec![
        json!({}),
        json!({"limits": {"cpu": "1"}}),
        json!({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "200m"}}),
    ]);
    let probe = maybe(vec![
        json!({"httpGet": {"port": 80}}),
        json!({"tcpSocket": {"port": "web"}, "periodSeconds": 0}),
        json!({"exec": {"command": ["x"]}, "timeoutSeconds": 9}),
    ]);
    let ports = maybe(vec![
        json!([{"containerPort": 80, "name": "web"}]),
        json!([]),
    ]);
    let volumes = maybe(vec![
        json!([{"name": "v"}]),
        json!([{"name": "v", "secret": {"secretName": "s"}}, {"name": "w", "hostPath": {"path": "/x"}}]),
    ]);
    let image = prop::sample::select(vec!["web", "web:1", "host:5000/web@sha256:00"]);
    (resources, probe, ports, volumes, image, any::<bool>()).prop_map(
        |(resources, probe, ports, volumes, image, host)| {
            let mut container = json!({"name": "a", "image": image});
            for (name, value) in [
                ("resources", resources),
                ("readinessProbe", probe),
                ("ports", ports),
            ] {
                if let Some(value) = value {
                    container[name] = value;
                }
            }
            let mut spec = json!({"containers": [container], "hostNetwork": host});
            if let Some(volumes) = volumes {
                spec["volumes"] = volumes;
            }
            spec
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn defaults_of_defaults_are_the_defaults(spec in specs()) {
        let mut once = json!({"spec": spec});
        normalise(Kind::Pod, &mut once);
        pod::complete(&mut once);
        let mut twice = once.clone();
        pod::complete(&mut twice);
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn nothing_that_a_user_set_is_lost(spec in specs()) {
        let object = json!({"metadata": {"name": "p"}, "spec": spec});
        let kept = stored(Kind::Pod, object.clone()).to_value();
        let mut wanted = object;
        normalise(Kind::Pod, &mut wanted);
        prop_assert!(contains(&kept["spec"], &wanted["spec"]), "{} lacks some of {}", kept, wanted);
    }

    #[test]
    fn an_update_with_the_same_value_changes_nothing(spec in specs(), replicas in 0..9i64) {
        let object = set(deployment(), "/spec/template/spec", spec.clone());
        let objects = [
            stored(Kind::Pod, json!({"metadata": {"name": "p"}, "spec": spec})),
            stored(Kind::Deployment, set(object.clone(), "/spec/replicas", replicas.into())),
            stored(Kind::ReplicaSet, object),
        ];
        for old in objects {
            let new = updated(&old, old.to_value()).unwrap();
            prop_assert!(new.same_content(&old), "{:?}", old);
        }
    }

    #[test]
    fn no_value_of_wrong_types_panics(junk in junk(), field in "[a-z]{1,8}") {
        for kind in Kind::all() {
            for value in [
                junk.clone(),
                json!({"metadata": junk, "spec": junk, "status": junk, "data": junk}),
                json!({"metadata": {"name": "a", "labels": junk, "finalizers": junk, "ownerReferences": junk},
                    "spec": {"containers": junk, "volumes": junk, "selector": junk, "template": junk,
                        "strategy": junk, "tolerations": [junk], &field: junk}}),
                json!({"metadata": {"name": "a"}, "spec": {"containers": [junk, {"env": junk, "ports": [junk],
                    "resources": junk, "livenessProbe": junk, "volumeMounts": [junk]}]}}),
            ] {
                prop_assert!(warnings(kind, &value).len() < 64);
                if let Ok(object) = created(kind, value.clone()) {
                    let known = updated(&object, value.clone());
                    let report = update_status(&object, value.clone(), &request(&state()));
                    let sized = scale(&object, value.clone(), &request(&state()));
                    let bound = bind(&object, &value, &request(&state()));
                    let gone = delete(&object, &DeleteOptions::default(), &request(&state()));
                    prop_assert!(known.is_ok() || known.is_err());
                    prop_assert!(report.is_ok() || sized.is_ok() || bound.is_ok() || gone.is_ok());
                }
            }
        }
    }
}

/// Whether a value has everything that another one says.
fn contains(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            // Zero means "not given" in a probe's numbers.
            wanted == &json!(0) || value.get(key).is_some_and(|value| contains(value, wanted))
        }),
        (Value::Array(value), Value::Array(wanted)) => {
            value.len() == wanted.len() && value.iter().zip(wanted).all(|(a, b)| contains(a, b))
        }
        (value, wanted) => value == wanted,
    }
}

/// Values of any type and shape.
fn junk() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let keys = prop::sample::select(vec!["name", "matchLabels", "limits", "type", "key", "$x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..3).prop_map(|pairs| {
                Value::Object(
                    pairs
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}
