//! What fuzzing has kept, through the same functions as `cargo xtask fuzz` runs.

#[expect(unreachable_pub, reason = "the crate in fuzz/ hands them to its programs")]
#[path = "../../fuzz/src/targets.rs"]
mod targets;

/// Each input of a target.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut replayed = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        run(&std::fs::read(file.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "{target} has no corpus");
}

#[test]
fn greetings_of_the_corpus_break_nothing() {
    replay("greeting", targets::greeting);
}

#[test]
fn messages_of_the_corpus_break_nothing() {
    replay("message", targets::message);
}

#[test]
fn websocket_frames_of_the_corpus_break_nothing() {
    replay("websocket", targets::websocket);
}

#[test]
fn names_of_the_corpus_break_nothing() {
    replay("names", targets::names);
}
