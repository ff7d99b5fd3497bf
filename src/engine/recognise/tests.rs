//! SenseVoice and Paraformer by networks of the tests' own, with the inputs, outputs and notes of the real exports.
//!
//! Real weights were never at hand: what is shown is that files of this form are loaded, asked and understood.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use super::*;
use crate::engine::testing::{PIECES, network, node, paraformer, sense_voice};

fn list(pieces: &[&str]) -> String {
    let lines: Vec<_> = pieces.iter().enumerate().map(|(n, piece)| format!("{piece} {n}")).collect();
    lines.join("\n")
}

fn folder(network: &[u8], pieces: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("model.int8.onnx"), network).unwrap();
    std::fs::write(dir.path().join("tokens.txt"), pieces).unwrap();
    dir
}

fn load(network: &[u8], pieces: &str) -> Result<Recogniser, String> {
    Recogniser::load(folder(network, pieces).path()).map_err(|error| error.to_string())
}

/// Half a second of noise, or of nothing, for each letter.
fn sound(pattern: &str) -> Vec<i16> {
    let mut state = 7_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        i16::try_from(state >> 20).unwrap() - 2_048
    };
    pattern.chars().flat_map(|c| (0..8_000).map(|_| if c == 'n' { noise() } else { 0 }).collect::<Vec<_>>()).collect()
}

#[test]
fn a_word_is_what_lies_between_silences_and_tags_are_no_words() {
    let ear = load(&sense_voice(None, "4"), &list(&PIECES)).unwrap();
    let (words, language) = ear.hear(&sound(".n.n."), None).unwrap();
    assert_eq!((words.as_str(), language.as_deref()), ("hello hello", Some("en")));
    assert_eq!(ear.hear(&sound("nnnn"), None).unwrap().0, "hello");
    assert_eq!(ear.languages(), ["zh", "en", "yue", "ja", "ko"]);
}

#[test]
fn the_language_that_is_asked_for_is_told_to_the_model_and_comes_back() {
    let ear = load(&sense_voice(None, "4"), &list(&PIECES)).unwrap();
    for (asked, heard) in [("zh-CN", "zh"), ("ZH", "zh"), ("yue", "yue"), ("ja_JP", "ja"), ("fr", "en"), ("", "en")] {
        assert_eq!(ear.hear(&sound("n"), Some(asked)).unwrap().1.as_deref(), Some(heard), "{asked}");
    }
}

#[test]
fn silence_and_what_the_model_calls_no_speech_have_no_words() {
    let ear = load(&sense_voice(None, "4"), &list(&PIECES)).unwrap();
    for nothing in [sound("."), sound(".")[..399].to_vec(), Vec::new()] {
        assert_eq!(ear.hear(&nothing, None).unwrap(), (String::new(), None));
    }
    let nobody = load(&sense_voice(None, "8"), &list(&PIECES)).unwrap();
    assert_eq!(nobody.hear(&sound("n"), None).unwrap(), (String::new(), None));
}

#[test]
fn paraformer_ends_at_its_end_and_joins_its_pieces() {
    let pieces = list(&["<blank>", "打", "开", "blue@@", "tooth", "</s>"]);
    let ear = load(&paraformer(), &pieces).unwrap();
    assert_eq!(ear.hear(&sound("n"), Some("zh")).unwrap(), ("打开 bluetooth".to_owned(), None));
    assert_eq!(ear.languages(), ["zh", "en"]);
}

#[test]
fn what_is_missing_or_damaged_is_named() {
    for note in ["lfr_window_size", "neg_mean", "inv_stddev", "lang_auto", "lang_yue", "with_itn"] {
        let told = load(&sense_voice(Some(note), "4"), &list(&PIECES)).err().unwrap();
        assert!(told.contains(note) && told.contains("model.int8.onnx"), "{told}");
    }
    let told = load(&sense_voice(None, "4"), "hello\n").err().unwrap();
    assert!(told.contains("tokens.txt") && told.contains("line 1"), "{told}");
    let alien = network(&["ids"], Vec::new(), vec![node("Identity", &["ids"], "same")], "same", &[]);
    let told = load(&alien, &list(&PIECES)).err().unwrap();
    assert!(told.contains("lfr_window_size"), "{told}");
    let good = sense_voice(None, "4");
    for cut in (0..good.len()).step_by(good.len() / 60) {
        assert!(load(&good[..cut], &list(&PIECES)).is_err(), "cut at {cut}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(Recogniser::load(empty.path()).is_err());
}

#[test]
fn a_smaller_network_is_taken_before_a_larger_one() {
    let dir = folder(&sense_voice(None, "4"), &list(&PIECES));
    std::fs::write(dir.path().join("model.onnx"), "not read").unwrap();
    assert!(network_of(dir.path()).unwrap().ends_with("model.int8.onnx"));
    assert!(Recogniser::load(dir.path()).is_ok());
}

#[test]
fn long_sound_is_heard_in_pieces_that_are_cut_where_it_is_quiet() {
    let long = sound(&format!("{}{}{}", "n".repeat(50), ".", "n".repeat(60)));
    let pieces = pieces(&long);
    assert_eq!(pieces.concat(), long, "nothing is lost");
    assert!(pieces.iter().all(|piece| piece.len() <= LONGEST));
    assert!(pieces[0].len().abs_diff(50 * 8_000) <= 8_000, "{}", pieces[0].len());
    assert_eq!(super::pieces(&sound("n")).len(), 1);
}
