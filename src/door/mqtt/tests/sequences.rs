//! Packet sequences as data: `tests/data/mqtt/*.txt`, bytes in and out, played by this one runner.
//!
//! A file has cases that begin with `= NAME`, and `let NAME = BYTES` for all of them. A line is a client (a letter,
//! each a connection of its own) and what it does: `>` sends, `<` expects exactly these bytes, `<<` expects packets
//! in any order with `+` between them, `<|` one of several with `|` between them, `<~` this packet after any others,
//! `x` expects the end, `x!` resets the connection, `quiet` pings and expects nothing but the answer. `later 3s`
//! moves the clock, `restart` restarts the gateway over its store, `away a` waits until the gateway has noticed that
//! the client is gone.
//!
//! Bytes are hex; `'text` is a text's bytes, `"text` the same after its length, `secret:USER` a password after its
//! length, `$NAME` what `let` says, `[ … ]` what is in it after its length as a variable byte integer.

use std::collections::BTreeMap;

use super::*;

#[derive(Default)]
struct File {
    conformance: bool,
    names: BTreeMap<String, String>,
    cases: Vec<(String, Vec<String>)>,
}

fn parse(text: &str) -> File {
    let mut file = File::default();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        if let Some(name) = line.strip_prefix("= ") {
            file.cases.push((name.to_owned(), Vec::new()));
        } else if let Some(rest) = line.strip_prefix("let ") {
            let (name, bytes) = rest.split_once(" = ").unwrap();
            file.names.insert(name.to_owned(), bytes.to_owned());
        } else if line == "settings conformance" {
            file.conformance = true;
        } else {
            file.cases.last_mut().expect("a case").1.push(line.to_owned());
        }
    }
    file
}

/// What `config/profiles/conformance.toml` says, but for the port.
fn conformance() -> Settings {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/profiles/conformance.toml");
    let config = crate::config::load(&path).expect("the profile is valid");
    Settings { listen: local().listen, ..config.mqtt }
}

#[tokio::test]
async fn every_recorded_sequence_plays() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mqtt");
    let mut played = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|p| p.extension().is_some_and(|e| e == "txt")) {
        let file = parse(&std::fs::read_to_string(path).unwrap());
        for (name, lines) in &file.cases {
            let settings = if file.conformance { conformance() } else { local() };
            let mut player = Player {
                fixture: Some(Fixture::with(settings).await),
                names: &file.names,
                peers: BTreeMap::new(),
                place: String::new(),
            };
            for line in lines {
                player.place = format!("{}: {name}: {line}", path.file_name().unwrap().display());
                player.play(line).await;
            }
            player.fixture.take().unwrap().stop().await;
            played += 1;
        }
    }
    assert!(played >= 80, "{played} sequences");
}

struct Player<'a> {
    fixture: Option<Fixture>,
    names: &'a BTreeMap<String, String>,
    peers: BTreeMap<String, Peer>,
    place: String,
}

impl Player<'_> {
    async fn play(&mut self, line: &str) {
        let (who, what) = line.split_once(' ').unwrap_or((line, ""));
        match (who, what.split_once(' ').unwrap_or((what, ""))) {
            ("restart", _) => {
                self.peers.clear();
                let fixture = self.fixture.take().unwrap();
                self.fixture = Some(fixture.restart().await);
            }
            ("later", (time, _)) => later(time.trim_end_matches('s').parse().unwrap()).await,
            ("away", (id, _)) => {
                let fixture = self.fixture.as_ref().unwrap();
                until(&self.place, || fixture.bus.hub().is_away(id)).await;
            }
            (_, (">", bytes)) => {
                let bytes = self.bytes(bytes);
                if !self.peers.contains_key(who) {
                    let peer = self.fixture.as_ref().unwrap().raw().await;
                    self.peers.insert(who.to_owned(), peer);
                }
                self.peer(who).stream.write_all(&bytes).await.unwrap();
            }
            (_, ("<", bytes)) => {
                let expected = self.bytes(bytes);
                let mut got = Vec::new();
                while got.len() < expected.len() {
                    got.extend(self.next(who).await);
                }
                self.same(&[got], &[expected]);
            }
            (_, ("<<", bytes)) => {
                let mut expected: Vec<_> = bytes.split(" + ").map(|b| self.bytes(b)).collect();
                let mut got = Vec::new();
                for _ in 0..expected.len() {
                    got.push(self.next(who).await);
                }
                // packet ids are given in the order of arrival, and that is not what is looked at here
                let body = |packet: &Vec<u8>| packet.iter().rev().copied().collect::<Vec<_>>();
                expected.sort_by_key(body);
                got.sort_by_key(body);
                self.same(&got, &expected);
            }
            (_, ("<|", bytes)) => {
                let expected: Vec<_> = bytes.split(" | ").map(|b| self.bytes(b)).collect();
                let got = self.next(who).await;
                assert!(expected.contains(&got), "{}: {got:02X?}", self.place);
            }
            (_, ("<~", bytes)) => {
                let expected = self.bytes(bytes);
                while self.next(who).await != expected {}
            }
            (_, ("x", _)) => {
                let mut peer = self.peers.remove(who).expect("a connection");
                assert_eq!(peer.next().await, None, "{}", self.place);
            }
            (_, ("x!", _)) => {
                let peer = self.peers.remove(who).expect("a connection");
                socket2::SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO)).unwrap();
            }
            (_, ("quiet", _)) => {
                self.peer(who).send(&[0xC0, 0]).await;
                let got = self.next(who).await;
                self.same(&[got], &[vec![0xD0, 0]]);
            }
            _ => panic!("{}: no such step", self.place),
        }
    }

    fn peer(&mut self, who: &str) -> &mut Peer {
        self.peers.get_mut(who).expect("a connection")
    }

    /// The next packet as it came.
    async fn next(&mut self, who: &str) -> Vec<u8> {
        let place = self.place.clone();
        let got = tokio::time::timeout(Duration::from_secs(5), self.peer(who).next()).await;
        let (first, body) =
            got.unwrap_or_else(|_| panic!("{place}: nothing came")).unwrap_or_else(|| panic!("{place}: closed"));
        packet(first, &body)
    }

    fn same(&self, got: &[Vec<u8>], expected: &[Vec<u8>]) {
        assert!(got == expected, "{}\n got {got:02X?}\nnot {expected:02X?}", self.place);
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        let mut open: Vec<Vec<u8>> = vec![Vec::new()];
        for word in text.split_whitespace() {
            let bytes = match word.split_at(1) {
                ("[", "") => {
                    open.push(Vec::new());
                    continue;
                }
                ("]", "") => packet(0, &open.pop().unwrap())[1..].to_vec(),
                ("'", text) => text.as_bytes().to_vec(),
                ("\"", string) => super::text(string),
                ("$", name) => self.bytes(&self.names[name]),
                _ if word.starts_with("secret:") => {
                    super::text(self.fixture.as_ref().unwrap().secrets[&word[7..]].reveal())
                }
                _ => vec![u8::from_str_radix(word, 16).unwrap_or_else(|_| panic!("{}: {word}", self.place))],
            };
            open.last_mut().unwrap().extend(bytes);
        }
        assert_eq!(open.len(), 1, "{}: brackets", self.place);
        open.remove(0)
    }
}

/// Moves the clock by hand, and lets what is due happen.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}
