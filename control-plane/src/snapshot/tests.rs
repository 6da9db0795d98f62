use skiff_api::{Key, Kind};
use skiff_engine::{Command, Write};

use super::*;

fn sample(count: usize, len: usize) -> StateAt {
    let mut state = State::default();
    let writes = (0..count).map(|number| {
        let value = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("c-{number}"), "namespace": "default"},
            "data": {"k": "x".repeat(len)}});
        Write::create(Object::from_value(value).unwrap())
    });
    state.apply(&Command {
        term: 1,
        at: skiff_api::Millis(0),
        writes: writes.collect(),
    });
    let mark = Mark {
        index: 7,
        term: 2,
        revision: state.revision().0,
        ..Mark::default()
    };
    StateAt { mark, state }
}

fn bodies(at: &StateAt) -> Vec<(u64, Vec<u8>)> {
    let objects = at.state.objects();
    objects
        .map(|object| (object.revision().0, object.body().to_vec()))
        .collect()
}

#[test]
fn what_is_taken_apart_is_put_together_however_it_was_cut() {
    for (count, len) in [(0, 0), (1, 10), (700, 2000)] {
        let at = sample(count, len);
        let bytes: Vec<u8> = at.frames().flat_map(|frame| frame.to_vec()).collect();
        for cut in [1, 1000, bytes.len()] {
            let mut assembly = Assembly::default();
            for piece in bytes.chunks(cut) {
                assembly.push(piece).unwrap();
            }
            let found = assembly.finish().unwrap();
            assert_eq!(found.mark, at.mark);
            assert_eq!(bodies(&found), bodies(&at));
            let key = Key::new(Kind::ConfigMap, "default", "c-0");
            assert_eq!(found.state.get(&key).is_some(), count > 0);
        }
    }
}

#[test]
fn a_broken_stream_goes_on_behind_the_last_whole_frame() {
    let at = sample(700, 2000);
    let frames: Vec<_> = at.frames().collect();
    let mut assembly = Assembly::default();
    assembly.push(&frames[0]).unwrap();
    assembly.push(&frames[1][..100]).unwrap();
    assembly.resume();
    let done = usize::try_from(assembly.frames()).unwrap();
    for frame in frames.iter().skip(done) {
        assembly.push(frame).unwrap();
    }
    assert_eq!(bodies(&assembly.finish().unwrap()), bodies(&at));
}

#[test]
fn a_missing_frame_or_a_flipped_bit_is_noticed() {
    let at = sample(700, 2000);
    let frames: Vec<_> = at.frames().collect();
    for missing in 0..frames.len() {
        let mut assembly = Assembly::default();
        let taken = frames
            .iter()
            .enumerate()
            .filter(|(number, _)| *number != missing)
            .try_for_each(|(_, frame)| assembly.push(frame));
        let whole = taken.and_then(|()| assembly.finish());
        assert!(whole.is_err(), "frame {missing} is missing");
    }
    for at in [0, 5, 9, 100] {
        let mut bytes = frames[1].to_vec();
        bytes[at] ^= 0x10;
        let mut assembly = Assembly::default();
        assembly.push(&frames[0]).unwrap();
        let pushed = assembly
            .push(&bytes)
            .and_then(|()| assembly.push(&frames[2]));
        assert!(pushed.is_err(), "byte {at}");
    }
}
