//! Piper voices by networks and readers of the tests' own; `tests/engines.rs` has a real one.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::path::Path;

use super::*;
use crate::engine::testing::{LETTERS, network, node, sounds};

fn folder(network: &[u8], description: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("xx-letters.onnx"), network).unwrap();
    std::fs::write(dir.path().join("xx-letters.onnx.json"), description).unwrap();
    dir
}

fn letters() -> Piper {
    Piper::load(folder(&sounds(true), LETTERS).path(), None).unwrap()
}

fn ids(voice: &Piper, text: &str) -> Vec<i32> {
    voice.stretches(text).unwrap().concat().concat()
}

#[test]
fn a_voice_that_reads_letters_needs_no_program_and_says_the_same_each_time() {
    let voice = letters();
    let said = voice.say("abc, cab.").unwrap();
    assert!(said.len() > 1_600 && voice.rate() == 16_000, "{}", said.len());
    assert_eq!(said, voice.say("abc, cab.").unwrap());
    assert_eq!(said, letters().say("abc, cab.").unwrap(), "the noise begins with the same seed in each process");
    assert_eq!(voice.languages(), ["xx"]);
}

#[test]
fn the_noise_is_what_the_description_says() {
    let still = LETTERS.replace("\"audio\"", "\"inference\": {\"noise_scale\": 0.0}, \"audio\"");
    let still = Piper::load(folder(&sounds(false), &still).path(), None).unwrap();
    let noisy = Piper::load(folder(&sounds(false), LETTERS).path(), None).unwrap();
    assert_ne!(still.sound(&[&[14], &[15]]).unwrap(), noisy.sound(&[&[14], &[15]]).unwrap());
    let heights = still.sound(&[&[14], &[15, 16]]).unwrap();
    let heights: Vec<f32> = heights.chunks(200).map(|phoneme| (phoneme[0] * 100.0).round()).collect();
    assert_eq!(heights, [1., 0., 14., 0., 15., 16., 0., 2.], "begin, gap, each phoneme with a gap behind, end");
}

#[test]
fn a_speaker_is_heard_and_a_stranger_refused() {
    let dir = folder(&sounds(true), LETTERS);
    let of = |speaker| Piper::load(dir.path(), speaker).unwrap().sound(&[&[14]]).unwrap();
    assert_eq!(of(None), of(Some("ann")));
    assert_ne!(of(None), of(Some("bob")));
    let error = Piper::load(dir.path(), Some("eve")).err().unwrap().to_string();
    assert!(error.contains("engine.speaker") && error.contains("ann, bob"), "{error}");
}

#[test]
fn letters_are_taken_apart_as_in_training_and_what_is_unknown_is_left_out() {
    let voice = letters();
    assert_eq!(ids(&voice, "ab, c."), [14, 15, 16, 8, 3, 17, 10]);
    assert_eq!(ids(&voice, "ç"), [17, 41], "c and its hook, although ç has a number of its own");
    assert_eq!(ids(&voice, "é"), [42], "whole where its parts are not known");
    assert_eq!(ids(&voice, "ABx c"), [14, 15, 16, 3, 17]);
    for nothing in ["", "xyz", "你好。", "😀", "x, y.", "...", "\u{0}"] {
        assert!(ids(&voice, nothing).is_empty(), "{nothing}");
        assert!(voice.say(nothing).unwrap().is_empty(), "{nothing}");
    }
}

#[test]
fn a_long_text_is_made_in_stretches_and_has_an_end() {
    let voice = letters();
    let stretches = voice.stretches(&"abc cab, ".repeat(2_000)).unwrap();
    assert!(stretches.iter().all(|stretch| stretch.len() <= AT_ONCE) && stretches.len() > 5);
    let all = stretches.iter().map(Vec::len).sum::<usize>();
    assert!((MOST..MOST + MOST / 5).contains(&all), "{all}");
    let unbroken = voice.stretches(&"a".repeat(5_000)).unwrap();
    assert!(unbroken.iter().all(|stretch| stretch.len() <= AT_ONCE));
}

#[test]
fn files_that_are_damaged_or_of_something_else_are_named() {
    let good = sounds(false);
    let names = |dir: &Path| Piper::load(dir, None).err().unwrap().to_string();
    for cut in (0..good.len()).step_by(7) {
        let dir = folder(&good[..cut], LETTERS);
        // behind the graph stand only numbers of versions
        match Piper::load(dir.path(), None) {
            Err(error) => assert!(error.to_string().contains("xx-letters.onnx: "), "cut at {cut}: {error}"),
            Ok(_) => assert!(cut + 16 > good.len(), "cut at {cut}"),
        }
    }
    let alien = network(&["ids"], Vec::new(), vec![node("Identity", &["ids"], "same")], "same", &[]);
    let told = names(folder(&alien, LETTERS).path());
    assert!(told.contains("there is no input") && told.contains("ids"), "{told}");
    let told = names(folder(&good, &LETTERS[..90]).path());
    assert!(told.contains("xx-letters.onnx.json"), "{told}");
    let unknown = network(&["input"], Vec::new(), vec![node("Frobnicate", &["input"], "out")], "out", &[]);
    let told = names(folder(&unknown, LETTERS).path());
    assert!(told.contains("Frobnicate"), "{told}");
    let empty = tempfile::tempdir().unwrap();
    assert!(names(empty.path()).contains("NAME.onnx.json"));
    assert!(files(Path::new("/nowhere")).is_none());
}

#[test]
fn a_byte_changed_anywhere_never_panics() {
    let good = sounds(true);
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        let dir = folder(&bytes, LETTERS);
        if let Ok(voice) = Piper::load(dir.path(), None) {
            // said or refused, both are well
            let _said = voice.say("abc").is_ok();
        }
    }
}

#[test]
fn a_missing_reader_is_named_with_what_to_install() {
    let espeak = LETTERS.replace("\"text\"", "\"espeak\", \"espeak\": {\"voice\": \"en-us\"}");
    let dir = folder(&sounds(true), &espeak);
    let error = Piper::load_with(dir.path(), None, "/nowhere/espeak-ng").err().unwrap().to_string();
    assert!(error.contains("install the package espeak-ng"), "{error}");
}
