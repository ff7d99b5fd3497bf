//! What is heard of replies: that nothing of what is replaced is, and all of what is not.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use proptest::prelude::*;

use super::*;
use crate::policy::{Metrics, Policies, Settings};

fn policies() -> Policies {
    Policies::open(&Settings::default(), Metrics::default()).unwrap()
}

fn cane() -> Scene {
    Scene { profile: Profile::Cane, ..Scene::default() }
}

/// What is spoken after each clause, and at the end.
fn hear(scene: Scene, clauses: &[&str]) -> (Vec<Vec<String>>, Decision) {
    let mut guard = policies().guard(scene);
    let mut heard: Vec<Vec<String>> = clauses.iter().map(|clause| guard.push((*clause).to_owned())).collect();
    heard.push(guard.finish());
    (heard, guard.decision())
}

fn all(heard: &[Vec<String>]) -> String {
    heard.concat().join(" ")
}

#[test]
fn what_is_harmless_goes_on_at_once_and_unchanged() {
    let clauses = ["Well,", "the sky is blue.", "It is a light blue."];
    let (heard, decision) = hear(cane(), &clauses);
    assert_eq!(heard[..3], clauses.map(|clause| vec![clause.to_owned()]));
    assert!(!decision.stepped_in() && decision.note().is_none());
}

#[test]
fn the_first_half_of_a_contradiction_is_never_heard() {
    let clauses = ["Well,", "turn left at the door.", "It is open.", "Turn right at the door.", "Good luck."];
    let (heard, decision) = hear(cane(), &clauses);
    assert_eq!(heard[0], ["Well,"]);
    assert_eq!(heard[1..3], [Vec::<String>::new(), Vec::new()], "what sends somebody left waits for the end");
    assert!(heard[3][0].contains("stop and check"), "{heard:?}");
    assert_eq!(heard[4..], [Vec::<String>::new(), Vec::new()], "nothing follows");
    assert_eq!(decision.reason, Some(Reason::Conflict));
    assert_eq!((decision.level, decision.downgraded), (Level::P1, true));
}

#[test]
fn steps_of_one_way_are_no_contradiction_and_are_heard_when_it_is_whole() {
    let (heard, decision) = hear(cane(), &["Turn left at the door,", "then turn right.", "You are there."]);
    assert_eq!(heard[..3], [Vec::<String>::new(), Vec::new(), Vec::new()]);
    assert_eq!(heard[3].len(), 3);
    assert!(!decision.downgraded);
    let (heard, _) = hear(cane(), &["Don't turn left.", "Turn right."]);
    assert_eq!(all(&heard), "Don't turn left. Turn right.");
}

#[test]
fn half_a_phrase_waits_for_its_other_half() {
    let (heard, _) = hear(cane(), &["in the kitchen behind the door there is a gas", "leak near the oven."]);
    assert_eq!(heard[0], Vec::<String>::new());
    assert_eq!(heard[1][0], "Careful: in the kitchen behind the door there is a gas");
    let (heard, decision) =
        hear(cane(), &["go to the end of the long white corridor and turn", "left there. Turn right."]);
    assert!(heard[0].is_empty() && decision.reason == Some(Reason::Conflict), "{heard:?}");
    let (heard, _) = hear(cane(), &["take the first one of all those long roads and turn", "around it."]);
    assert_eq!(heard[1].len(), 2, "it was another word: both halves are heard");
}

#[test]
fn a_risk_is_announced_once_and_not_where_the_reply_warns_by_itself() {
    let (heard, decision) = hear(cane(), &["Yes.", "A car is coming.", "The stairs are close."]);
    assert_eq!(all(&heard), "Yes. Careful: A car is coming. The stairs are close.");
    assert_eq!((decision.level, decision.flags), (Level::P0, vec![CAUTION]));
    assert_eq!(decision.rule_ids, ["en.traffic", "en.stairs"]);
    let (heard, decision) = hear(cane(), &["Watch out, a car is coming."]);
    assert_eq!((all(&heard).as_str(), decision.stepped_in()), ("Watch out, a car is coming.", false));
    let (heard, _) = hear(cane(), &["The bus stop is behind the stairs."]);
    assert!(all(&heard).starts_with("Careful: "), "a bus stop is no warning");
    let (heard, _) = hear(cane(), &["前面有台阶。"]);
    assert_eq!(all(&heard), "请注意：前面有台阶。", "in the language of what is said");
}

#[test]
fn without_a_confidence_no_rule_makes_one_up() {
    let (heard, decision) = hear(cane(), &["A car is coming from your left."]);
    assert_eq!(all(&heard), "Careful: A car is coming from your left.");
    assert_eq!((decision.confidence, decision.directional, decision.downgraded), (None, true, false));
}

#[test]
fn what_the_model_is_not_sure_of_is_replaced_as_a_whole() {
    for (sure, expected) in [(0.5, Some(Reason::LowConfidence)), (0.55, None), (f32::NAN, Some(Reason::LowConfidence))]
    {
        let scene = Scene { confidence: Some(sure), ..cane() };
        let (heard, decision) = hear(scene, &["It is a door.", "You can open it."]);
        assert_eq!(decision.reason, expected, "{sure}");
        assert_eq!(all(&heard).contains("door"), expected.is_none(), "{sure}");
    }
}

#[test]
fn a_doubtful_direction_beside_a_risk_is_replaced_whichever_comes_first() {
    for clauses in
        [["The door is on your left.", "A car is coming."], ["A car is coming.", "The door is on your left."]]
    {
        let (heard, decision) = hear(Scene { confidence: Some(0.7), ..cane() }, &clauses);
        assert_eq!(decision.reason, Some(Reason::Directional));
        assert_eq!(heard.concat().len(), 1, "{heard:?}");
        let (heard, decision) = hear(Scene { confidence: Some(0.9), ..cane() }, &clauses);
        assert!(decision.reason.is_none() && all(&heard).contains("on your left"));
    }
    let calm = Scene { confidence: Some(0.7), ..cane() };
    let (heard, _) = hear(calm.clone(), &["The door is on your left."]);
    assert_eq!(all(&heard), "The door is on your left.");
    let grave = Scene { context: Some(Level::P0), ..calm };
    assert_eq!(hear(grave, &["The door is on your left."]).1.reason, Some(Reason::Directional));
}

#[test]
fn the_worst_of_given_inferred_and_context_counts() {
    let scene = Scene { given: Some(Level::P2), context: Some(Level::P1), ..cane() };
    let (heard, decision) = hear(scene, &["It is a door."]);
    assert_eq!((decision.level, decision.inferred), (Level::P1, Level::P3));
    assert_eq!(all(&heard), "Careful: It is a door.");
}

#[test]
fn a_story_is_a_story_but_what_a_camera_sees_is_there() {
    let story = Scene { question: "Tell me a story about a dragon.".into(), ..cane() };
    let (heard, decision) = hear(story.clone(), &["The house was on fire.", "Turn left!", "Turn right!"]);
    assert_eq!((all(&heard).as_str(), decision.level), ("The house was on fire. Turn left! Turn right!", Level::P3));
    let seen = Scene { source: Source::VisionReply, ..story };
    assert_eq!(hear(seen, &["The house is on fire."]).1.level, Level::P0);
}

#[test]
fn a_toy_is_looked_at_and_says_every_word() {
    let toy = Scene { profile: Profile::Audit, confidence: Some(0.1), ..Scene::default() };
    let clauses = ["Turn left now.", "Turn right now.", "The kitchen is on fire."];
    let (heard, decision) = hear(toy, &clauses);
    assert_eq!(heard[..3], clauses.map(|clause| vec![clause.to_owned()]));
    assert!(!decision.stepped_in() && decision.flags.contains(&CONFLICT));
    assert_eq!(decision.note().unwrap()["level"], "P0");
    let (heard, decision) = hear(Scene::default(), &["The kitchen is on fire."]);
    assert_eq!(heard[0], ["The kitchen is on fire."]);
    let off = Scene { profile: Profile::Off, ..Scene::default() };
    assert_eq!((decision.level, hear(off, &["The kitchen is on fire."]).1.level), (Level::P0, Level::P3));
}

#[test]
fn a_reply_without_end_is_cut_where_a_sentence_ends() {
    let sentence = "The market sells apples, pears, plums and many other kinds of fruit.";
    let (heard, decision) = hear(cane(), &[sentence; 8]);
    assert!(all(&heard).chars().count() <= 320 + 4 && all(&heard).ends_with("fruit."), "{heard:?}");
    assert_eq!(decision.flags, [CUT]);
    let long = "word ".repeat(200);
    let decision = policies().judge(cane(), &long);
    assert!(decision.text.chars().count() <= 320 && decision.text.ends_with("word"));
    let decision = policies().judge(cane(), &"很".repeat(400));
    assert_eq!(decision.text.chars().count(), 320);
}

#[test]
fn of_a_reply_that_broke_off_nothing_is_heard_that_waited_for_its_end() {
    let mut guard = policies().guard(cane());
    assert!(guard.push("Turn left at the door.".into()).is_empty());
    guard.broke_off();
    assert!(guard.finish().is_empty() && guard.push("Go.".into()).is_empty());
    assert_eq!(guard.said_instead(), Some(""));
}

#[test]
fn nothing_to_say_is_said_so() {
    let decision = policies().judge(cane(), "  ");
    assert_eq!((decision.reason, decision.text.as_str()), (Some(Reason::Empty), "I have no answer to that."));
}

#[test]
fn an_audit_tells_what_was_done_and_by_which_rules() {
    let scene = Scene { given: Some(Level::P2), ..cane() };
    let audit = hear(scene, &["A car is coming.", "Turn left.", "Turn right."]).1.audit();
    assert_eq!(audit.policy, Policy::Safety);
    let body = audit.body;
    assert_eq!((&body["risk_level"], &body["reason"]), (&json!("P0"), &json!("semantic_guard_conflict")));
    assert_eq!(body["rule_ids"], json!(["en.traffic", CONFLICT_RULE]));
    assert_eq!(body["evidence"]["input_risk_level"], "P2");
    assert!(body["policy_version"].as_str().unwrap().contains("en."));
}

proptest! {
    /// However a reply is cut into clauses: what is replaced is not heard from the first clause on that may be part of
    /// it, and what is not replaced is heard whole.
    #[test]
    fn no_half_of_what_is_replaced_is_heard(
        parts in proptest::collection::vec(prop_oneof![
            Just("turn left"), Just("turn right"), Just("turn"), Just("left"), Just("right now"), Just("then"), Just("do not"), Just("the sky is blue"),
            Just("a car is coming"), Just("on your left"), Just("gas"), Just("leak"), Just("no"), Just("watch out"), Just("左转"), Just("向"), Just("右转"), Just("前面有车"),
        ], 1..14),
        marks in proptest::collection::vec(prop_oneof![Just(" "), Just(", "), Just(". "), Just("。")], 14),
        cuts in proptest::collection::vec(any::<bool>(), 14),
        sure in proptest::option::of(prop_oneof![Just(0.4_f32), Just(0.7), Just(0.95)]),
    ) {
        let mut clauses = vec![String::new()];
        for ((part, mark), cut) in parts.iter().zip(&marks).zip(&cuts) {
            let last = clauses.last_mut().unwrap();
            last.push_str(part);
            last.push_str(mark);
            if *cut {
                clauses.push(String::new());
            }
        }
        let clauses: Vec<String> = clauses.iter().map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect();
        let policies = policies_once();
        let scene = Scene { confidence: sure, ..cane() };
        let mut guard = policies.guard(scene.clone());
        let mut heard: Vec<String> = clauses.iter().flat_map(|clause| guard.push(clause.clone())).collect();
        heard.extend(guard.finish());
        let decision = guard.decision();
        let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
        let spoken = letters(&heard.join(" ").replace("Careful: ", "").replace("请注意：", ""));
        if decision.downgraded {
            let message = heard.pop().unwrap();
            let stops = policies.engine.packs.iter().flat_map(|pack| Level::ALL.map(|level| pack.say.stop.at(level)));
            prop_assert!(stops.into_iter().any(|stop| stop == message));
            for way in ["turn left", "turn right", "左转", "右转"] {
                let negated = heard.iter().any(|clause| clause.contains("do not") || clause.contains("no"));
                prop_assert!(negated || !heard.join(" ").contains(way), "{heard:?}");
            }
            let half = heard.last().is_some_and(|clause| clause.ends_with("turn") || clause.ends_with('向'));
            prop_assert!(!half, "{heard:?}");
            if sure == Some(0.4) {
                prop_assert!(heard.is_empty(), "{heard:?}");
            }
        } else {
            prop_assert_eq!(spoken, letters(&clauses.join(" ")));
        }
    }
}

/// Opened once for the many cases of a property.
fn policies_once() -> &'static Policies {
    static OPENED: std::sync::OnceLock<Policies> = std::sync::OnceLock::new();
    OPENED.get_or_init(policies)
}
