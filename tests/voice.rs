//! The built-in voice with its real weights: `voxgate models pull hibari` brings them.
//!
//! Looked for in $VOXGATE_MODELS, ./models and the default folder. Without them every test here says so and
//! passes, unless VOXGATE_REQUIRE_MODELS=1.
#![cfg(feature = "engine")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::sync::OnceLock;

use voxgate::engine::speech::{FILES, MAX_TEXT, SpeechError, Voice};

/// The voice, loaded once for all tests; None where the weights are not.
fn voice() -> Option<&'static Voice> {
    static VOICE: OnceLock<Option<Voice>> = OnceLock::new();
    let voice =
        VOICE.get_or_init(|| folder().map(|dir| Voice::load(&dir).expect("the voice must load from its files")));
    if voice.is_none() {
        let required = std::env::var("VOXGATE_REQUIRE_MODELS").is_ok_and(|value| value == "1");
        assert!(!required, "VOXGATE_REQUIRE_MODELS=1, but there is no folder hibari with the voice's files");
        eprintln!("skipped: the voice's files are not there (voxgate models pull)");
    }
    voice.as_ref()
}

fn folder() -> Option<PathBuf> {
    let home = std::env::var("HOME").ok().map(|home| PathBuf::from(home).join(".local/share/voxgate/models"));
    let named = std::env::var("VOXGATE_MODELS").ok().map(PathBuf::from);
    let places = [named, Some("models".into()), home, Some("/var/lib/voxgate/models".into())];
    let mut folders = places.into_iter().flatten().map(|place| place.join("hibari"));
    folders.find(|dir| FILES.iter().all(|(_, name)| dir.join(name).is_file()))
}

fn seconds(samples: &[i16]) -> f32 {
    samples.len() as f32 / Voice::rate() as f32
}

fn level(samples: &[i16]) -> f32 {
    let sum: f32 = samples.iter().map(|&sample| (f32::from(sample) / 32_768.0).powi(2)).sum();
    (sum / samples.len() as f32).sqrt()
}

#[test]
fn an_empty_folder_is_named_as_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Voice::load(dir.path()), Err(SpeechError::Unreadable { .. })));
}

#[test]
fn a_file_cut_short_is_named_as_the_reason() {
    if voice().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let whole = folder().unwrap();
    for (_, cut) in FILES.iter().filter(|(_, name)| name.contains('.')) {
        for (_, name) in FILES {
            let bytes = std::fs::read(whole.join(name)).unwrap();
            let end = if name == cut { bytes.len() / 2 } else { bytes.len() };
            std::fs::write(dir.path().join(name), &bytes[..end]).unwrap();
        }
        match Voice::load(dir.path()) {
            Err(SpeechError::Damaged { file, .. }) => assert_eq!(file, *cut),
            Err(other) => panic!("{cut}: {other}"),
            Ok(_) => panic!("{cut} cut in half was not noticed"),
        }
    }
}

#[test]
fn what_cannot_be_said_is_refused_not_spoken() {
    let Some(voice) = voice() else { return };
    for text in ["", "   \n\t", "😀🎉", "你好，世界。", "\u{0}\u{7f}", "...", "Привет", "-- * --"] {
        assert!(matches!(voice.synthesize(text), Err(SpeechError::Unspeakable)), "{text:?}");
    }
}

#[test]
fn the_sayable_part_of_a_text_is_said() {
    let Some(voice) = voice() else { return };
    let alone = voice.synthesize("hello").unwrap();
    let among = voice.synthesize("你好 hello 😀").unwrap();
    assert_eq!(alone, among);
}

#[test]
fn a_text_without_end_has_an_end() {
    let Some(voice) = voice() else { return };
    let (long, longer) = ("Go on. ".repeat(700), "Go on. ".repeat(7_000));
    assert_eq!(voice.phonemes(&long), voice.phonemes(&longer));
    for endless in ["9", "a", "W.", "/x", "$9 ", "é", "-", "(", "\"a"] {
        let said: usize = voice.phonemes(&endless.repeat(MAX_TEXT)).iter().map(|part| part.chars().count()).sum();
        assert!(said < 5_500, "{endless} without end makes {said} phonemes");
    }
}

#[test]
fn a_word_of_four_hundred_letters_is_read() {
    let Some(voice) = voice() else { return };
    let samples = voice.synthesize(&"ha".repeat(200)).unwrap();
    assert!((10.0..200.0).contains(&seconds(&samples)), "{} s", seconds(&samples));
}

#[test]
fn a_sentence_lasts_as_long_as_a_person_takes() {
    let Some(voice) = voice() else { return };
    let samples = voice.synthesize("The quick brown fox jumps over the lazy dog.").unwrap();
    assert!((2.0..4.0).contains(&seconds(&samples)), "{} s", seconds(&samples));
}

#[test]
fn sentences_are_alike_in_loudness_do_not_clip_and_do_not_click() {
    let Some(voice) = voice() else { return };
    for text in ["Yes.", "Turn left at the next crossing.", "Shh!", "I am so sorry to hear that, really."] {
        let samples = voice.synthesize(text).unwrap();
        let middle = level(&samples);
        assert!((0.03..0.2).contains(&middle), "{text}: level {middle}");
        assert!(samples.iter().all(|sample| sample.unsigned_abs() < 30_000), "{text} clips");
        let ends = samples[..48].iter().chain(&samples[samples.len() - 48..]);
        assert!(ends.map(|sample| sample.unsigned_abs()).max().unwrap() < 300, "{text} clicks");
    }
}

#[test]
fn words_of_two_sounds_follow_their_sentence() {
    let Some(voice) = voice() else { return };
    let cases = [
        ("I read it yesterday.", "ɹˈɛd"),
        ("I will read it.", "ɹˈid"),
        ("We record every record.", "ɹəkˈɔɹd ˈɛvəɹi ɹˈɛkəɹd"),
        ("I live near a live show.", "lˈɪv nˌɪɹ ɐ lˈIv"),
        ("Close the door close to you.", "klˈOz ðə dˈɔɹ klˈOs"),
        ("I used to use it.", "jˈust tə jˈuz"),
        ("the apple and the pear", "ði ˈæpᵊl ænd ðə pˈɛɹ"),
        ("Tell us about the US.", "ˌʌs əbˈWt ðə jˌuˈɛs"),
    ];
    for (text, sounds) in cases {
        let said = voice.phonemes(text).concat();
        let plain = |text: &str| text.replace(['ˌ', 'ˈ'], "");
        assert!(plain(&said).contains(&plain(sounds)), "{text}: {said} has no {sounds}");
    }
}

#[test]
fn words_of_no_dictionary_are_read_by_their_letters() {
    let Some(voice) = voice() else { return };
    for text in ["Voxgate", "the zorblaxian's flumph", "xqzt", "Brzęczyszczykiewicz"] {
        let said = voice.phonemes(text).concat();
        assert!(said.chars().filter(|c| c.is_alphabetic()).count() >= 3, "{text}: {said}");
    }
}

#[test]
fn the_same_text_is_always_the_same_sound_also_from_several_threads() {
    let Some(voice) = voice() else { return };
    let texts = ["One moment, please.", "The kettle is boiling.", "It is half past seven."];
    let alone: Vec<Vec<i16>> = texts.iter().map(|text| voice.synthesize(text).unwrap()).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| texts.map(|text| voice.synthesize(text).unwrap()))).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap().to_vec(), alone);
        }
    });
}
