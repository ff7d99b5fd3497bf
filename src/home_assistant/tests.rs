//! What is told, topic by topic.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use super::*;
use crate::domain::Wall;

/// What is retained, and everything that was published, in order.
#[derive(Default)]
struct Broker(Mutex<(BTreeMap<String, Bytes>, Vec<String>)>);

impl Bulletins for Broker {
    fn event(&self, _: Event) {}

    fn publish(&self, topic: &str, payload: Bytes, _: QoS, retain: bool) {
        assert!(retain);
        let mut kept = self.0.lock().unwrap();
        kept.1.push(format!("{}{topic}", if payload.is_empty() { "-" } else { "+" }));
        if payload.is_empty() {
            kept.0.remove(topic);
        } else {
            kept.0.insert(topic.to_owned(), payload);
        }
    }

    fn watched(&self, _: &str) -> bool {
        true
    }
}

impl Broker {
    fn json(&self, topic: &str) -> Value {
        self.0.lock().unwrap().0.get(topic).map_or(Value::Null, |text| serde_json::from_slice(text).unwrap())
    }

    fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

fn home(settings: Settings) -> (Arc<Home>, Arc<Broker>) {
    let (table, broker) = (Arc::new(Table::builtin("box").unwrap()), Arc::new(Broker::default()));
    (Home::new(settings, true, table, broker.clone()), broker)
}

fn on() -> Settings {
    Settings { discovery: true, ..Settings::default() }
}

fn about(id: &str) -> About {
    About { device: DeviceId::parse(id).unwrap(), name: None, area: None }
}

fn heard(home: &Arc<Home>, broker: &Arc<Broker>, id: &str, text: &str) {
    let detail = json!({"text": text, "turn_id": 7, "session_id": "s"});
    let device = Some(DeviceId::parse(id).unwrap());
    let event = Event { device, at: Wall(5), kind: EventKind::Transcript, detail };
    Ear::new(Arc::clone(home), Arc::clone(broker) as Arc<dyn Bulletins>).event(event);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    assert!(on().check("home_assistant").is_empty());
    for prefix in ["", "a/b", "home+", "device", "gateway", "$x"] {
        let wrong = Settings { prefix: prefix.to_owned(), ..on() };
        assert_eq!(wrong.check("home_assistant")[0].key, "home_assistant.prefix", "{prefix}");
    }
    let wrong = Settings { transcripts: true, ..Settings::default() };
    assert_eq!(wrong.check("home_assistant")[0].key, "home_assistant.transcripts");
}

/// The keys that Home Assistant knows at the root and in `device` and `origin`; for one more it refuses all of it.
#[test]
fn the_description_is_one_that_home_assistant_takes() {
    let (home, broker) = home(Settings { transcripts: true, ..on() });
    let name = Some("Grandma's cane".to_owned());
    home.devices(&[About { name, area: Some("Kitchen".into()), ..about("AA:bb.1") }]);
    let told = broker.json("homeassistant/device/voxgate_AA_bb_1/config");
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&told), ["availability", "availability_mode", "components", "device", "origin", "qos"]);
    assert_eq!(keys(&told["origin"]), ["name", "sw_version"]);
    assert_eq!(keys(&told["device"]), ["identifiers", "manufacturer", "name", "serial_number", "suggested_area"]);
    assert_eq!(told["device"]["identifiers"], json!(["voxgate_AA:bb.1"]));
    assert_eq!(told["device"]["name"], "Grandma's cane");
    let components = told["components"].as_object().unwrap();
    let names = ["abort", "battery", "online", "reboot", "say", "signal", "state", "transcript"];
    assert_eq!(keys(&told["components"]), names);
    for (name, component) in components {
        // stable, and of the true id
        assert_eq!(component["unique_id"], format!("voxgate_AA:bb.1_{name}"));
        let needed = match component["platform"].as_str().unwrap() {
            "sensor" | "binary_sensor" => "state_topic",
            "button" | "notify" => "command_topic",
            other => panic!("{other}"),
        };
        assert!(component[needed].is_string(), "{name}");
    }
}

#[test]
fn every_topic_that_is_named_is_one_of_the_table() {
    let (home, broker) = home(Settings { transcripts: true, ..on() });
    home.devices(&[about("cane-1")]);
    let told = broker.json("homeassistant/device/voxgate_cane-1/config");
    let mut topics = Vec::new();
    let lists = [told["availability"].clone(), told["components"]["online"]["availability"].clone()];
    for entry in lists.iter().flat_map(|list| list.as_array().unwrap()) {
        topics.push(entry["topic"].as_str().unwrap().to_owned());
    }
    for component in told["components"].as_object().unwrap().values() {
        let fields = component.as_object().unwrap();
        let named = fields.iter().filter(|(key, _)| key.ends_with("_topic"));
        topics.extend(named.map(|(_, topic)| topic.as_str().unwrap().to_owned()));
    }
    assert_eq!(topics.len(), 11);
    let table = Table::builtin("box").unwrap();
    let operator = crate::topics::Who::Operator(crate::topics::Role::Operator);
    for topic in topics {
        assert!(!table.is_free(&topic), "{topic} is no topic of the table");
        if topic.contains("/command/") {
            assert!(table.command(&topic).is_some() && table.may_publish(&operator, &topic), "{topic}");
        }
    }
}

#[test]
fn a_device_is_told_when_it_is_new_or_changed_and_taken_back_when_it_is_gone() {
    let (home, broker) = home(on());
    let topic = |id: &str| format!("homeassistant/device/voxgate_{id}/config");
    home.devices(&[about("a"), about("b")]);
    assert_eq!(broker.news(), [format!("+{}", topic("a")), format!("+{}", topic("b"))]);
    home.devices(&[about("a"), about("b")]);
    assert!(broker.news().is_empty(), "nothing new");
    home.devices(&[About { name: Some("Anna".into()), ..about("a") }, about("b")]);
    assert_eq!(broker.news(), [format!("+{}", topic("a"))]);
    home.again();
    assert_eq!(broker.news().len(), 2);
    home.devices(&[about("b")]);
    let gone = [format!("-{}", topic("a")), "-device/a/session".into(), "-device/a/transcript".into()];
    assert_eq!(broker.news(), gone);
}

#[test]
fn ids_that_home_assistant_would_write_alike_do_not_take_each_others_place() {
    let (home, broker) = home(on());
    home.devices(&[about("a.b"), about("a:b"), about("a_b")]);
    let news = broker.news();
    assert_eq!(news.iter().collect::<HashSet<_>>().len(), 3, "{news:?}");
    assert_eq!(broker.json("homeassistant/device/voxgate_a_b/config")["device"]["serial_number"], "a_b");
    // the one that is left alone moves to the plain place, and the other's is taken back before
    home.devices(&[about("a:b")]);
    let news = broker.news();
    let plain = "+homeassistant/device/voxgate_a_b/config".to_owned();
    let (taken, given) =
        (news.iter().position(|n| *n == plain.replacen('+', "-", 1)), news.iter().position(|n| *n == plain));
    assert!(taken.unwrap() < given.unwrap(), "{news:?}");
    assert_eq!(broker.json("homeassistant/device/voxgate_a_b/config")["device"]["serial_number"], "a:b");
}

#[test]
fn what_was_said_is_told_to_nobody_unless_it_is_wanted() {
    for settings in [on(), Settings::default(), Settings { transcripts: true, ..Settings::default() }] {
        let (home, broker) = home(settings.clone());
        home.devices(&[about("a")]);
        heard(&home, &broker, "a", "my secret");
        assert_eq!(broker.json("device/a/transcript"), Value::Null);
        let told = broker.json("homeassistant/device/voxgate_a/config");
        let transcript = &told["components"]["transcript"];
        assert!(settings.transcripts || *transcript == json!({"platform": "sensor"}), "taken back if it was there");
    }
    let (home, broker) = home(Settings { transcripts: true, ..on() });
    home.devices(&[about("a")]);
    heard(&home, &broker, "a", "good morning");
    assert_eq!(broker.json("device/a/transcript"), json!({"text": "good morning", "turn_id": 7, "at": 5}));
    home.devices(&[]);
    heard(&home, &broker, "a", "too late");
    assert_eq!(broker.json("device/a/transcript"), Value::Null);
}

#[test]
fn what_a_session_does_is_told_once_and_a_device_without_one_is_closed() {
    let (home, broker) = home(on());
    home.devices(&[about("a"), about("b")]);
    broker.news();
    let doing = |id: &str, state: &str| Doing {
        device: DeviceId::parse(id).unwrap(),
        state: state.to_owned(),
        session: "s-1".to_owned(),
        turns: 3,
    };
    home.doing(vec![doing("a", "speaking"), doing("stranger", "ready")]);
    home.doing(vec![doing("a", "speaking")]);
    assert_eq!(broker.news().len(), 2);
    assert_eq!(broker.json("device/a/session"), json!({"state": "speaking", "session_id": "s-1", "turns": 3}));
    assert_eq!(broker.json("device/b/session")["state"], "closed");
    home.online(|device| device.as_str() == "a");
    home.online(|device| device.as_str() == "a");
    home.online(|_| false);
    assert_eq!(broker.news(), ["+device/a/status", "+device/a/status"]);
}

#[test]
fn switched_off_it_takes_back_what_it_told_before() {
    let (home, broker) = home(Settings::default());
    home.withdraw(&[about("a")]);
    let gone = ["-homeassistant/device/voxgate_a/config", "-device/a/session", "-device/a/transcript"];
    assert_eq!(broker.news(), gone);
}

#[test]
fn another_prefix_is_another_first_level() {
    let (home, broker) = home(Settings { prefix: "ha".into(), ..on() });
    home.devices(&[about("a")]);
    assert_eq!(broker.news(), ["+ha/device/voxgate_a/config"]);
    assert_eq!(home.birth_topic(), "ha/status");
}
